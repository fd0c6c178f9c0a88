"""Runs what is due: one straight path, in reading order.

decide    what is due, from schedule and ledger alone      nothing: that is all, and no repository is asked
lock      the ledger, for this series                      another run: LockHeldError, or nothing if it does the same
tell      of runs that began and did not end               and after each plan, and where nothing is due: what is so
for each plan, in the ledger before and after each of these:
snapshot  one instant, in the repositories of the plan
replicate from one repository to others
prune     where that stored a restore point, or brought one
verify    what was stored
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from owui_vault.context.context import Callbacks
from owui_vault.errors import CancelledError, LockHeldError, ResumeError, RollbackError, UnforeseenError, VaultError
from owui_vault.model.plans import Plan
from owui_vault.model.runs import (
    Decision,
    ErrorNote,
    PlanStep,
    RunOutcome,
    RunRecord,
    RunReport,
    StepRecord,
)
from owui_vault.service import steps
from owui_vault.service.due import decide
from owui_vault.service.overdue import is_believed
from owui_vault.service.parts import Service
from owui_vault.service.run_entries import History, PlanNoted, RunBegan, RunEnded, StepBegan, StepEnded
from owui_vault.service.run_ledger import RunLedger
from owui_vault.service.space import note_space
from owui_vault.service.telling.announce import announce
from owui_vault.service.telling.heartbeats import Pulse
from owui_vault.service.telling.troubles import cannot_start, mended, unrecorded
from owui_vault.system.unwinding import on_failure

_log = logging.getLogger(__name__)
_EXIT_CODES = {RunOutcome.FAILED: 1, RunOutcome.WRONG: 5, RunOutcome.INCOMPLETE: 3, RunOutcome.SUCCESS: 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What was decided at one moment, and from what."""

    now: datetime
    history: History
    decisions: tuple[Decision, ...]
    lost: tuple[str, ...] = ()  # of the ledger

    @property
    def due(self) -> tuple[Decision, ...]:
        return tuple(each for each in self.decisions if each.due)

    @property
    def killed(self) -> tuple[RunRecord, ...]:
        """Runs that began and did not end, and that nobody has told of."""
        return tuple(each for each in self.history.runs if each.outcome is RunOutcome.KILLED and each.ended is None)


def run(service: Service, names: Sequence[str], callbacks: Callbacks, *, dry_run: bool = False) -> RunReport:
    """Carry out the plans that are due, or the named ones whether due or not.

    Raises LockHeldError where another run of this series is under way, unless that does the same, and what concerns the
    instance itself; a step that fails otherwise is a result.
    """
    with on_failure(lambda error: _tell_that_nothing_began(service, error) if not dry_run else None):
        return _run(service, names, callbacks, dry_run=dry_run)


def _tell_that_nothing_began(service: Service, error: BaseException) -> None:
    """What ended a run stands in its ledger and is told as any other; what kept it from beginning stands nowhere."""
    if isinstance(error, CancelledError | ResumeError | RollbackError):
        announce(service)
    elif isinstance(error, Exception) and not isinstance(error, LockHeldError):
        known = error if isinstance(error, VaultError) else UnforeseenError(error)
        announce(service, instead=cannot_start(known, "start"))
        Pulse(service).failed_to_start()


def _run(service: Service, names: Sequence[str], callbacks: Callbacks, *, dry_run: bool) -> RunReport:
    plans = service.select(names)
    ledger = service.ledger
    first = _look(service, plans, names, ledger.read())
    new = _new(service, first)
    if dry_run:
        return RunReport(decisions=first.decisions, killed=first.killed, dry_run=True)
    if not names:
        ledger.note_call(first.now)
    if not (first.due or first.killed or new):
        return RunReport(warnings=announce(service).warnings)
    claimed = [each.plan for each in first.due]
    with ExitStack() as stack:
        try:
            name = stack.enter_context(ledger.held(claimed, first.now))
        except LockHeldError:
            holder = ledger.holder()
            if not names and (not claimed or (holder and set(claimed) <= set(holder.plans))):
                return RunReport(warnings=announce(service).warnings)  # it is being done, or there is nothing to do
            raise
        return _run_alone(service, plans, names, callbacks, held_as=name)


