"""What is wrong with a plan now: from what its last runs came to, and from what is overdue. Pure.

Read anew each time from the ledger, so that what was not told, because whoever should have was killed, is told by
whoever comes next.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from owui_vault.errors import VaultError
from owui_vault.model import EventKind
from owui_vault.model.json_codec import local_text
from owui_vault.model.plans import Plan
from owui_vault.model.runs import PlanStep, RunOutcome, RunRecord, StepRecord, StepResult
from owui_vault.model.status import PlanState, RepositorySpace
from owui_vault.service.space import AT_EASE, full_soon

_NUMBERS = re.compile(r"[0-9a-f]{8,}|\d+")
_ENDED_BADLY = (RunOutcome.FAILED, RunOutcome.WRONG)
_FIRST_RUN = timedelta(hours=6)
#: What a run of which the ledger knows nothing came to is so until the plan runs again.
UNRECORDED = "unrecorded "
#: How the key of a place that will be full soon begins.
FULL = "full "


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong. While its `key` is there it is the same episode, whatever its words.

    `down`: the instance is not as it was found, or may not be. `fading`: it keeps an episode that has begun from being
    over, and would begin none.
    """

    plan: str  # empty: of all of them
    kind: EventKind
    key: str
    what: str
    hint: str = ""
    step: PlanStep | None = None
    repository: str = ""
    down: bool = False
    fading: bool = False

    @property
    def id(self) -> str:
        """By which it is remembered."""
        return f"{self.plan}|{self.kind.value}|{self.key}"


def cannot_start(error: VaultError, where: str) -> Trouble:
    """That nothing could be begun; `where`: "start", or "configuration"."""
    return Trouble(plan="", kind=EventKind.FAILURE, key=where, what=error.message, hint=error.hint)


def unrecorded(plan: str, texts: Sequence[str]) -> Iterator[Trouble]:
    """That a run could not be written down."""
    if texts:
        what = f"the run could not be recorded: {'; '.join(texts)}"
        yield Trouble(plan=plan, kind=EventKind.FAILURE, key=f"{UNRECORDED}record", what=what)


def mended(texts: Sequence[str]) -> Iterator[Trouble]:
    """That a part of the run ledger was lost: what it knew of a plan decides what is due."""
    for text in texts:
        hint = "See `owui-vault history` for what is still known, and look after the disk of the state directory."
        yield Trouble(plan="", kind=EventKind.WARNING, key="ledger", what=text, hint=hint)


def troubles_of(
    plan: Plan, repositories: Sequence[str], runs: Sequence[RunRecord], state: PlanState | None, *, now: datetime
) -> Iterator[Trouble]:
    """What is wrong with one plan. `runs` are its own, in the order in which they were written: no clock changes it."""
    ended = [each for each in runs if each.outcome is not RunOutcome.RUNNING]
    if ended and ended[-1].outcome is RunOutcome.KILLED:
        yield Trouble(
            plan=plan.name,
            kind=EventKind.FAILURE,
            key="killed",
            what=f"the run that began at {local_text(ended[-1].began)} did not end: it was killed, ran out of memory,"
            " or the machine went down",
            hint="Look into the system's journal for that time; `owui-vault recover` finishes what was left behind.",
        )
    steps, results = _latest(ended)
    for step, record in steps.items():
        yield from _of_step(plan.name, step, record)
    for (step, name), (record, result) in results.items():
        if name in repositories:
            yield from _of_result(plan.name, step, record, result)
    for each in state.repositories if state else ():
        if each.overdue and not (each.newest is None and _has_just_begun(runs, now)):
            what = next((reason for reason in each.reasons if reason.startswith("overdue")), "overdue")
            yield Trouble(
                plan=plan.name,
                kind=EventKind.OVERDUE,
                key=each.repository,
                what=f"{each.repository}: {what}",
                hint="See `owui-vault history` and `owui-vault schedule show`.",
                repository=each.repository,
            )


def full_places(plans: Mapping[str, Sequence[str]], spaces: Sequence[RepositorySpace]) -> Iterator[Trouble]:
    """Places that will be full soon, each told once: with the first plan that stores there."""
    for space in spaces:
        plan = next((name for name, places in plans.items() if space.repository in places), None)
        text = full_soon(space, AT_EASE)
        if text and plan is not None:
            yield Trouble(
                plan=plan,
                kind=EventKind.WARNING,
                key=f"{FULL}{space.repository}",
                what=text,
                hint="Make room there, keep less (`keep`), or give that repository another place.",
                repository=space.repository,
                fading=not full_soon(space),
            )


def _has_just_begun(runs: Sequence[RunRecord], now: datetime) -> bool:
    """Whether it runs, for so short a time that nobody is alarmed: before the first one ends there is nothing yet."""
    return bool(runs) and runs[-1].outcome is RunOutcome.RUNNING and abs(now - runs[-1].began) < _FIRST_RUN


def _latest(
    runs: Sequence[RunRecord],
) -> tuple[dict[PlanStep, StepRecord], dict[tuple[PlanStep, str], tuple[StepRecord, StepResult]]]:
    """How each step went last, and each step in each repository; what was left out said nothing."""
    steps: dict[PlanStep, StepRecord] = {}
    results: dict[tuple[PlanStep, str], tuple[StepRecord, StepResult]] = {}
    for run in runs:
        for step in run.steps:
            if step.outcome is not RunOutcome.SKIPPED:
                steps[step.step] = step
            for result in step.results:
                if result.outcome is not RunOutcome.SKIPPED:
                    results[step.step, result.repository] = (step, result)
    return steps, results


def _of_step(plan: str, step: PlanStep, record: StepRecord) -> Iterator[Trouble]:
    if record.error:
        yield Trouble(
            plan=plan,
            kind=EventKind.FAILURE,
            key=step.value,
            what=f"{step.value}: {record.error.message}",
            hint=record.error.hint,
            step=step,
            down=record.error.exit_code == 4,
        )
    for text in record.warnings:
        yield Trouble(plan=plan, kind=EventKind.WARNING, key=_same(text), what=text, step=step)


def _of_result(plan: str, step: PlanStep, record: StepRecord, result: StepResult) -> Iterator[Trouble]:
    name = result.repository
    if result.outcome in _ENDED_BADLY:
        said = result.error.message if result.error else "; ".join(result.problems) or "found wrong"
        yield Trouble(
            plan=plan,
            kind=EventKind.FAILURE,
            key=f"{step.value} {name}",
            what=f"{step.value}, {name}: {said}",
            hint=result.error.hint if result.error else "",
            step=step,
            repository=name,
        )
    elif result.outcome is RunOutcome.INCOMPLETE:
        yield Trouble(
            plan=plan,
            kind=EventKind.INCOMPLETE,
            key=f"{step.value} {name}",
            what=f"{step.value}, {name}: stored {result.snapshot}, INCOMPLETE: {'; '.join(record.problems)}",
            step=step,
            repository=name,
        )
    else:
        for text in result.problems:
            yield Trouble(plan=plan, kind=EventKind.WARNING, key=_same(text), what=f"{name}: {text}", step=step)


def _same(text: str) -> str:
    """The same for the same warning, though its numbers are of each night, and nothing that could be read back."""
    return hashlib.sha256(_NUMBERS.sub("#", text).encode()).hexdigest()[:16]
