"""The steps of a plan, in the order of a run: snapshot, replicate, prune, verify. Each failure is its own step's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from owui_vault.context.context import Callbacks
from owui_vault.errors import DeadlineExceededError, RepositoryUnreachableError, VaultError, as_result
from owui_vault.model import Outcome
from owui_vault.model.plans import Plan
from owui_vault.model.runs import ErrorNote, PlanStep, RunOutcome, StepRecord, StepResult
from owui_vault.repositories.collapse import in_words
from owui_vault.repositories.selectors import newest_first
from owui_vault.service.due import main_step
from owui_vault.service.overdue import as_brought, punctuality
from owui_vault.service.parts import Service
from owui_vault.service.timetable import Timetable

if TYPE_CHECKING:  # each tick imports this, and most find nothing due
    from owui_vault.model import SnapshotReport

_OUTCOMES = {Outcome.COMPLETE: RunOutcome.SUCCESS, Outcome.INCOMPLETE: RunOutcome.INCOMPLETE}
_RANKS = (RunOutcome.FAILED, RunOutcome.SUCCESS, RunOutcome.SKIPPED)  # of several sources of one mirror
_WORST_FIRST = (RunOutcome.FAILED, RunOutcome.WRONG, RunOutcome.INCOMPLETE, RunOutcome.SUCCESS)
_MOST_TEXTS = 20  # of one kind in the ledger; the report and the log have all of them
_MOST_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A plan that is carried out now, in the repositories in which it is due."""

    plan: Plan
    repositories: tuple[str, ...]
    timetables: dict[str, Timetable]
    since: dict[str, datetime]  # since when each plan is known
    callbacks: Callbacks = field(default_factory=Callbacks)


def worst(outcomes: Sequence[RunOutcome]) -> RunOutcome:
    """The most significant one; what was skipped says nothing."""
    return next((each for each in _WORST_FIRST if each in outcomes), RunOutcome.SUCCESS)


def take_snapshot(service: Service, run: PlannedRun) -> StepRecord:
    """One instant, stored in the repositories of the run."""
    began, started = service.context.clock.now(), service.context.clock.monotonic()
    note: ErrorNote | None = None
    try:
        report: SnapshotReport | None = service.operations.snapshot(
            to=run.repositories,
            tags=run.plan.tags,
            quiesce=run.plan.quiesce,
            plan=run.plan.name,
            progress=run.callbacks.progress,
            cancel=run.callbacks.cancel,
        )
    except Exception as raised:  # one step of several
        from owui_vault.model import SnapshotReport  # noqa: PLC0415  where nothing is due, it is of no use

        error = as_result(raised)
        note = ErrorNote.of(error)
        report = error.report if isinstance(error.report, SnapshotReport) else None
    results = tuple(stored_result(report, each.repository) for each in report.repositories) if report else ()
    outcomes = [each.outcome for each in results]
    if report and report.repositories and all(each.excused for each in report.repositories):
        note = None  # all of them may be away, and are
    if note:
        outcomes.append(RunOutcome.FAILED)
    return StepRecord(
        step=PlanStep.SNAPSHOT,
        began=began,
        outcome=worst(outcomes) if set(outcomes) != {RunOutcome.SKIPPED} else RunOutcome.SKIPPED,
        took_seconds=service.context.clock.monotonic() - started,
        results=results,
        captured=report is not None and report.manifest is not None,
        problems=_short(report.problems if report else ()),
        warnings=_short(report.warnings if report else ()),
        error=None if any(each.error for each in results) else note,
        freeze_seconds=report.proof.freeze_seconds if report and report.manifest else None,
        outage_seconds=report.proof.outage_seconds if report and report.manifest else None,
    )


