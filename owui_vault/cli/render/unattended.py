"""Runs of plans in plain English, on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from owui_vault.cli.render.phrases import count, duration, local, size, wrong_in
from owui_vault.cli.render.reports import warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import (
    ErrorNote,
    PlanStep,
    RunList,
    RunOutcome,
    RunRecord,
    RunReport,
    StepRecord,
    StepResult,
)

_STYLES = {
    RunOutcome.SUCCESS: "green",
    RunOutcome.INCOMPLETE: "bold yellow",
    RunOutcome.WRONG: "bold red",
    RunOutcome.FAILED: "bold red",
    RunOutcome.KILLED: "bold red",
}


def ran(screen: Screen, report: RunReport) -> None:
    """What `run` did; nothing where nothing was due."""
    for each in report.killed:
        screen.line(
            f"{each.plan}: the run of {local(each.began)} did not end: it was killed, ran out of memory, or the machine"
            " went down",
            style="bold red",
        )
    for each in report.runs:
        screen.line(
            f"{each.plan}: {_word(each.outcome)}, in {duration(each.took_seconds)}", style=_STYLES[each.outcome]
        )
        for step in each.steps:
            screen.items(f"{step.step.value}: {line}" for line in _lines(step))
    if report.unrecorded:
        screen.line("This run could not be recorded, and the next one may take it for killed:", style="bold red")
        screen.items(report.unrecorded)
    warnings(screen, report.warnings)


def decided(screen: Screen, report: RunReport) -> None:
    """What `run --dry-run` would do, and why."""
    for each in report.killed:
        screen.line(f"{each.plan}: would tell that the run of {local(each.began)} did not end", style="bold red")
    rows = [
        (
            each.plan,
            "now" if each.due else local(each.next_due) if each.next_due else "–",
            ", ".join(each.repositories) if each.due else "",
            each.because,
        )
        for each in report.decisions
    ]
    screen.table(("plan", "due", "repositories", "because"), rows)


def listed(screen: Screen, runs: Sequence[RunRecord]) -> None:
    """What `history` lists."""
    if not runs:
        screen.line("no plan has run yet")
    else:
        rows = [
            (local(each.began), each.plan, _word(each.outcome), _took(each), "; ".join(_in_short(each)))
            for each in runs
        ]
        screen.table(("began", "plan", "outcome", "took", ""), rows, right=frozenset({"took"}))
    if isinstance(runs, RunList):
        warnings(screen, runs.warnings)


def _word(outcome: RunOutcome) -> str:
    word = str(outcome.value)
    return word if outcome in (RunOutcome.SUCCESS, RunOutcome.RUNNING) else word.upper()


def _took(run: RunRecord) -> str:
    return duration(run.took_seconds) if run.ended and run.outcome is not RunOutcome.KILLED else "–"


def _in_short(run: RunRecord) -> Iterator[str]:
    """What it stored, and what went wrong."""
    taken = run.step(PlanStep.SNAPSHOT)
    if taken:
        yield from dict.fromkeys(f"snapshot {each.snapshot}" for each in taken.results if each.snapshot)
    for step in run.steps:
        if step.error:
            yield f"{step.step.value}: {step.error.message}"
        if step.outcome is RunOutcome.KILLED:
            yield f"killed during {step.step.value}"
        yield from wrong_in(step)
    yield from (f"not told: {each}" for each in run.untold)


def _lines(step: StepRecord) -> Iterator[str]:
    if step.error:
        yield _failure(step.error)
    yield from step.problems
    yield from (f"{each.repository}: {_said(step.step, each)}" for each in step.results)
    yield from (f"warning: {each}" for each in step.warnings)


def _said(step: PlanStep, result: StepResult) -> str:
    if result.error:
        return _failure(result.error)
    if result.outcome is RunOutcome.SKIPPED:
        return f"left out: {result.note}"
    match step:
        case PlanStep.SNAPSHOT:
            outcome = "" if result.outcome is RunOutcome.SUCCESS else f", {result.outcome.value.upper()}"
            return f"stored {result.snapshot}, {size(result.added_bytes)} added{outcome}"
        case PlanStep.REPLICATE:
            brought = f"brought up to {result.snapshot}" if result.snapshot else "nothing complete was missing"
            noted = f" ({'; '.join(result.problems)})" if result.problems else ""
            return f"{brought}{noted}"
        case PlanStep.PRUNE:
            freed = f", {size(result.freed_bytes)} freed" if result.freed_bytes else ""
            noted = f" ({'; '.join(result.problems)})" if result.problems else ""
            return f"{count(result.removed or 0, 'snapshot')} removed{freed}{noted}"
        case PlanStep.VERIFY:
            wrong = "; ".join(result.problems)
            return f"WRONG: {wrong}" if wrong else f"{result.snapshot} is right"


def _failure(error: ErrorNote) -> str:
    hint = f" ({error.hint.rstrip('.')})" if error.hint else ""
    return f"FAILED: {error.message}{hint}"
