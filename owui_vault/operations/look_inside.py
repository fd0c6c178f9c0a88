"""Looks into a snapshot: its paths, and the content of one of them."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from owui_vault.components.names import OUTSIDE
from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.context.scratch import scratch
from owui_vault.errors import ConfigError
from owui_vault.model import Entry, Snapshot, UnansweredRepository
from owui_vault.repositories.lookup import LocatedSnapshot, find
from owui_vault.system.patterns import is_chosen

_HINT = "`owui-vault ls SNAPSHOT` lists what it holds; paths begin with data/ or outside/."


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRequest:
    """Which path of which snapshot; an empty path is all of it."""

    snapshot: Snapshot | str
    path: str = ""
    repository: str | None = None
    instance: str | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)


def entries(context: OperationContext, request: LookRequest) -> tuple[tuple[Entry, ...], LocatedSnapshot]:
    """The path and everything below it, sorted. Raises ConfigError where the snapshot holds no such path."""
    path = _normal(request.path)
    found = _find(context, request)
    below = tuple(each for each in found.contents() if is_chosen(each.path, (path,) if path else ()))
    if not below:
        raise _missing(found, path)
    return tuple(sorted(below, key=lambda each: each.path.split("/"))), found


def read(context: OperationContext, request: LookRequest, to: BinaryIO) -> tuple[UnansweredRepository, ...]:
    """Write the content of a file there; of a folder, a tar of it with the paths of the snapshot.

    It is fetched to a private folder first, so that what is damaged is known before the first byte is written. Raises
    ConfigError where the snapshot holds no such path, or it is a link.
    """
    path = _normal(request.path)
    found = _find(context, request)
    with scratch(context.state, "dump") as folder:
        found.fetch(folder, (path,) if path else ())
        mode = _mode_of(folder, found, path)
        if stat.S_ISREG(mode):
            with (folder / path).open("rb") as content:
                shutil.copyfileobj(content, to, 1 << 20)
        elif stat.S_ISDIR(mode):
            with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for name in [path] if path else sorted(os.listdir(folder)):
                    archive.add(folder / name, arcname=name)
        else:
            raise ConfigError(f"{path!r} in snapshot {found.snapshot.id} is neither a file nor a directory", hint=_HINT)
    return found.unanswered


def _find(context: OperationContext, request: LookRequest) -> LocatedSnapshot:
    return find(context, request.snapshot, request.repository, request.callbacks, instance=request.instance)


def _normal(path: str) -> str:
    parts = [each for each in path.split("/") if each not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise ConfigError(f"{path!r} is no path of a snapshot", hint=_HINT)
    return "/".join(parts)


def _mode_of(folder: Path, found: LocatedSnapshot, path: str) -> int:
    """What was fetched. No link on the way is followed: a forged snapshot could lead to this machine's own files."""
    place, mode = folder, stat.S_IFDIR
    for part in Path(path).parts:
        if not stat.S_ISDIR(mode):
            raise _missing(found, path)
        place /= part
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            raise _missing(found, path) from None
    return mode


def _missing(found: LocatedSnapshot, path: str) -> ConfigError:
    wanted = [f"{folder}/{path}" for folder in ("data", OUTSIDE)]
    near = next((each for each in wanted if any(is_chosen(entry.path, (each,)) for entry in found.contents())), "")
    return ConfigError(
        f"snapshot {found.snapshot.id} in {found.repository!r} holds no {path!r}",
        hint=f"Did you mean {near}? {_HINT}" if near else _HINT,
    )