def stored_result(report: SnapshotReport, repository: str) -> StepResult:
    """How a snapshot ended in one repository; that it is away where it may be is no failure."""
    (result,) = [each for each in report.repositories if each.repository == repository]
    if result.error and result.excused:
        return _away(repository, result.error)
    if result.error or result.snapshot is None:
        error = ErrorNote.of(result.error) if result.error else None
        silent = _is_silence(result.error)
        return StepResult(repository=repository, outcome=RunOutcome.FAILED, error=error, silent=silent)
    outcome = min(
        (_OUTCOMES[result.snapshot.outcome], _OUTCOMES.get(report.outcome, RunOutcome.INCOMPLETE)),
        key=_WORST_FIRST.index,
    )
    return StepResult(
        repository=repository,
        outcome=outcome,
        snapshot=result.snapshot.id,
        instant=result.snapshot.instant,
        size_bytes=result.snapshot.size_bytes,
        added_bytes=result.added_bytes,
    )


def _away(repository: str, error: VaultError) -> StepResult:
    """A repository that may be away, and is: no failure."""
    note = f"it may be away: {error.message}"
    return StepResult(repository=repository, outcome=RunOutcome.SKIPPED, note=note, silent=_is_silence(error))


def _is_silence(error: VaultError | None) -> bool:
    return isinstance(error, RepositoryUnreachableError | DeadlineExceededError)


def replicate(service: Service, run: PlannedRun) -> StepRecord:
    """What each mirror lacks and would keep; each failure is that mirror's own."""
    mirrors = [each for each in run.plan.mirrors if run.plan.snapshot or each in run.repositories]

    def one(name: str) -> StepResult:
        results = [_brought(service, run, each.source, name) for each in run.plan.replicate if name in each.to]
        return min(results, key=lambda each: _RANKS.index(each.outcome))

    return _each(service, PlanStep.REPLICATE, mirrors, one)


def _brought(service: Service, run: PlannedRun, source: str, name: str) -> StepResult:
    try:
        planned = service.operations.plan_replication(source, to=name)
    except VaultError as error:  # of the source: what is wrong with the mirror is in the plan
        (repository,) = service.context.select(source)
        if repository.excuses(error):
            note = f"{source} may be away: {error.message}"
            return StepResult(repository=name, outcome=RunOutcome.SKIPPED, note=note)
        raise
    if planned.repositories[0].error:
        raise planned.repositories[0].error
    callbacks = run.callbacks
    report = service.operations.replicate(planned, progress=callbacks.progress, cancel=callbacks.cancel)
    (result,) = report.repositories
    points = newest_first([each for each in result.copied if each.is_restore_point])
    return StepResult(
        repository=name,
        outcome=RunOutcome.FAILED if result.error else RunOutcome.SUCCESS,
        snapshot=points[0].id if points else "",
        instant=points[0].instant if points else None,
        size_bytes=points[0].size_bytes if points else None,
        added_bytes=result.added_bytes,
        error=ErrorNote.of(result.error) if result.error else None,
        problems=_short((*planned.warnings, *result.warnings)),
    )


def prune(service: Service, run: PlannedRun, done: Sequence[StepRecord]) -> StepRecord:
    """Each repository that has `keep`, if nothing speaks against it: see `_reason_not_to_prune`."""
    keeping = {each.name for each in service.context.repositories if not each.keep.is_empty or each.append_only}

    def one(name: str) -> StepResult:
        reason = _reason_not_to_prune(service, run, done, name)
        if reason:
            return StepResult(repository=name, outcome=RunOutcome.SKIPPED, note=reason)
        planned = service.operations.plan_prune(repository=name)
        if planned.collapse:
            return StepResult(repository=name, outcome=RunOutcome.WRONG, problems=_short([in_words(planned.collapse)]))
        callbacks = run.callbacks
        report = service.operations.prune(planned, progress=callbacks.progress, cancel=callbacks.cancel)
        (result,) = report.repositories
        return StepResult(
            repository=name,
            outcome=RunOutcome.FAILED if result.error else RunOutcome.SUCCESS,
            removed=len(result.removed),
            freed_bytes=result.freed_bytes,
            error=ErrorNote.of(result.error) if result.error else None,
            problems=_short(result.warnings),
        )

    return _each(service, PlanStep.PRUNE, [each for each in _places(service, run) if each in keeping], one)


