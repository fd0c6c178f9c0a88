"""The surroundings of a data directory: what runs on it, with which settings, and what a backup does not cover."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.components import external_state as places
from owui_vault.components.database.facts import DatabaseFacts
from owui_vault.components.external_state import neighbour_sentences, neighbours, paths_elsewhere
from owui_vault.components.names import DATABASE, VECTOR_DATABASE
from owui_vault.errors import UnsupportedInstanceError
from owui_vault.instance.application_settings import (
    names_read_by,
    read_settings,
    settings_at_start,
    settings_of_the_instance,
)
from owui_vault.instance.container.container import FoundContainer
from owui_vault.instance.layout import deleted_at_start, located
from owui_vault.instance.processes import (
    Holder,
    Holders,
    application_version,
    as_seen_by,
    find_holders,
    package_of,
    servers_on,
    version_in,
)
from owui_vault.instance.secret_key import FoundKey, find_secret_keys
from owui_vault.instance.sqlite_library import loaded_libraries
from owui_vault.model import KeyTrial, Providers, Secret, SecretKeyRecord, SqliteLibrary
from owui_vault.ports import Launch, SecretSource
from owui_vault.system import procfs
from owui_vault.system.filesystem import SHARED_FILESYSTEMS, filesystem_type

_OTHER_TOOLS = "Back up that database with its own tools (pg_dump, for example): this program covers only webui.db."
_WHETHER = "whether the process that shares the locks of a database is Open WebUI's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeEnvironment:
    """What was seen around one data directory."""

    holders: Holders
    version: str = ""  # of Open WebUI; empty: nothing told it
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds secrets
    keys: tuple[FoundKey, ...] = ()  # the first one counts
    app_data_dir: str = ""  # DATA_DIR as the running application was given it
    filesystem: str = ""
    unsupported: str = ""  # why a snapshot of this directory would miss the main database
    container: FoundContainer | None = None
    providers: Providers = field(default_factory=Providers)
    sqlite: tuple[SqliteLibrary, ...] = ()  # what the application has loaded; empty: unknown
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> FoundKey | None:
        """The secret key that the application uses, as far as that is seen."""
        return self.keys[0] if self.keys else None

    @property
    def candidates(self) -> tuple[Secret, ...]:
        """All that may be the secret key."""
        return tuple(each.key for each in self.keys)

    @property
    def running(self) -> bool:
        """Whether its engine says so, or a process was seen that has a database open."""
        return bool(self.holders.found) or (self.container is not None and self.container.running)

    @property
    def running_is_known(self) -> bool:
        """Whether nobody can have it open unseen; root is kept out of a few processes by a sandbox at most."""
        return not self.holders.hidden or self.running or self.container is not None or os.geteuid() == 0

    @property
    def encrypted(self) -> bool:
        """Whether the main database is said to be SQLCipher's."""
        return self.providers.database == "sqlcipher"

    @property
    def bucket(self) -> str:
        """The provider of a bucket that uploads are in; empty where they are in the data directory."""
        return "" if self.providers.storage == "local" else self.providers.storage

    @property
    def vectors_elsewhere(self) -> bool:
        """Whether the vectors are in another store: that there is none of Chroma's here is no loss."""
        return self.providers.vectors != "chroma"

    def key_record(self, trial: KeyTrial) -> SecretKeyRecord:
        """Where the key is that opens most, and what depends on it, for a manifest or a report."""
        sources = [each.source for each in self.keys]
        return SecretKeyRecord(
            found=bool(self.keys),
            source=sources.pop(trial.chosen) if sources else "",
            others=tuple(sources),
            needed_because=trial.needed_because,
            unopened=trial.unopened,
            separate=trial.separate,
        )

    def neighbour_warnings(self, facts: DatabaseFacts) -> tuple[str, ...]:
        """Programs that hold something of the instance's, by its database and its settings, one sentence each."""
        return neighbour_sentences(sorted({*facts.neighbours, *neighbours({}, self.settings)}))

    def require_supported(self) -> None:
        """Raise UnsupportedInstanceError when the main database is elsewhere."""
        if self.unsupported:
            raise UnsupportedInstanceError(self.unsupported, hint=_OTHER_TOOLS)


