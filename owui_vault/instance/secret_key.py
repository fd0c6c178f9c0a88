"""The key that sessions, second factors and encrypted valves depend on: it is not in the data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from owui_vault.instance.processes import Holder, as_seen_by, read_small, working_directory
from owui_vault.model import Secret, SecretKeyRecord
from owui_vault.ports import SecretSource

KEY_FILE = ".webui_secret_key"
KEY_VARIABLES = ("WEBUI_SECRET_KEY", "WEBUI_JWT_SECRET_KEY")
FILE_VARIABLE = "WEBUI_SECRET_KEY_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """The key, byte for byte as the application uses it, and where it was found.

    `file` is the file on this machine that holds it; None where none does, or it is not known by a path of its own.
    """

    key: Secret
    source: str
    file: Path | None = None


def unopened_text(record: SecretKeyRecord) -> str:
    """That a key is not the one that was sealed with; empty where nothing that was tried says so."""
    if not record.unopened:
        return ""
    keys = ([f"the secret key ({record.source})"] if record.found else []) + list(record.separate)
    apart = "" if record.separate else ", or had a key of their own (MFA_ENCRYPTION_KEY, …) that is not known here"
    also = f", nor do those that were found elsewhere ({'; '.join(record.others)})" if record.others else ""
    return (
        f"{' and '.join(keys)} {'does' if len(keys) == 1 else 'do'} not open {'; '.join(record.unopened)}{also}: they"
        f" were sealed with another one{apart}"
    )


def better_text(keys: tuple[FoundKey, ...], chosen: int) -> str:
    """That another key opens more than the one that is looked for first; empty where that one is the best."""
    if not chosen:
        return ""
    return (
        f"the secret key in use ({keys[0].source}) does not open what is sealed, and another one does"
        f" ({keys[chosen].source}): Open WebUI has to be started with that one"
    )


def find_secret_keys(
    data_dir: Path,
    holders: tuple[Holder, ...],
    *,
    given: SecretSource | None = None,
    of_container: tuple[FoundKey, ...] = (),
    settings: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[FoundKey, ...]:
    """The keys of: the configuration, a container, the running processes, settings, beside the data directory.

    The first one counts, the others are each another one. `settings` are those of files, by what holds them. A process
    is asked as the application itself looks: its environment first, then the file the environment names, then its
    working directory. Raises SecretError when the configured one fails.
    """
    found: dict[str, FoundKey] = {}
    configured = (FoundKey(key=Secret(given.reveal()), source="instance.secret_key"),) if given is not None else ()
    for each in (
        *configured,
        *of_container,
        *_of_processes(holders),
        *_of_settings(settings or {}),
        *_beside(data_dir),
    ):
        found.setdefault(each.key.reveal().strip(), each)
    return tuple(found.values())


def _of_processes(holders: tuple[Holder, ...]) -> Iterator[FoundKey]:
    for holder in holders:
        environment = holder.environment or {}
        for name in KEY_VARIABLES:
            if environment.get(name):
                yield FoundKey(
                    key=Secret(environment[name]), source=f"{name} in the environment of process {holder.pid}"
                )
        yield from _of_files(holder, environment.get(FILE_VARIABLE, ""))


def _of_files(holder: Holder, named: str) -> Iterator[FoundKey]:
    process = f"process {holder.pid}"
    if named:
        yield from _from_file(as_seen_by(holder.pid, named), f"{named}, named by {FILE_VARIABLE} of {process}")
    folder = working_directory(holder.pid)
    yield from _from_file(folder / KEY_FILE, f"{KEY_FILE} in {_cwd(holder.pid)}, working directory of {process}")


def _of_settings(settings: Mapping[str, Mapping[str, str]]) -> Iterator[FoundKey]:
    for place, known in settings.items():
        for name in KEY_VARIABLES:
            if known.get(name):
                yield FoundKey(key=Secret(known[name]), source=f"{name} in {place}")


def _beside(data_dir: Path) -> Iterator[FoundKey]:
    for folder in (data_dir.parent, data_dir):
        yield from _from_file(folder / KEY_FILE, os.fspath(folder / KEY_FILE))


def _from_file(path: Path, source: str) -> Iterator[FoundKey]:
    text = read_small(path)
    if text.strip():
        yield FoundKey(key=Secret(text), source=source, file=_place(path))


def _place(path: Path) -> Path | None:
    """What the path is called in this machine's own mounts: one through /proc is gone with its process."""
    try:
        real = Path(os.path.realpath(path))
        return real if real.samefile(path) else None
    except OSError:
        return None


def _cwd(pid: int) -> str:
    try:
        return os.fspath(working_directory(pid).readlink())
    except OSError:
        return "its working directory"
