"""What is known of restore points and verifications: of a repository that answers, or from the state alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from owui_vault.context.context import Repository
from owui_vault.context.state import StateDirectory
from owui_vault.model import ALL, LedgerEntry, Snapshot
from owui_vault.model.manifest import VERIFIED
from owui_vault.model.plans import Plan
from owui_vault.model.runs import ErrorNote, PlanStep, RunOutcome, RunRecord, StepResult
from owui_vault.model.status import PointFact
from owui_vault.repositories.identity import rolled_back
from owui_vault.repositories.listing import RepositoryListing
from owui_vault.repositories.selectors import newest_first, once_each
from owui_vault.service.run_entries import PointSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one series, or of one plan in it, in one repository.

    `points` are COMPLETE, newest first. `as_of` None: nobody knows anything. `incomplete` is a snapshot that is newer
    than all of them and not COMPLETE.
    """

    repository: str
    as_of: datetime | None
    points: tuple[PointFact, ...] = ()
    are_all: bool = False  # whether `points` are all that there are
    incomplete: str = ""
    gone: tuple[str, ...] = ()
    error: ErrorNote | None = None


def asked(listing: RepositoryListing, series: str, now: datetime, plan: Plan | None = None) -> Facts:
    """What a repository said; where it did not answer, why."""
    if listing.error:
        return Facts(repository=listing.name, as_of=None, error=ErrorNote.of(listing.error))
    ours = [each for each in once_each(listing.series(series)) if plan is None or each.plan == plan.name]
    ordered = newest_first(ours)
    newest_is_bad = bool(ordered) and not ordered[0].is_restore_point
    return Facts(
        repository=listing.name,
        as_of=now,
        points=tuple(_point(each) for each in ordered if each.is_restore_point),
        are_all=True,
        incomplete=ordered[0].id if newest_is_bad else "",
        gone=tuple(rolled_back(listing.client, listing.snapshots)),
    )


def _point(snapshot: Snapshot) -> PointFact:
    return PointFact(
        id=snapshot.id,
        instant=snapshot.instant,
        size_bytes=snapshot.size_bytes,
        verified_at=snapshot.verified_at,
        all_read_at=snapshot.verified_all_at,
    )


def remembered(
    runs: Sequence[RunRecord],
    repository: str,
    noted: datetime | None,
    verifications: Sequence[LedgerEntry],
    *,
    seen: Sequence[PointSeen],
) -> Facts:
    """What the ledgers of this machine know of a plan in a repository: what it stored there itself, and saw there."""
    stored = [
        (run.ended or run.began, result)
        for run in runs
        for step in run.steps
        if step.step in (PlanStep.SNAPSHOT, PlanStep.REPLICATE)
        for result in step.results
        if result.repository == repository and result.snapshot
    ]
    checks = {each.snapshot: each for each in verifications if each.repository == repository and each.ok}
    good = [result for _, result in stored if result.outcome is RunOutcome.SUCCESS]
    newest = stored[-1][1] if stored else None
    others = [each for each in seen if each.repository == repository]
    points = [_remembered_point(each, checks.get(each.snapshot)) for each in reversed(good) if each.instant]
    points += [PointFact(id=each.snapshot, instant=each.instant) for each in others]
    times = [*(time for time, _ in stored), *(each.at for each in others), *([noted] if noted else [])]
    return Facts(
        repository=repository,
        as_of=max(times, default=None),
        points=tuple(sorted(points, key=lambda each: each.instant, reverse=True)),
        incomplete=newest.snapshot if newest and newest.outcome is not RunOutcome.SUCCESS else "",
    )


def _remembered_point(result: StepResult, check: LedgerEntry | None) -> PointFact:
    assert result.instant  # noqa: S101  whoever calls has looked
    return PointFact(
        id=result.snapshot,
        instant=result.instant,
        size_bytes=result.size_bytes,
        verified_at=check.at if check else None,
        all_read_at=check.at if check and check.depth == ALL else None,
    )


def remembered_series(state: StateDirectory, repository: Repository) -> Iterator[tuple[str, Facts]]:
    """The newest of each series that this machine stored in a repository itself, without asking it."""
    folder = state.known_folder(repository.name, repository.engine.location)
    for series, last in state.repository_memory(folder).last:
        point = PointFact(id=last.id, instant=last.instant) if last.instant else None
        yield (
            series,
            Facts(repository=repository.name, as_of=last.instant, points=(point,) if point else ()),
        )


def verified_times(plan: Plan, repository: str, entries: Sequence[LedgerEntry]) -> tuple[datetime, ...]:
    """When verifications there, as deep as the plan asks for, found nothing wrong."""
    return tuple(
        each.at
        for each in entries
        if each.kind == VERIFIED and each.repository == repository and each.ok
        if plan.read_data < 1 or each.depth == ALL
    )


def found_wrong(repository: str, entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """The last verification there, if it found something wrong."""
    there = [each for each in entries if each.kind == VERIFIED and each.repository == repository]
    return there[-1] if there and not there[-1].ok else None