def require_database_here(container: FoundContainer, database_url: str = "") -> None:
    """Raise UnsupportedInstanceError when the main database is elsewhere: before its absence is taken for a loss."""
    settings = {**container.environment, **({"DATABASE_URL": database_url} if database_url else {})}
    elsewhere = places.database_elsewhere(settings, _asker_of(container))
    if elsewhere:
        raise UnsupportedInstanceError(_unsupported(container.data_dir, elsewhere), hint=_OTHER_TOOLS)


def inspect_environment(
    data_dir: Path,
    *,
    secret_key: SecretSource | None = None,
    database_url: str = "",
    container: FoundContainer | None = None,
    launch: Launch | None = None,
) -> RuntimeEnvironment:
    """Look at the processes and files around a data directory; nothing is opened that is live.

    `secret_key` and `database_url` are what the configuration says; it wins. `container` is where it runs: its engine
    then tells what no process does while it is stopped, as `launch` does of a unit. Raises SecretError when that key
    cannot be obtained.
    """
    store = located(data_dir, container.mounted if container else (), VECTOR_DATABASE)
    holders = find_holders((data_dir / DATABASE, store))
    asked = _asked(data_dir, holders)
    names = _names_read(asked)
    folder = launch.folder if launch else None
    from_file = {} if container else _settings_files(data_dir, asked, names, folder)
    of_process = _environment(asked)
    at_start = settings_at_start(launch) if launch and not of_process else {}
    settings = {**from_file, **(container.environment if container else {}), **at_start, **of_process}
    if database_url:
        settings["DATABASE_URL"] = database_url
    asker = _asker_of(container) if container else _asker(data_dir, asked, folder)
    elsewhere = places.database_elsewhere(settings, asker)
    app_data_dir = container.record.data_dir if container else settings.get("DATA_DIR", "")
    return RuntimeEnvironment(
        holders=holders,
        version=_version(data_dir, asked) or (container.version if container else ""),
        settings=settings_of_the_instance(settings, names),
        keys=find_secret_keys(
            data_dir,
            asked,
            given=secret_key,
            of_container=container.keys if container else (),
            settings={launch.told_by if launch else "": at_start, "a .env file": from_file},
        ),
        app_data_dir=app_data_dir,
        filesystem=filesystem_type(data_dir),
        unsupported=_unsupported(data_dir, elsewhere),
        container=container,
        providers=places.providers(settings, elsewhere),
        sqlite=loaded_libraries(_own(asked)),
        warnings=(
            *_warnings(holders, settings, container, app_data_dir or os.fspath(data_dir)),
            *(_doomed_warnings(data_dir, settings) if container is None else ()),
            *(_unknown_warnings(launch) if launch and not of_process else ()),
            *_sharing_warnings({"the data are": data_dir, "the vectors are": store.parent}),
        ),
    )


def _asked(data_dir: Path, holders: Holders) -> tuple[Holder, ...]:
    """Who is asked for settings, version and key: the servers first, then whoever else has a database open."""
    servers = tuple(servers_on(data_dir))
    known = {each.pid for each in servers}
    return (*servers, *(each for each in holders.found if each.pid not in known))


def _own(asked: tuple[Holder, ...]) -> tuple[int, ...]:
    """Those that run Open WebUI, and whoever has the data open where none is recognised."""
    own = tuple(each.pid for each in asked if application_version(each.pid))
    return own or tuple(each.pid for each in asked)


def _environment(asked: tuple[Holder, ...]) -> Mapping[str, str]:
    """The environment of the first process that lets us read it; workers share it with their parent."""
    return next((holder.environment for holder in asked if holder.environment), {})


def _names_read(asked: tuple[Holder, ...]) -> frozenset[str]:
    """The settings that the code of the running server reads; none where it is not seen."""
    package = next((found for holder in asked if (found := package_of(holder.pid))), None)
    return names_read_by(package) if package else frozenset()


def _settings_files(
    data_dir: Path, asked: tuple[Holder, ...], names: frozenset[str], folder: Path | None
) -> dict[str, str]:
    """`.env` files the application reads at its start: above its backend, where it works, and beside the data.

    `folder` is where it will work, for one that does not run.
    """
    places = [data_dir.parent.parent / ".env", data_dir.parent / ".env"]
    if folder and not asked:
        places += [folder.parent / ".env", folder / ".env"]
    for holder in asked[:1]:
        places += [as_seen_by(holder.pid, "../.env"), as_seen_by(holder.pid, ".env")]
    found: dict[str, str] = {}
    for place in places:
        found |= read_settings(place)
    return settings_of_the_instance(found, names)


