"""restic, 0.14 and later, as an engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from os import PathLike
from pathlib import Path

from owui_vault.engines.common.disk_full import disk_full_as_error
from owui_vault.engines.common.environment import check_access, check_extra, invisible_ends
from owui_vault.engines.restic import questions
from owui_vault.engines.restic.errors import ENGINE
from owui_vault.engines.restic.location import parse_location, require_destination
from owui_vault.engines.restic.locks import clear_remains
from owui_vault.engines.restic.program import Access, Restic, agree
from owui_vault.engines.restic.rights import may_write, require_rights
from owui_vault.errors import CancelledError, RepositoryUnreachableError, VaultError
from owui_vault.model import Compression, Entry, Label, RepositoryInfo, Snapshot, StoreReceipt
from owui_vault.ports import Call, Engine, SecretSource
from owui_vault.system.unwinding import on_failure

# Each tick makes one, to see that the configuration is right, and asks nothing of it.
# ruff: noqa: PLC0415


class ResticEngine(Engine):
    """An encrypted, deduplicating repository of restic, wherever restic can reach it."""

    name = ENGINE

    def __init__(  # noqa: PLR0913  most of them are for the rare
        self,
        location: str | PathLike[str],
        passphrase: SecretSource,
        *,
        environment: Mapping[str, SecretSource | str] | None = None,
        program: str = "restic",
        options: Sequence[str] = (),
        upload_limit: int | None = None,
        download_limit: int | None = None,
        compression: Compression | None = None,
    ) -> None:
        """Touches nothing. `options` are restic's extended ones, `name=value`; limits are bytes per second.

        Raises ConfigError.
        """
        check_extra(environment or {})
        location = check_access(location, passphrase)
        self._access = Access(
            program=program,
            location=parse_location(location),
            passphrase=passphrase,
            environment=dict(environment or {}),
            options=tuple(options),
            upload_limit=upload_limit,
            download_limit=download_limit,
            compression=compression,
        )
        require_destination(location, self._access.environment)

    @property
    def location(self) -> str:
        """Where the repository is, credentials removed."""
        return self._access.location.shown

    @contextmanager
    def _open(self, call: Call) -> Iterator[Restic]:
        if call.cancel.is_set():
            raise CancelledError("stopped before restic was started")
        require_rights(self._access.location)
        with disk_full_as_error(call.folder):
            yield Restic(self._access, call)

    @contextmanager
    def _changing(self, call: Call, *, named: bool = False) -> Iterator[Restic]:
        """What dead runs of ours left is out of the way before, and what an ended one leaves, afterwards.

        Doubts wait where a snapshot was `named`, or is right afterwards: settling one gives it another id.
        """
        with self._open(call) as restic:
            require_rights(restic.location, write=True)
            clear_remains(restic)
            if not named:
                from owui_vault.engines.restic import maintenance

                maintenance.settle_unconfirmed(restic)

            def clear(error: BaseException) -> None:
                with suppress(VaultError, OSError):
                    if not isinstance(error, RepositoryUnreachableError):
                        clear_remains(restic)

            with on_failure(clear):
                yield restic

    def initialize(self, call: Call) -> RepositoryInfo:
        """Create the repository. restic looks for an existing one first, and leaves that alone."""
        with self._creating(call) as restic:
            restic.ask(questions.init)
        return self.inspect(call)

    def initialize_like(self, source: Engine, call: Call, source_call: Call) -> RepositoryInfo:
        """The same, with the other one's chunker parameters."""
        if not isinstance(source, ResticEngine):
            return self.initialize(call)
        with self._creating(call) as restic, source._open(source_call) as their_restic:
            restic.reading_from(their_restic).run_checked("init", "--copy-chunker-params", short=True)
        return self.inspect(call)

    @contextmanager
    def _creating(self, call: Call) -> Iterator[Restic]:
        with self._open(call) as restic:
            require_rights(restic.location, write=True)
            restic.version()
            yield restic
            for invisible in invisible_ends(call.secrets.of(self._access.passphrase)):
                call.warn(
                    f"the passphrase {invisible}: restic strips blanks and byte order marks, other programs do not"
                )

    def inspect(self, call: Call) -> RepositoryInfo:
        """Prove that it is reachable, the passphrase fits and restic is new enough."""
        with self._open(call) as restic:
            version = restic.version()
            config = restic.ask(questions.config, "--no-lock")
        # Not the polynomial itself: it is a secret of the repository, as good as a part of its key.
        chunking = sha256(str(config.get("chunker_polynomial")).encode()).hexdigest()[:16]
        return RepositoryInfo(
            id=str(config["id"]), location=self.location, engine=self.name, engine_version=version, chunking=chunking
        )

    def store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        """Back up what is below `tree`."""
        from owui_vault.engines.restic.store import store

        with self._changing(call) as restic:
            return store(restic, tree, label)

    def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
        """Everything in the repository, oldest first."""
        from owui_vault.engines.restic import maintenance

        with self._open(call) as restic:
            restic.version()
            return maintenance.listed(restic)

    def contents(self, engine_id: str, call: Call) -> Iterator[Entry]:
        """All paths of one snapshot."""
        from owui_vault.engines.restic.fetch import contents

        with self._open(call) as restic:
            return contents(restic, engine_id)

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        """Restore into `target`."""
        from owui_vault.engines.restic.fetch import fetch

        with self._open(call) as restic:
            fetch(restic, engine_id, target, paths)

    def relabel(self, engine_id: str, label: Label, call: Call) -> Snapshot:
        """Set all tags again; restic writes another snapshot with another id and drops the first."""
        from owui_vault.engines.restic import maintenance

        with self._changing(call, named=True) as restic:
            return maintenance.relabel(restic, engine_id, label)

    def remove(self, engine_ids: Sequence[str], call: Call) -> None:
        """Forget exactly these, and look whether they are gone."""
        from owui_vault.engines.restic import maintenance

        with self._changing(call, named=True) as restic:
            maintenance.remove(restic, engine_ids)

    def can_copy_from(self, source: Engine) -> bool:
        """Restic copies between two repositories where one environment and one set of options serve both."""
        return isinstance(source, ResticEngine) and agree(self._access, source._access)

    def copy_from(self, source: Engine, engine_ids: Sequence[str], call: Call, source_call: Call) -> None:
        """`restic copy`: what has been copied before is passed over."""
        if not isinstance(source, ResticEngine):
            raise TypeError(f"restic copies nothing from {source.name}")
        from owui_vault.engines.restic import maintenance

        with self._changing(call) as restic, source._open(source_call) as their_restic:
            clear_remains(their_restic)
            maintenance.copy_from(restic, their_restic, engine_ids)

    def compact(self, call: Call) -> int | None:
        """Prune."""
        from owui_vault.engines.restic import maintenance

        with self._changing(call) as restic:
            return maintenance.compact(restic)

    def verify(self, call: Call, *, read_data: float = 0.0) -> tuple[str, ...]:
        """Check. What it finds is answered; only what keeps it from looking is raised.

        Without a lock where none can be written: the disk of a dead machine is the one to be verified.
        """
        from owui_vault.engines.restic import maintenance

        if not may_write(self._access.location):
            with self._open(call) as restic:
                return maintenance.verify(restic, read_data, locked=False)
        with self._changing(call, named=True) as restic:
            return maintenance.verify(restic, read_data)
