"""The engine for borg 1.2 and 1.4, run as a program.

Program: a name with a slash is that very program; `borg` is the one of this Python environment (the extra
`owui-vault[borg]`) where there is one, else the one on PATH.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import MappingProxyType

from owui_vault.engines.borg.archives import archives, at_archive, entries, find, leftovers, read_listing
from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.borg.fetch import fetch
from owui_vault.engines.borg.maintenance import compact, remove_archives, verify
from owui_vault.engines.borg.output import encode_comment
from owui_vault.engines.borg.program import Borg, Request, Setting, archive_argument, find_program, local_folder
from owui_vault.engines.borg.read_only import cannot_be_checked, is_locked, standing_in
from owui_vault.engines.borg.store import store
from owui_vault.engines.common.disk_full import disk_full_as_error
from owui_vault.engines.common.environment import (
    check_access,
    check_extra,
    invisible_ends,
    reveal_all,
    without_credentials,
)
from owui_vault.errors import CancelledError, ConfigError, EngineError, SecretError
from owui_vault.model import Compression, Entry, Label, RepositoryInfo, Snapshot, StoreReceipt
from owui_vault.ports import Call, Engine, SecretSource

_ENCRYPTIONS = ("repokey-blake2", "repokey", "keyfile-blake2", "keyfile")
_NOTHING: Mapping[str, SecretSource | str] = MappingProxyType({})


class BorgEngine(Engine):
    """A repository of borg (`ports.Engine`).

    `location` is whatever borg takes: a path, or `ssh://user@host:port/path`. `environment` is added to borg's:
    BORG_RSH, BORG_KEYS_DIR and the like. `encryption` matters to `initialize` only; it must be one that encrypts.
    """

    name = ENGINE

    def __init__(  # noqa: PLR0913  # four of them are for the rare
        self,
        location: str | PathLike[str],
        passphrase: SecretSource,
        *,
        environment: Mapping[str, SecretSource | str] = _NOTHING,
        program: str = ENGINE,
        encryption: str = "repokey-blake2",
        remote_path: str = "",
        upload_limit: int | None = None,
        compression: Compression | None = None,
    ) -> None:
        """Touches nothing. `upload_limit` is bytes per second, and for a place that is reached over ssh."""
        check_extra(environment)
        location = check_access(location, passphrase)
        if encryption not in _ENCRYPTIONS:
            raise ConfigError(
                f"{encryption!r} is not an encryption mode of borg", hint=f"Choose one of {', '.join(_ENCRYPTIONS)}."
            )
        if upload_limit and local_folder(location) is not None:
            raise ConfigError(
                f"borg cannot limit what it writes to {location}, which is on this machine",
                hint="Leave out upload_limit; borg has it for repositories over ssh.",
            )
        self._location = _absolute(location)
        self._upload_limit = upload_limit
        self._compression = compression
        self._passphrase = passphrase
        self._environment = dict(environment)
        self._program = program
        self._encryption = encryption
        self._remote_path = remote_path
        self._names: dict[str, str] = {}

    @property
    def location(self) -> str:
        """Where the repository is, without a password."""
        return without_credentials(self._location)

    def initialize(self, call: Call) -> RepositoryInfo:
        """Create the repository."""
        with self._open(call) as borg:
            borg.version()
            borg.run(Request(arguments=("init", "--encryption", self._encryption)))
            for invisible in invisible_ends(call.secrets.of(self._passphrase)):
                call.warn(
                    f"the passphrase {invisible}, which borg treats as part of it: copied from paper it will not open"
                    " the repository"
                )
            return self._info(borg)

    def inspect(self, call: Call) -> RepositoryInfo:
        """Prove that it can be reached, opened, and read by nobody without the passphrase."""
        with self._open(call) as borg:
            return self._info(borg)

    def store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        """Make one archive of everything below `tree`."""
        with self._open(call) as borg:
            if not borg.known_encrypted():
                read_listing(borg, "--last", "1")
            return store(borg, tree, label)

    def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
        """Everything in the repository, oldest first."""
        with self._open(call) as borg:
            borg.version()
            return tuple(each.snapshot() for each in archives(borg))

    def contents(self, engine_id: str, call: Call) -> Iterator[Entry]:
        """All paths of one archive."""
        with self._open(call) as borg:
            return at_archive(borg, engine_id, lambda archive: entries(borg, archive))

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        """Write an archive, or parts of it, into `target`."""
        with self._open(call) as borg:
            at_archive(borg, engine_id, lambda archive: fetch(borg, archive, target, paths))

    def relabel(self, engine_id: str, label: Label, call: Call) -> Snapshot:
        """Replace the comment: borg makes a new archive of the same chunks, with the same name and another id."""
        with self._open(call) as borg:
            name = find(archives(borg), engine_id).name
            comment = encode_comment(label)
            remove_archives(borg, [each for each in leftovers(borg) if each == f"{name}.recreate"])
            borg.run(
                Request(arguments=("recreate", "--progress", "--comment", comment, archive_argument(name)), long=True)
            )
            changed = next((each for each in archives(borg) if each.name == name), None)
            if changed is None or changed.label != label:
                raise EngineError(f"the label of {name} is not what it was set to", engine=ENGINE)
            return changed.snapshot()

    def remove(self, engine_ids: Sequence[str], call: Call) -> None:
        """Delete exactly these archives, and look whether they are gone."""
        with self._open(call) as borg:
            known = archives(borg) if engine_ids else ()
            doomed = [find(known, engine_id) for engine_id in engine_ids]
            if not doomed:
                return
            remove_archives(borg, [each.name for each in doomed])
            left = {each.id for each in archives(borg)} & set(engine_ids)
            if left:  # borg 1.2 ends with 0 whether there was such an archive or not
                raise EngineError(f"borg did not remove {', '.join(sorted(left))}", engine=ENGINE)

    def compact(self, call: Call) -> int | None:
        """Free what no archive uses. An append-only repository, where borg silently does nothing, is named."""
        with self._open(call) as borg:
            return compact(borg, local_folder(self._location))

    def verify(self, call: Call, *, read_data: float = 0.0) -> tuple[str, ...]:
        """Check the repository, also one that can only be read."""
        with self._open(call) as borg:
            if not borg.known_encrypted():
                read_listing(borg, "--last", "1")
            try:
                return verify(borg, read_data)
            except EngineError as error:
                if not borg.cannot_lock(error):
                    raise
            return self._verify_unwritable(borg, read_data)

    def _verify_unwritable(self, borg: Borg, read_data: float) -> tuple[str, ...]:
        repository = local_folder(self._location)
        if repository is None:
            raise cannot_be_checked(self.location)
        with standing_in(repository, borg.folder) as place:
            problems = verify(borg.at(str(place)), read_data)
        if problems and is_locked(repository):
            return (
                *problems,
                "there is a lock there: if borg is running on another machine, check again when it is done",
            )
        return problems

    def forget(self, call: Call) -> None:
        """Accept the repository as it is now."""
        with self._open(call) as borg:
            borg.forget()

    def _info(self, borg: Borg) -> RepositoryInfo:
        version = borg.version()
        found = read_listing(borg, "--last", "1")
        return RepositoryInfo(id=found.repository_id, location=self.location, engine=ENGINE, engine_version=version)

    @contextmanager
    def _open(self, call: Call) -> Iterator[Borg]:
        if call.cancel.is_set():
            raise CancelledError("cancelled before borg was started")
        passphrase = call.secrets.of(self._passphrase)
        if not passphrase.strip():
            raise SecretError(f"the passphrase of {self.location} is empty")  # borg takes it, and protects nothing
        setting = Setting(
            argv=find_program(self._program),
            location=self._location,
            shown_location=self.location,
            passphrase=passphrase,
            environment=reveal_all(self._environment, call.secrets),
            remote_path=self._remote_path,
            upload_limit=self._upload_limit,
            compression=self._compression,
        )
        with disk_full_as_error(call.folder):
            borg = Borg(setting, call, self._names)
            borg.clear_locks()
            yield borg


def _absolute(location: str) -> str:
    """A path of this machine, wherever borg is started: it is in the stage for some of its work, and not for other."""
    folder = None if location.startswith("file:") else local_folder(location)
    return str(folder.expanduser().absolute()) if folder else location
