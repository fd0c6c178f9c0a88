"""Asks several repositories at once: which answer, what the series holds, whether each is still the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TypeVar

from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.errors import LaterFormatError, VaultError, WrongInstanceError
from owui_vault.model import LABEL_FORMAT, Listening, Progress, Snapshot, UnansweredRepository
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.repositories.selectors import newest_first
from owui_vault.system.unwinding import undoing

T = TypeVar("T")
R = TypeVar("R")
_MOST_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryListing:
    """One repository as it answered: its snapshots, foreign ones included, or why it did not."""

    client: RepositoryClient
    snapshots: tuple[Snapshot, ...] = ()
    error: VaultError | None = None

    @property
    def name(self) -> str:
        """The repository's name."""
        return self.client.name

    @property
    def unanswered(self) -> UnansweredRepository | None:
        """Why it did not answer; None if it did."""
        return self.client.repository.unanswered(self.error) if self.error else None

    def series(self, instance: str) -> tuple[Snapshot, ...]:
        """The snapshots of one series, newest first."""
        return newest_first([each for each in self.snapshots if each.label and each.instance == instance])

    def chunking(self, instance: str) -> str:
        """How this engine has cut the files of a series here until now; empty where nothing says it."""
        engine = self.client.repository.engine.name
        labels = (each.label for each in self.series(instance))
        return next((label.chunking for label in labels if label and label.engine == engine), "")

    def highest(self, instance: str) -> int:
        """The highest number of the series, also where a later version gave it out; 0 where there is none."""
        return max((each.sequence for each in self.snapshots if each.instance == instance), default=0)


def later_format(snapshot: Snapshot) -> LaterFormatError | None:
    """Why a snapshot cannot be used though it is ours: a later version stored it. None for all others."""
    if snapshot.later is None:
        return None
    return LaterFormatError(
        f"snapshot {snapshot.later.id or snapshot.name} in repository {snapshot.repository!r} has a label of format"
        f" {snapshot.later.format}, and this version reads up to {LABEL_FORMAT}",
        snapshot.later.version,
    )


def later_formats(snapshots: Sequence[Snapshot], series: str | None) -> Iterator[str]:
    """A warning for each repository in which a later version stored something of this series (None: of any)."""
    passed = [each for each in newest_first(snapshots) if each.later and series in (None, each.instance)]
    for repository in dict.fromkeys(each.repository for each in passed):
        here = [each for each in passed if each.repository == repository]
        error = later_format(here[0])
        if error:
            more = f", as {len(here) - 1} more" if len(here) > 1 else ""
            yield f"{error.message}{more}: it is neither listed nor pruned. {error.hint}"


def survey(
    context: OperationContext,
    repositories: Sequence[Repository],
    callbacks: Callbacks | None = None,
    *,
    silent: Mapping[str, VaultError] | None = None,
) -> tuple[RepositoryListing, ...]:
    """Ask all repositories at once; an error stays with the one that had it.

    Those that were `silent` a moment ago are not asked: they would keep everybody waiting as long once more.
    """
    callbacks = callbacks or Callbacks()
    known = silent or {}

    def ask(repository: Repository, theirs: Callbacks) -> RepositoryListing:
        client = RepositoryClient(context, repository, theirs)
        if repository.name in known:
            return RepositoryListing(client=client.heard_by(callbacks), error=known[repository.name])
        try:
            found, error = client.list(), None
        except Exception as raised:  # one repository of several
            found, error = (), client.failure(raised, "looking at")
        return RepositoryListing(client=client.heard_by(callbacks), snapshots=found, error=error)

    return side_by_side(repositories, ask, callbacks, at_most=_MOST_AT_ONCE)


def side_by_side(
    things: Sequence[T], act: Callable[[T, Callbacks], R], callbacks: Callbacks, *, at_most: int
) -> tuple[R, ...]:
    """What `act` answers for each, in their order, `at_most` of them at a time.

    `act` gets callbacks of its own. What it says of its progress is heard in the thread that called this: a caller's
    callback may read from the vault, which only that thread may do within an operation. The first exception, in a
    callback or in the calling thread too, ends the others, and is raised when all have ended.
    """
    if len(things) == 1 or at_most == 1:
        return tuple(act(each, callbacks) for each in things)
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415  a tick with nothing due asks nobody

    news: SimpleQueue[Progress | Future[R]] = SimpleQueue()
    ending = Listening(callbacks.cancel)  # ours to set: the caller's may be meant for more than this operation
    theirs = replace(callbacks, progress=news.put, cancel=ending)
    under_way: list[Future[R]] = []

    def end() -> None:
        for each in under_way:
            each.cancel()  # what has not begun
        ending.set()

    with ThreadPoolExecutor(max_workers=at_most, thread_name_prefix="repository") as pool, undoing(end):
        for each in things:
            under_way.append(pool.submit(act, each, theirs))
            under_way[-1].add_done_callback(news.put)
        ended = 0
        while ended < len(things):
            told = news.get()
            if isinstance(told, Future):
                told.result()  # raises what it ended with
                ended += 1
            else:
                callbacks.progress(told)
        return tuple(each.result() for each in under_way)


def require_one_answer(surveyed: Sequence[RepositoryListing]) -> tuple[UnansweredRepository, ...]:
    """Those that did not answer. Where none did, the first failure is raised: it would look like success else."""
    silent = tuple(each.unanswered for each in surveyed if each.unanswered)
    if silent and len(silent) == len(surveyed):
        raise next((each.error for each in silent if not each.excused), silent[0].error)
    return silent


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
        known = fingerprint_of(each.series(instance))
        if known and known != fingerprint:
            raise _wrong_instance(instance, each.name, known, fingerprint)


def fingerprint_of(series: Sequence[Snapshot]) -> str:
    """Of the first of these snapshots that has one; empty: none has."""
    return next((each.label.fingerprint for each in series if each.label and each.label.fingerprint), "")


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