def _run_alone(
    service: Service, plans: Sequence[Plan], names: Sequence[str], callbacks: Callbacks, *, held_as: str
) -> RunReport:
    ledger = service.ledger
    warnings = ledger.mend()
    look = _look(service, plans, names, ledger.read(held_as))  # another run may have ended meanwhile
    look = replace(look, lost=warnings)
    for each in _new(service, look):
        ledger.append(each)
    killed = tuple(_noted_as_killed(service, each, look.now) for each in look.killed)
    pulse = Pulse(service)
    said: list[str] = list(warnings)
    if killed:
        said += announce(service).warnings
        pulse.failed([each.plan for each in killed], "; ".join(f"{each.plan}: killed" for each in killed))
    if look.due:
        ledger.shorten()
    runs, unwritten = _run_due(service, look, callbacks, pulse, held_as=held_as)
    return RunReport(
        runs=tuple(runs),
        killed=killed,
        warnings=tuple(dict.fromkeys([*said, *pulse.warnings, *unwritten.said])),
        unrecorded=tuple(unwritten.records),
    )


@dataclass(frozen=True, slots=True)
class _Unwritten:
    """What could not be written down, and what could not be told."""

    records: list[str]
    said: list[str]


def _run_due(
    service: Service, look: _Look, callbacks: Callbacks, pulse: Pulse, *, held_as: str
) -> tuple[list[RunRecord], _Unwritten]:
    """One plan after the other; after each, whoever is to be told is told, and not only at the end of all."""
    timetables = service.timetables()
    since = {name: each.since for name, each in service.ledger.read(held_as).noted.items()}
    runs: list[RunRecord] = []
    unwritten = _Unwritten([], [])
    if not look.due:
        unwritten.said.extend(announce(service, extra=tuple(mended(look.lost))).warnings)
        return runs, unwritten
    with pulse.failing_if_interrupted():
        pulse.start([each.plan for each in look.due])
        for decision in look.due:
            (plan,) = service.select([decision.plan])
            planned = steps.PlannedRun(
                plan=plan, repositories=decision.repositories, timetables=timetables, since=since, callbacks=callbacks
            )
            pulse.begin(plan.name)
            record, lost = _run_one(service, planned, decision.because, held_as)
            runs.append(record)
            unwritten.records.extend(lost)
            pulse.end(record)
            extra = (*unrecorded(plan.name, lost), *mended(look.lost))
            announced = announce(service, fresh=[record], extra=extra)
            unwritten.said.extend(announced.warnings)
    pulse.finish(runs, announced.troubles)
    note_space(service, dict.fromkeys(name for decision in look.due for name in decision.repositories))
    return runs, unwritten


def _look(service: Service, plans: Sequence[Plan], names: Sequence[str], history: History) -> _Look:
    now = service.context.clock.now()
    timetables = service.timetables()
    decisions = []
    for plan in plans:
        repositories = service.due_in(plan)
        noted = history.noted.get(plan.name)
        current = noted if noted and noted.schedule == str(plan.schedule) else None
        decision = decide(
            timetables[plan.name],
            history.of(plan.name),
            current,
            now,
            repositories=repositories,
        )
        if names:
            decision = replace(decision, due=True, because="it was named", repositories=repositories)
        decisions.append(decision)
    return _Look(now=now, history=history, decisions=tuple(decisions))


def _new(service: Service, look: _Look) -> tuple[PlanNoted, ...]:
    """The plans that the ledger does not know yet, or with another schedule, or from a time to come."""
    new = []
    for plan in service.plans:
        known = look.history.noted.get(plan.name)
        schedule = str(plan.schedule)
        if known is None or not is_believed(known.at, look.now):
            new.append(PlanNoted(plan=plan.name, at=look.now, since=look.now, schedule=schedule))
        elif known.schedule != schedule:
            new.append(PlanNoted(plan=plan.name, at=look.now, since=known.since, schedule=schedule))
    return tuple(new)


def _noted_as_killed(service: Service, run: RunRecord, now: datetime) -> RunRecord:
    """A failure like any other from now on: whoever has not heard of it hears of it."""
    service.ledger.append(RunEnded(run=run.id, at=now, outcome=RunOutcome.KILLED, exit_code=1))
    return replace(run, ended=now, exit_code=1)


