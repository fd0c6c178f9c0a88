"""Surveys the repositories first: which answer, what the series holds, whether each is still the same one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.context.state import RepositoryMemory
from owui_vault.errors import (
    CancelledError,
    RepositoryLockedError,
    RepositoryMissingError,
    ResumeError,
    RollbackError,
    UnforeseenError,
    VaultError,
    WrongInstanceError,
)
from owui_vault.model import ALL, Label, Listening, Outcome, RepositoryInfo, Snapshot
from owui_vault.repositories.overlap import require_engine_kind
from owui_vault.repositories.selectors import newest_first
from owui_vault.system.unwinding import undoing

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_MOST_AT_ONCE = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryListing:
    """One repository as it answered: its snapshots, foreign ones included, or why it did not."""

    repository: Repository
    snapshots: tuple[Snapshot, ...] = ()
    error: VaultError | None = None

    def series(self, instance: str) -> tuple[Snapshot, ...]:
        """The snapshots of one series, newest first."""
        return newest_first([each for each in self.snapshots if each.label and each.instance == instance])


def survey(
    context: OperationContext, repositories: Sequence[Repository], callbacks: Callbacks | None = None
) -> tuple[RepositoryListing, ...]:
    """Ask all repositories at once; an error stays with the one that had it."""
    callbacks = callbacks or Callbacks()
    ending = Listening(callbacks.cancel)  # ours to set: the caller's may be meant for more than this operation
    callbacks = replace(callbacks, cancel=ending)

    def ask(repository: Repository) -> RepositoryListing:
        try:
            return RepositoryListing(repository=repository, snapshots=listed(context, repository, callbacks))
        except Exception as error:  # one repository of several
            return RepositoryListing(
                repository=repository, error=failure_of(repository, error, callbacks, "looking at")
            )

    with (
        ThreadPoolExecutor(max_workers=_MOST_AT_ONCE, thread_name_prefix="survey") as pool,
        undoing(ending.set),  # KeyboardInterrupt, which only this thread gets: the others' programs must end as well
    ):
        return tuple(pool.map(ask, repositories))


def failure_of(repository: Repository, error: Exception, callbacks: Callbacks, doing: str) -> VaultError:
    """What `error` is as the result of one repository of several, so that the others are not kept from theirs.

    Raises what is nobody's result: CancelledError, and what concerns the instance.
    """
    if isinstance(error, CancelledError | ResumeError | RollbackError):
        raise error
    if callbacks.cancel.is_set():  # an engine that was interrupted may call it what it likes
        raise CancelledError(f"stopped while {doing} {repository.name}") from error
    if isinstance(error, VaultError):
        return error
    unforeseen = UnforeseenError(error)
    _log.info("%s, %s %s: %s", unforeseen.message, doing, repository.name, "; ".join(unforeseen.places))
    return unforeseen


def listed(
    context: OperationContext, repository: Repository, callbacks: Callbacks | None = None
) -> tuple[Snapshot, ...]:
    """All snapshots of a repository that is known to be the one it was.

    Raises RepositoryMissingError when another one, or none, lies where a known one was.
    """
    require_engine_kind(repository)
    call = context.call(repository, callbacks)
    memory = context.state.repository_memory(call.folder)
    try:
        found = retry_while_locked(context, lambda: repository.engine.snapshots(call), callbacks)
    except RepositoryMissingError as error:
        if memory.id:
            error.hint = "It was there before: is its disk or share mounted? Only `init --again` creates a new one."
        raise
    ids = {each.id for each in found} | {each.engine_id for each in found}
    if not memory.id:
        info = retry_while_locked(context, lambda: repository.engine.inspect(call), callbacks)
        context.state.remember_repository(call.folder, info.id)
    elif not memory.last or any((last.engine_id or last.id) not in ids for _, last in memory.last):
        # What we stored last is not there (or there is no such thing): was it removed, or is this another repository?
        # Our id alone says little: it is the same in every repository that holds the instant.
        require_same_repository(context, repository, callbacks)
    return _with_memory(context, repository, found, memory)


def require_same_repository(
    context: OperationContext, repository: Repository, callbacks: Callbacks | None = None
) -> None:
    """Raise RepositoryMissingError unless the repository has the id it had."""
    call = context.call(repository, callbacks)
    known = context.state.repository_memory(call.folder)
    require_same_id(known.id, retry_while_locked(context, lambda: repository.engine.inspect(call), callbacks))


def require_same_id(known: str, info: RepositoryInfo) -> None:
    """Raise RepositoryMissingError when another repository answers than the known one."""
    if known and info.id != known:
        raise RepositoryMissingError(
            f"another repository ({info.id[:10]}) is at {info.location}, where {known[:10]} was",
            engine=info.engine,
            hint="Is the right disk or share mounted? If the old one is gone for good, run `init --again`.",
        )


def _with_memory(
    context: OperationContext, repository: Repository, found: Sequence[Snapshot], memory: RepositoryMemory
) -> tuple[Snapshot, ...]:
    """Add what this machine knows.

    That is the repository's name, when a snapshot was last verified, and whether the run that stored it lived to look
    whether its data had stayed as they were.
    """
    entries = [
        entry
        for instance in {each.instance for each in found if each.label}
        for entry in context.state.ledger(instance)
        if entry.repository == repository.name
    ]
    last = {entry.snapshot: entry for entry in entries}  # what was found wrong later is not verified any more
    verified = {snapshot: entry.at for snapshot, entry in last.items() if entry.ok}
    read = {entry.snapshot: entry.at for entry in entries if entry.ok and entry.depth == ALL}
    return tuple(
        replace(
            each,
            repository=repository.name,
            label=_with_local_outcome(each.label, memory),
            size_bytes=(each.label.size_bytes if each.label else 0) or each.size_bytes,
            verified_at=verified.get(each.id) if each.label else None,
            verified_all_at=read.get(each.id) if each.label and each.id in verified else None,
        )
        for each in found
    )


def _with_local_outcome(label: Label | None, memory: RepositoryMemory) -> Label | None:
    if label and label.id in memory.unverified_of(label.instance):
        return replace(label, outcome=Outcome.INCOMPLETE)
    return label


def retry_while_locked(context: OperationContext, call: Callable[[], T], callbacks: Callbacks | None = None) -> T:
    """Call again while another program holds the repository's lock, at most `limits.lock_wait` long.

    Raises CancelledError when the operation is cancelled meanwhile.
    """
    until = context.clock.monotonic() + context.limits.lock_wait_seconds
    while True:
        try:
            return call()
        except RepositoryLockedError as error:
            if callbacks and callbacks.cancel.is_set():
                raise CancelledError(f"stopped while another program was using it: {error.message}") from error
            if context.clock.monotonic() >= until:
                raise
            context.clock.sleep(_RETRY_SECONDS)


def require_own_series(
    context: OperationContext, fingerprint: str | None, surveyed: Sequence[RepositoryListing]
) -> None:
    """Raise WrongInstanceError when a series belongs to another instance than the one with `fingerprint`.

    None: the database could not be read. That is let through, since what is left of an instance is worth storing and
    never becomes COMPLETE. Empty: it was read and has no user. In a series that had some this is Open WebUI started
    again on an empty directory, whose snapshots would become the newest of all.
    """
    if fingerprint is None:
        return
    instance = context.series()
    if fingerprint and context.state.instance_memory(instance).adopted == fingerprint:
        return
    for each in surveyed:
        known = next(
            (one.label.fingerprint for one in each.series(instance) if one.label and one.label.fingerprint), ""
        )
        if known and known != fingerprint:
            raise _wrong_instance(instance, each.repository.name, known, fingerprint)


def _wrong_instance(instance: str, repository: str, known: str, fingerprint: str) -> WrongInstanceError:
    series = f"the series {instance!r} in repository {repository!r} belongs to"
    if not fingerprint:
        return WrongInstanceError(
            f"{series} an instance with users (its fingerprint is {known[:12]}), and this one has none",
            hint="Is the right volume mounted? `restore` brings back what was there. If this instance starts over for"
            " good, give it another instance.name, or create its first user and run `init --adopt`.",
        )
    return WrongInstanceError(
        f"{series} another instance (its fingerprint is {known[:12]}, this one's {fingerprint[:12]})",
        hint="Give this instance another instance.name, or run `init --adopt` if it replaces the old one for good.",
    )
