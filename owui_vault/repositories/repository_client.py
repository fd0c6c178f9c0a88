"""One repository as operations use it: its engine, asked with patience, and what this machine remembers of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.context.state import RepositoryMemory
from owui_vault.errors import (
    CancelledError,
    RepositoryLockedError,
    RepositoryMissingError,
    UnforeseenError,
    VaultError,
    as_result,
)
from owui_vault.model import (
    ALL,
    Answered,
    Asking,
    Complaint,
    Entry,
    Label,
    Outcome,
    Progress,
    ProgressSink,
    RepositoryInfo,
    Snapshot,
    Step,
    StoreReceipt,
    Waiting,
)
from owui_vault.ports import Call
from owui_vault.repositories.overlap import require_engine_kind
from owui_vault.system.lock import directory_lock

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_AT_ONCE_SECONDS = (
    2.0  # the first time, an engine that waits by itself waits so long: then we can say who is waited for
)
T = TypeVar("T")


class RepositoryClient:
    """A repository for the length of one operation.

    Whoever asks needs no lock's patience, no folder and no call of its own: each method raises what the engine's method
    of that name raises (`ports.Engine`), RepositoryLockedError only after `limits.lock_wait`, and CancelledError when
    the operation was cancelled meanwhile. `callbacks` hear of its progress and of what engines say about the result.
    """

    def __init__(self, context: OperationContext, repository: Repository, callbacks: Callbacks | None = None) -> None:
        self.repository = repository
        self._context = context
        self._callbacks = callbacks or Callbacks()
        self._engine = repository.engine
        self._state, self._clock = context.state, context.clock
        self._lock_wait_seconds = context.limits.lock_wait_seconds
        self._call = Call(
            folder=context.state.repository_folder(repository.name, repository.engine.location),
            shared=context.state.shared_folder(),
            timeout_seconds=context.limits.call_seconds,
            idle_seconds=context.limits.idle_seconds,
            store_seconds=context.limits.store_seconds,
            progress=self._progress,
            warn=self._callbacks.warn,
            complain=lambda text: context.notices(Complaint(repository=repository.name, text=text)),
            cancel=self._callbacks.cancel,
            secrets=context.secrets,
            environ=context.environ,
        )

    def heard_by(self, callbacks: Callbacks) -> RepositoryClient:
        """The same one with other listeners."""
        return RepositoryClient(self._context, self.repository, callbacks)

    def others(self) -> tuple[RepositoryClient, ...]:
        """All others of the configuration, with the same listeners."""
        others = (each for each in self._context.repositories if each.name != self.name)
        return tuple(RepositoryClient(self._context, each, self._callbacks) for each in others)

    @property
    def name(self) -> str:
        """The repository's name in the configuration."""
        return self.repository.name

    @property
    def folder(self) -> Path:
        """What is ours alone, and about this repository only."""
        return self._call.folder

    @property
    def memory(self) -> RepositoryMemory:
        """What this machine remembers of it, by now."""
        return self._state.repository_memory(self.folder)

    def progress(self, step: Step, text: str = "") -> None:
        """Say what is done here next."""
        self._progress(Progress(step=step, text=text))

    def _progress(self, event: Progress) -> None:
        """An engine does not know what its repository is called here."""
        self._callbacks.progress(replace(event, repository=self.name))

    def _of_total(self, total_bytes: int | None) -> ProgressSink:
        """The same, for who knows how much comes where the engine does not say."""

        def hear(event: Progress) -> None:
            known = event.total_bytes is None and event.step is Step.FETCH and not event.text
            self._progress(replace(event, total_bytes=total_bytes) if known else event)

        return hear

    def locked(self) -> AbstractContextManager[int]:
        """Keep other runs of this machine from changing it for the length of a block. Raises LockHeldError."""
        return directory_lock(
            self.folder,
            wait_seconds=self._lock_wait_seconds,
            clock=self._clock,
            what=self.name,
            cancel=self._callbacks.cancel,
            notices=self._context.notices,
        )

    def failure(self, error: Exception, doing: str) -> VaultError:
        """What `error` is as the result of one repository of several. Raises as `as_result` does."""
        result = as_result(error)
        if self._callbacks.cancel.is_set():  # an engine that was interrupted may call it what it likes
            raise CancelledError(f"stopped while {doing} {self.name}") from error
        if isinstance(result, UnforeseenError):
            _log.info("%s, %s %s: %s", result.message, doing, self.name, "; ".join(result.places))
        return result

    # The engine's methods

    def initialize(self) -> RepositoryInfo:
        """Create it. Raises RepositoryExistsError."""
        return self._engine.initialize(self._call)

    def initialize_like(self, source: RepositoryClient) -> RepositoryInfo:
        """Create it so that it cuts files as another one does. Raises RepositoryExistsError."""
        return self._engine.initialize_like(source._engine, self._call, source._call)

    def forget(self) -> None:
        """From now on it is right as it is, whatever was stored there once."""
        self._engine.forget(self._call)
        self._state.forget_stored(self.folder)

    def inspect(self) -> RepositoryInfo:
        """Prove that it can be used."""
        return self._patiently(lambda: self._engine.inspect(self._call))

    def snapshots(self) -> tuple[Snapshot, ...]:
        """What the engine lists, whichever repository this is now. `list` also looks whether it is the known one."""
        return self._patiently(lambda: self._engine.snapshots(self._call))

    def contents(self, snapshot: Snapshot) -> Iterator[Entry]:
        """All paths of a snapshot."""
        return self._patiently(lambda: self._engine.contents(snapshot.engine_id, self._call))

    def fetch(self, snapshot: Snapshot, target: Path, paths: Sequence[str] = ()) -> None:
        """Write a snapshot, or these paths of it, into an existing directory."""
        call = self._call if paths else replace(self._call, progress=self._of_total(snapshot.size_bytes))
        self._patiently(lambda: self._engine.fetch(snapshot.engine_id, target, call, paths=paths))

    def store(
        self,
        tree: Path,
        label: Label,
        *,
        reread: bool,
        last_look: Callable[[], Sequence[str]],
        warn: Callable[[str], None] | None = None,
    ) -> StoreReceipt:
        """Write a tree as one snapshot. What is said about it goes to `warn`, else to whom it always goes."""
        call = replace(self._call, reread=reread, warn=warn or self._call.warn, last_look=last_look)
        return self._patiently(lambda: self._engine.store(tree, label, call))

    def relabel(self, snapshot: Snapshot, label: Label) -> Snapshot:
        """Replace a snapshot's label."""
        return self._patiently(lambda: self._engine.relabel(snapshot.engine_id, label, self._call))

    def remove(self, snapshots: Sequence[Snapshot]) -> None:
        """Remove exactly these."""
        ids = [each.engine_id for each in snapshots]
        self._patiently(lambda: self._engine.remove(ids, self._call))

    def compact(self) -> int | None:
        """Free what no snapshot uses."""
        return self._patiently(lambda: self._engine.compact(self._call))

    def verify(self, read_data: float) -> tuple[str, ...]:
        """Check it, and return what is damaged."""
        return self._patiently(lambda: self._engine.verify(self._call, read_data=read_data))

    def can_copy_from(self, source: RepositoryClient) -> bool:
        """Whether the engine can bring another repository's snapshots here by itself."""
        return self._engine.can_copy_from(source._engine)

    def copy_from(self, source: RepositoryClient, snapshots: Sequence[Snapshot]) -> None:
        """Bring these of another repository here, by the engine itself."""
        ids = [each.engine_id for each in snapshots]
        self._patiently(lambda: self._engine.copy_from(source._engine, ids, self._call, source._call))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask again while another program holds its lock."""
        until = self._clock.monotonic() + self._lock_wait_seconds
        self._context.notices(Asking(repository=self.name))
        try:
            return self._until_unlocked(ask, until)
        finally:
            self._context.notices(Answered(repository=self.name))

    def _until_unlocked(self, ask: Callable[[], T], until: float) -> T:
        said = False
        while True:
            left = max(0.0, until - self._clock.monotonic())
            self._call = replace(self._call, lock_seconds=left if said else min(left, _AT_ONCE_SECONDS))
            try:
                return ask()
            except RepositoryLockedError as error:
                if self._callbacks.cancel.is_set():
                    raise CancelledError(f"stopped while another program was using it: {error.message}") from error
                if self._clock.monotonic() >= until:
                    raise
                if not said:
                    said = True
                    self._context.notices(
                        Waiting(what=self.name, holder=error.holder, wait_seconds=self._lock_wait_seconds)
                    )
                self._clock.sleep(_RETRY_SECONDS)

    # What this machine knows

    def remember_renamed(self, before: Snapshot, after: Snapshot) -> None:
        """A relabelling has given a snapshot another id of the engine's: what was stored last here is still there."""
        last = dict(self.memory.last).get(before.instance)
        if last and last.engine_id == before.engine_id != after.engine_id:
            self._state.remember_stored(self.folder, before.instance, replace(last, engine_id=after.engine_id))

    def as_labelled(self, listed: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
        """These with the labels that the repository itself has, whatever this machine doubts."""
        if not self.memory.unverified:
            return tuple(listed)
        said = {each.engine_id: each.label for each in self.snapshots()}
        return tuple(replace(each, label=said.get(each.engine_id, each.label)) for each in listed)

    def list(self) -> tuple[Snapshot, ...]:
        """All its snapshots, once it is known to be the repository it was, with what this machine knows of each.

        Raises RepositoryMissingError when another one, or none, lies where a known one was.
        """
        require_engine_kind(self.repository)
        memory = self.memory
        try:
            found = self.snapshots()
        except RepositoryMissingError as error:
            if memory.id:
                error.hint = "It was there before: is its disk or share mounted? Only `init --again` creates a new one."
            raise
        ids = {each.id for each in found} | {each.engine_id for each in found}
        if not memory.id:
            self._state.remember_repository(self.folder, self.inspect().id)
        elif not memory.last or any((last.engine_id or last.id) not in ids for _, last in memory.last):
            # What we stored last is not there (or there is no such thing): was it removed, or is this another
            # repository? Our id alone says little: it is the same in every repository that holds the instant.
            self.require_same()
        return self._with_memory(found, memory)

    def require_same(self) -> None:
        """Raise RepositoryMissingError unless it has the id it had."""
        require_same_id(self.memory.id, self.inspect())

    def _with_memory(self, found: Sequence[Snapshot], memory: RepositoryMemory) -> tuple[Snapshot, ...]:
        """Add the repository's name, when each was last verified, and whether its data had stayed as they were."""
        entries = [
            entry
            for instance in {each.instance for each in found if each.label}
            for entry in self._state.ledger(instance)
            if entry.repository == self.name
        ]
        last = {entry.snapshot: entry for entry in entries}  # what was found wrong later is not verified any more
        verified = {snapshot: entry.at for snapshot, entry in last.items() if entry.ok}
        read = {entry.snapshot: entry.at for entry in entries if entry.ok and entry.depth == ALL}
        return tuple(
            replace(
                each,
                repository=self.name,
                label=_with_local_outcome(each.label, memory),
                size_bytes=(each.label.size_bytes if each.label else 0) or each.size_bytes,
                verified_at=verified.get(each.id) if each.label else None,
                verified_all_at=read.get(each.id) if each.label and each.id in verified else None,
            )
            for each in found
        )


def require_same_id(known: str, info: RepositoryInfo) -> None:
    """Raise RepositoryMissingError when another repository answers than the known one."""
    if known and info.id != known:
        raise RepositoryMissingError(
            f"another repository ({info.id[:10]}) is at {info.location}, where {known[:10]} was",
            engine=info.engine,
            hint="Is the right disk or share mounted? If the old one is gone for good, run `init --again`.",
        )


def _with_local_outcome(label: Label | None, memory: RepositoryMemory) -> Label | None:
    """INCOMPLETE where the run that stored it did not live to look whether its data had stayed as they were."""
    if label and label.id in memory.unverified_of(label.instance):
        return replace(label, outcome=Outcome.INCOMPLETE)
    return label