def _run_one(
    service: Service, planned: steps.PlannedRun, because: str, held_as: str
) -> tuple[RunRecord, tuple[str, ...]]:
    """One plan, step by step; the second part says what could not be written down about it."""
    ledger, clock = service.ledger, service.context.clock
    plan = planned.plan
    began, started = clock.now(), clock.monotonic()
    record = RunRecord(id=os.urandom(4).hex(), plan=plan.name, began=began, outcome=RunOutcome.RUNNING, because=because)
    try:
        ledger.append(RunBegan(run=record.id, plan=plan.name, at=began, because=because, holder=held_as))
    except VaultError as error:  # without it nobody would know that it was done, and it would be done again and again
        note = ErrorNote.of(error)
        unbegun = StepRecord(step=next(_steps_of(plan)), began=began, outcome=RunOutcome.FAILED, error=note)
        failed = replace(record, ended=began, outcome=RunOutcome.FAILED, exit_code=1, steps=(unbegun,))
        return failed, ()
    with _ended_if_interrupted(ledger, record, service):
        done: list[StepRecord] = []
        unwritten: list[str] = []
        for step in _steps_of(plan):
            _note(ledger, StepBegan(run=record.id, step=step, at=clock.now()), unwritten)
            match step:
                case PlanStep.SNAPSHOT:
                    result = steps.take_snapshot(service, planned)
                case PlanStep.REPLICATE:
                    result = steps.replicate(service, planned)
                case PlanStep.PRUNE:
                    result = steps.prune(service, planned, done)
                case PlanStep.VERIFY:
                    result = steps.verify(service, planned, done)
            done.append(result)
            _note(ledger, StepEnded(run=record.id, record=result), unwritten)
        outcome = steps.worst([each.outcome for each in done])
        record = replace(
            record,
            ended=clock.now(),
            outcome=outcome,
            took_seconds=clock.monotonic() - started,
            exit_code=_EXIT_CODES[outcome],
            steps=tuple(done),
        )
    _note(ledger, _ended(record), unwritten)
    _log.info("plan %s: %s after %.0f s", plan.name, record.outcome.value, record.took_seconds)
    return record, tuple(dict.fromkeys(unwritten))


def _steps_of(plan: Plan) -> Iterator[PlanStep]:
    if plan.snapshot:
        yield PlanStep.SNAPSHOT
    if plan.replicate:
        yield PlanStep.REPLICATE
    if plan.prune:
        yield PlanStep.PRUNE
    if plan.verify:
        yield PlanStep.VERIFY


def _ended(record: RunRecord) -> RunEnded:
    return RunEnded(
        run=record.id,
        at=record.ended or record.began,
        outcome=record.outcome,
        exit_code=record.exit_code,
        took_seconds=record.took_seconds,
    )


def _note(ledger: RunLedger, entry: StepBegan | StepEnded | RunEnded, unwritten: list[str]) -> None:
    """Write down what is under way: what was done is done, also where it cannot be."""
    try:
        ledger.append(entry)
    except VaultError as error:
        unwritten.append(f"{error.message}. {error.hint}".rstrip())


@contextmanager
def _ended_if_interrupted(ledger: RunLedger, record: RunRecord, service: Service) -> Iterator[None]:
    """Whoever is asked to stop, or finds the instance not as it was, still says how the run ended."""

    def end(error: BaseException) -> None:
        known = error if isinstance(error, VaultError) else None
        if isinstance(error, Exception) and known is None:
            known = UnforeseenError(error)
        note = ErrorNote.of(known or CancelledError("stopped on request"))
        now = service.context.clock.now()
        step = StepRecord(
            step=_open_step(ledger, record.id),
            began=now,
            outcome=RunOutcome.FAILED,
            captured=isinstance(error, ResumeError | RollbackError),
            error=note,
        )
        _note(ledger, StepEnded(run=record.id, record=step), [])
        ended = RunEnded(run=record.id, at=now, outcome=RunOutcome.FAILED, exit_code=note.exit_code)
        _note(ledger, ended, [])

    with on_failure(end):
        yield


def _open_step(ledger: RunLedger, run: str) -> PlanStep:
    """The step that was interrupted: the last one that the ledger has of this run."""
    known = [each for each in ledger.read().runs if each.id == run]
    return known[0].steps[-1].step if known and known[0].steps else PlanStep.SNAPSHOT
