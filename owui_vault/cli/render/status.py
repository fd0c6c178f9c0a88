"""The status in plain English, on the screen: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from owui_vault.cli.render.phrases import age, growth, known_size, local, size, until_full
from owui_vault.cli.render.pruning import collapsed
from owui_vault.cli.render.reports import warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import (
    Page,
    PlanState,
    PointFact,
    RepositorySpace,
    RepositoryState,
    RunOutcome,
    StatusReport,
    Verdict,
)

_SUMMARY = {
    Verdict.FINE: ("Everything is as new as it should be.", "green"),
    Verdict.OVERDUE: ("OVERDUE: something is older than it should be.", "bold red"),
    Verdict.WRONG: ("WRONG: something needs a hand.", "bold red"),
    Verdict.UNKNOWN: ("UNKNOWN: not everything could be looked at.", "bold yellow"),
}


def judged(screen: Screen, report: StatusReport) -> None:
    """All of it."""
    screen.line(*_SUMMARY[report.verdict])
    if report.collapse:
        collapsed(screen, report.collapse)
    for plan in report.plans:
        screen.heading(f"{plan.plan}: {_word(plan.verdict)}")
        screen.pairs([
            ("schedule", plan.schedule),
            ("next due", local(plan.next_due) if plan.next_due else ""),
            ("last run", _last_run(plan, report.at)),
        ])  # fmt: skip
        _table(screen, plan.repositories, report, series=False)
        screen.items(_reasons(plan.reasons, plan.repositories))
    if report.series:
        screen.line()
        _table(screen, report.series, report, series=True)
        screen.items(_reasons((), report.series))
    _space(screen, report)
    warnings(screen, report.warnings)


def published(screen: Screen, page: Page) -> None:
    """Where a page was written, or the page itself; its warnings are in it."""
    if page.file is None:
        screen.exactly(page.text)
        return
    screen.line(*_SUMMARY[page.verdict])
    screen.line(f"written to {page.file}")


def _last_run(plan: PlanState, now: datetime) -> str:
    run = plan.last_run
    if run is None:
        return "never on this machine"
    ended = "is running" if run.outcome is RunOutcome.RUNNING else str(run.outcome.value)
    return f"{local(run.began)} ({age(run.began, now)} ago): {ended}"


def _table(screen: Screen, states: Sequence[RepositoryState], report: StatusReport, *, series: bool) -> None:
    columns = ["repository", *(["series"] if series else []), "", "newest", "of", "age", "size", "verified", "all read"]
    columns += ["known for"] if report.offline else []
    rows = [
        [
            each.repository,
            *([each.series] if series else []),
            _word(each.verdict),
            *_newest(each.newest, report.at),
            _day(each.verified.verified_at if each.verified else None),
            _day(each.newest.all_read_at if each.newest else None),
            *([age(each.as_of, report.at) if each.as_of else "–"] if report.offline else []),
        ]
        for each in states
    ]
    screen.table(columns, rows, right=frozenset({"age", "size"}))


def _space(screen: Screen, report: StatusReport) -> None:
    """What each repository takes and how long that can go on; left out where nothing at all is known."""
    if all(each == RepositorySpace(repository=each.repository) for each in report.space):
        return
    screen.line()
    columns = ["repository", "takes", "free", "growth", "full in", *(["known for"] if report.offline else [])]
    rows = [
        [
            each.repository,
            known_size(each.size_bytes),
            known_size(each.free_bytes),
            growth(each),
            until_full(each),
            *([age(each.as_of, report.at) if each.as_of else "–"] if report.offline else []),
        ]
        for each in report.space
    ]
    screen.table(columns, rows, right=frozenset({"takes", "free", "growth"}))


def _newest(point: PointFact | None, now: datetime) -> tuple[str, str, str, str]:
    if point is None:
        return "–", "–", "–", "–"
    return point.id, local(point.instant), age(point.instant, now), size(point.size_bytes)


def _day(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d}" if moment else "no"


def _word(verdict: Verdict) -> str:
    word = str(verdict.value)
    return word if verdict is Verdict.FINE else word.upper()


def _reasons(general: Sequence[str], states: Sequence[RepositoryState]) -> Iterator[str]:
    yield from general
    yield from (f"{each.repository}: {reason}" for each in states for reason in each.reasons)