def _reason_not_to_prune(service: Service, run: PlannedRun, done: Sequence[StepRecord], name: str) -> str:
    """Old restore points go only where new ones come.

    That is where this run stored a complete one; for a plan that takes no snapshots, where the newest complete one is
    not overdue by any plan that stores there, or by this one where none does.
    """
    (repository,) = service.context.select(name)
    if repository.append_only:
        return "it is append-only: never pruned from here"
    if run.plan.snapshot:
        stored = [each for each in _stored(done) if each.repository == name]
        complete = any(each.outcome is RunOutcome.SUCCESS for each in stored)
        return "" if complete else "this run stored nothing complete there"
    newest = [each for each in service.operations.snapshots(repository=name) if each.is_restore_point]
    storing = [each for each in service.plans if each.snapshot and name in service.places_of(each)]
    now = service.context.clock.now()
    for plan in storing or [run.plan]:
        instants = [each.instant for each in newest if not storing or each.plan == plan.name]
        timetable = run.timetables[plan.name]
        if main_step(plan) is PlanStep.REPLICATE:
            instants = list(as_brought(timetable, instants, now))
        judged = punctuality(timetable, instants, now, known_since=run.since.get(plan.name))
        if judged.overdue or not instants:
            return f"its newest complete snapshot by {plan.name} is overdue" if storing else "its snapshots are overdue"
    return ""


def _stored(done: Sequence[StepRecord]) -> list[StepResult]:
    """What this run has stored, or brought, and where."""
    return [
        result
        for step in done
        if step.step in (PlanStep.SNAPSHOT, PlanStep.REPLICATE)
        for result in step.results
        if result.snapshot
    ]


def _places(service: Service, run: PlannedRun) -> tuple[str, ...]:
    """Where this run has stored or may have brought something, in configuration order."""
    wanted = {*run.repositories}
    if run.plan.replicate:
        wanted |= {*(run.plan.mirrors if run.plan.snapshot else run.plan.repositories)}
    return tuple(each.name for each in service.context.repositories if each.name in wanted)


def verify(service: Service, run: PlannedRun, done: Sequence[StepRecord]) -> StepRecord:
    """What this run stored in each repository; for a plan that takes no snapshots, the newest complete one there."""
    stored = {each.repository: each.snapshot for each in _stored(done)}

    def one(name: str) -> StepResult:
        if run.plan.snapshot and name not in stored:
            return StepResult(repository=name, outcome=RunOutcome.SKIPPED, note="this run stored nothing there")
        report = service.operations.verify(
            stored.get(name, "latest"),
            repository=name,
            read_data=run.plan.read_data,
            progress=run.callbacks.progress,
            cancel=run.callbacks.cancel,
        )
        return StepResult(
            repository=name,
            outcome=RunOutcome.SUCCESS if report.ok else RunOutcome.WRONG,
            snapshot=report.snapshot.id if report.snapshot else "",
            problems=_short(report.problems),
        )

    return _each(service, PlanStep.VERIFY, _places(service, run), one)


def _each(
    service: Service, step: PlanStep, repositories: Sequence[str], one: Callable[[str], StepResult]
) -> StepRecord:
    """The step in one repository after the other: what fails in one does not keep the others from theirs."""
    began, started = service.context.clock.now(), service.context.clock.monotonic()
    results = []
    for name in repositories:
        try:
            results.append(one(name))
        except Exception as raised:  # one step of several
            error = as_result(raised)
            (repository,) = service.context.select(name)
            found = StepResult(repository=name, outcome=RunOutcome.FAILED, error=ErrorNote.of(error))
            if repository.excuses(error):
                found = _away(name, error)
            # What kept a mirror from getting anything may have been its source.
            results.append(replace(found, silent=step is not PlanStep.REPLICATE and _is_silence(error)))
    outcomes = [each.outcome for each in results if each.outcome is not RunOutcome.SKIPPED]
    return StepRecord(
        step=step,
        began=began,
        outcome=worst(outcomes) if outcomes else RunOutcome.SKIPPED,
        took_seconds=service.context.clock.monotonic() - started,
        results=tuple(results),
    )


def _short(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(each[:_MOST_CHARACTERS] for each in texts[:_MOST_TEXTS])
