"""How data, repositories, durations and freezes developed: what the page draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from owui_vault.model.runs import RunOutcome, RunRecord
from owui_vault.pages.charts import Chart, Value, bar_chart, line_chart
from owui_vault.pages.page_values import PageFacts
from owui_vault.pages.wording import duration, size

#: How a run ends that was not well.
BAD = (RunOutcome.FAILED, RunOutcome.WRONG, RunOutcome.KILLED, RunOutcome.INCOMPLETE)


def clock(moment: datetime) -> str:
    """As the clock on the wall says; by which zone is said once for the whole page."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def developments(facts: PageFacts) -> Iterator[Chart | None]:
    """The charts, in their order; None for one that nothing is known for."""

    def say_size(number: float) -> str:
        return size(round(number))

    sized = [Value(at=each.instant, number=float(each.size_bytes)) for each in facts.points if each.size_bytes]
    yield line_chart("Data in a snapshot", sized, say_size)
    added = [
        Value(
            at=each.instant,
            number=float(each.added_bytes),
            title=f"{clock(each.instant)}: {size(each.added_bytes)}",
        )
        for each in facts.points
        if each.added_bytes is not None
    ]
    yield bar_chart("Added by each snapshot", added, say_size)
    for name in dict.fromkeys(each.repository for each in facts.measurements):
        taken = [
            Value(at=each.at, number=float(each.size_bytes)) for each in facts.measurements if each.repository == name
        ]
        yield line_chart(f"Taken by {name}", taken, say_size)
    runs = [each for each in facts.runs if each.ended and each.outcome is not RunOutcome.KILLED]
    yield bar_chart("How long runs took", list(_durations(runs)), duration)
    frozen = [
        Value(at=run.began, number=step.freeze_seconds, title=f"{clock(run.began)}: {duration(step.freeze_seconds)}")
        for run in runs
        for step in run.steps
        if step.freeze_seconds is not None
    ]
    if any(each.number for each in frozen):
        yield bar_chart("How long the instance was frozen", frozen, duration)


def _durations(runs: Iterable[RunRecord]) -> Iterator[Value]:
    for run in runs:
        title = f"{run.plan}, {clock(run.began)}: {duration(run.took_seconds)}, {run.outcome.value}"
        yield Value(at=run.began, number=run.took_seconds, title=title, is_bad=run.outcome in BAD)