def _asker(data_dir: Path, asked: tuple[Holder, ...], folder: Path | None) -> Callable[[str], bool]:
    """A question: is this path, as the application sees it, or would in `folder`, our `webui.db`?"""
    pid = asked[0].pid if asked else None

    def is_ours(path: str) -> bool:
        seen = (folder or Path()) / path if pid is None else as_seen_by(pid, path)
        try:
            return seen.samefile(data_dir / DATABASE)
        except OSError:
            return places.is_default_database(path)

    return is_ours


def _asker_of(container: FoundContainer) -> Callable[[str], bool]:
    """The same question for a path inside a container, which may be stopped."""

    def is_ours(path: str) -> bool:
        seen = posixpath.normpath(posixpath.join(container.working_dir, path))
        return seen == posixpath.join(container.record.data_dir, DATABASE)

    return is_ours


def _unsupported(data_dir: Path, elsewhere: str) -> str:
    return (
        f"the main database is not {data_dir / DATABASE} but {elsewhere} (DATABASE_URL or DATABASE_TYPE)"
        if elsewhere
        else ""
    )


def _version(data_dir: Path, asked: tuple[Holder, ...]) -> str:
    for holder in asked:
        version = application_version(holder.pid)
        if version:
            return version
    # A pip install keeps its data inside the package, by default.
    is_inside = data_dir.parent.name == "open_webui"
    return version_in(data_dir.parent.parent) if is_inside else ""


def _warnings(
    holders: Holders, settings: Mapping[str, str], container: FoundContainer | None, app_data_dir: str
) -> Iterator[str]:
    yield from places.not_covered(settings)
    yield from paths_elsewhere(settings, app_data_dir)
    yield from container.warnings if container else ()
    if (
        holders.hidden and not holders.found and not container and os.geteuid() != 0
    ):  # root is kept out of a few by a sandbox at most
        yield (
            f"{holders.hidden:,} processes of other users could not be inspected: whether Open WebUI runs here, its"
            " version and its settings are unknown. Run as root, or as its user"
        )
    unreadable = [str(holder.pid) for holder in holders.found if holder.environment is None]
    if unreadable:
        yield f"the environment of process {', '.join(unreadable)} cannot be read: its settings are not in the snapshot"


def _unknown_warnings(launch: Launch) -> Iterator[str]:
    """Where the database lies may stand in what cannot be known."""
    for each in launch.unknown:
        yield f"{each}. If Open WebUI keeps its database elsewhere (DATABASE_URL), this snapshot does not hold it"


def _doomed_warnings(data_dir: Path, settings: Mapping[str, str]) -> Iterator[str]:
    if deleted_at_start(data_dir, settings):
        yield (
            f"Open WebUI, installed by pip, deletes {data_dir} at its next start and continues in its package"
            f" ({data_dir.parent / 'open_webui' / 'data'}), since DATA_DIR is not set: set it to a directory elsewhere,"
            " or to this one"
        )


def _sharing_warnings(folders: Mapping[str, Path]) -> Iterator[str]:
    for what, folder in folders.items():
        kind = filesystem_type(folder) if folder.is_dir() else ""
        if kind in SHARED_FILESYSTEMS:
            yield (
                f"{what} on a network or FUSE file system ({kind}): SQLite is not safe there, and only a stop gives a"
                " proven instant"
            )
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnProcesses:
    """Their process ids, and why they are not known where there are none.

    One of them must share the locks of a database before a pin is trusted.
    """

    pids: tuple[int, ...] = ()
    unchecked: tuple[str, ...] = ()


def own_processes(environment: RuntimeEnvironment) -> OwnProcesses:
    """Of a container, everything its first process has started; else those with the data open that run Open WebUI."""
    if environment.container:
        roots = [procfs.identify(pid) for pid in environment.container.processes]
        pids = {member.pid for root in roots if root for member in procfs.descendants(root)}
        why = (
            "the container's processes cannot be seen from here"
            if environment.container.running
            else "it is not running"
        )
    else:
        pids = {each.pid for each in environment.holders.found if application_version(each.pid)}
        why = "none of those that have the data open could be recognised"
    return OwnProcesses(pids=tuple(sorted(pids)), unchecked=() if pids else (f"{_WHETHER}: {why}",))
