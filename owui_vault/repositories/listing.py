"""Looking at the repositories first: who answers, what the series holds, whether it is still the same one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from owui_vault.context.context import Parts, Repository, Watch
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
from owui_vault.repositories.kind import demand_kind
from owui_vault.repositories.selectors import newest_first
from owui_vault.system.unwinding import undoing

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_MOST_AT_ONCE = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """One repository as it answered: its snapshots, foreign ones included, or why it did not."""

    repository: Repository
    snapshots: tuple[Snapshot, ...] = ()
    error: VaultError | None = None

    def series(self, instance: str) -> tuple[Snapshot, ...]:
        """The snapshots of one series, newest first."""
        return newest_first([each for each in self.snapshots if each.label and each.instance == instance])


def survey(parts: Parts, repositories: Sequence[Repository], watch: Watch | None = None) -> tuple[Surveyed, ...]:
    """Ask all repositories at once; an error stays with the one that had it."""
    watch = watch or Watch()
    ending = Listening(watch.cancel)  # ours to set: the caller's may be meant for more than this operation
    watch = replace(watch, cancel=ending)

    def ask(repository: Repository) -> Surveyed:
        try:
            return Surveyed(repository=repository, snapshots=listed(parts, repository, watch))
        except Exception as error:  # one repository of several
            return Surveyed(repository=repository, error=failure_of(repository, error, watch, "looking at"))

    with (
        ThreadPoolExecutor(max_workers=_MOST_AT_ONCE, thread_name_prefix="survey") as pool,
        undoing(ending.set),  # KeyboardInterrupt, which only this thread gets: the others' programs must end as well
    ):
        return tuple(pool.map(ask, repositories))


def failure_of(repository: Repository, error: Exception, watch: Watch, doing: str) -> VaultError:
    """What `error` is as the result of one repository of several, so that the others are not kept from theirs.

    Raises what is nobody's result: CancelledError, and what concerns the instance.
    """
    if isinstance(error, CancelledError | ResumeError | RollbackError):
        raise error
    if watch.cancel.is_set():  # an engine that was interrupted may call it what it likes
        raise CancelledError(f"stopped while {doing} {repository.name}") from error
    if isinstance(error, VaultError):
        return error
    unforeseen = UnforeseenError(error)
    _log.info("%s, %s %s: %s", unforeseen.message, doing, repository.name, "; ".join(unforeseen.places))
    return unforeseen


def listed(parts: Parts, repository: Repository, watch: Watch | None = None) -> tuple[Snapshot, ...]:
    """All snapshots of a repository that is known to be the one it was.

    Raises RepositoryMissingError when another one, or none, lies where a known one was.
    """
    demand_kind(repository)
    call = parts.call(repository, watch)
    memory = parts.state.repository_memory(call.folder)
    try:
        found = patiently(parts, lambda: repository.engine.snapshots(call), watch)
    except RepositoryMissingError as error:
        if memory.id:
            error.hint = "It was there before: is its disk or share mounted? A new one is made by `init --again` only."
        raise
    ids = {each.id for each in found} | {each.engine_id for each in found}
    if not memory.id:
        info = patiently(parts, lambda: repository.engine.inspect(call), watch)
        parts.state.remember_repository(call.folder, info.id)
    elif not memory.last or any((last.engine_id or last.id) not in ids for _, last in memory.last):
        # What we stored last is not there (or there is no such thing): was it removed, or is this another repository?
        # Our id alone says little: it is the same in every repository that holds the instant.
        demand_same(parts, repository, watch)
    return _with_memory(parts, repository, found, memory)


def demand_same(parts: Parts, repository: Repository, watch: Watch | None = None) -> None:
    """Raise RepositoryMissingError unless the repository has the id it had."""
    call = parts.call(repository, watch)
    known = parts.state.repository_memory(call.folder)
    demand_same_id(known.id, patiently(parts, lambda: repository.engine.inspect(call), watch))


def demand_same_id(known: str, info: RepositoryInfo) -> None:
    """Raise RepositoryMissingError when another repository answers than the known one."""
    if known and info.id != known:
        raise RepositoryMissingError(
            f"another repository ({info.id[:10]}) lies at {info.location} where {known[:10]} was",
            engine=info.engine,
            hint="Is the right disk or share mounted? If the old one is gone for good, run `init --again`.",
        )


def _with_memory(
    parts: Parts, repository: Repository, found: Sequence[Snapshot], memory: RepositoryMemory
) -> tuple[Snapshot, ...]:
    """Add what this machine knows.

    That is the repository's name, when a snapshot was last verified, and whether the run that stored it lived to look
    whether its data had stayed as they were.
    """
    entries = [
        entry
        for instance in {each.instance for each in found if each.label}
        for entry in parts.state.ledger(instance)
        if entry.repository == repository.name
    ]
    last = {entry.snapshot: entry for entry in entries}  # what was found wrong later is not verified any more
    verified = {snapshot: entry.at for snapshot, entry in last.items() if entry.ok}
    read = {entry.snapshot: entry.at for entry in entries if entry.ok and entry.depth == ALL}
    return tuple(
        replace(
            each,
            repository=repository.name,
            label=_believed(each.label, memory),
            size_bytes=(each.label.size_bytes if each.label else 0) or each.size_bytes,
            verified_at=verified.get(each.id) if each.label else None,
            verified_all_at=read.get(each.id) if each.label and each.id in verified else None,
        )
        for each in found
    )


def _believed(label: Label | None, memory: RepositoryMemory) -> Label | None:
    if label and label.id in memory.unverified_of(label.instance):
        return replace(label, outcome=Outcome.INCOMPLETE)
    return label


def patiently(parts: Parts, call: Callable[[], T], watch: Watch | None = None) -> T:
    """Call again while another program holds the repository's lock, at most `limits.lock_wait` long.

    Raises CancelledError when the operation is cancelled meanwhile.
    """
    until = parts.clock.monotonic() + parts.limits.lock_wait_seconds
    while True:
        try:
            return call()
        except RepositoryLockedError as error:
            if watch and watch.cancel.is_set():
                raise CancelledError(f"stopped while another program worked on it: {error.message}") from error
            if parts.clock.monotonic() >= until:
                raise
            parts.clock.sleep(_RETRY_SECONDS)


def demand_fingerprint(parts: Parts, fingerprint: str | None, surveyed: Sequence[Surveyed]) -> None:
    """Raise WrongInstanceError when a series belongs to another instance than the one with `fingerprint`.

    None: the database could not be read. That is let through, since what is left of an instance is worth storing and
    never becomes COMPLETE. Empty: it was read and has no user. In a series that had some this is Open WebUI started
    anew on an empty directory, whose snapshots would become the newest of all.
    """
    if fingerprint is None:
        return
    instance = parts.series()
    if fingerprint and parts.state.instance_memory(instance).adopted == fingerprint:
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
            hint="Is the right volume mounted? What was there can be had by `restore`. If this instance begins anew for"
            " good, give it another instance.name, or create its first user and run `init --adopt`.",
        )
    return WrongInstanceError(
        f"{series} another instance (its fingerprint is {known[:12]}, this one's {fingerprint[:12]})",
        hint="Give this instance another instance.name, or run `init --adopt` if it replaces the old one for good.",
    )
