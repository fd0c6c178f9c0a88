"""What the page says, in its order: facts with their ages, and for what needs a hand the command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from owui_vault.model.runs import PlanStep, RunOutcome, RunRecord
from owui_vault.model.status import PlanState, PointFact, RepositorySpace, RepositoryState, Verdict
from owui_vault.pages.calendar import KINDS, Calendar, calendar
from owui_vault.pages.charts import Chart
from owui_vault.pages.developments import BAD, clock, developments
from owui_vault.pages.page_values import Depth, PageFacts
from owui_vault.pages.wording import age, count, duration, growth, known_size, size, until_full, wrong_in

_MONTH = timedelta(days=30)
_RUNS = 12
_HEADLINES = {
    Verdict.FINE: "Everything is as new as it should be.",
    Verdict.OVERDUE: "Something is older than it should be.",
    Verdict.WRONG: "Something needs a hand.",
    Verdict.UNKNOWN: "Not everything could be looked at.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One fact: what it is, its age or size in large letters, and where it comes from."""

    name: str
    value: str
    detail: str = ""
    is_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What needs a hand, and the command for it."""

    text: str
    command: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One plan, or series, in one repository."""

    repository: str
    series: str
    verdict: str
    newest: str
    age: str
    size: str
    verified: str
    all_read: str
    known: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One plan with its repositories; without a name, series without plans."""

    name: str
    verdict: str
    schedule: str
    next_due: str
    last_run: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The room of one repository; `used` is its share of what it takes and what is free, in percent."""

    repository: str
    takes: str
    free: str
    growth: str
    full: str
    used: float | None
    known: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run in one line."""

    began: str
    plan: str
    outcome: str
    is_bad: bool
    took: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The whole page."""

    series: str
    version: str
    at: str
    zone: str
    verdict: str
    headline: str
    since: str
    valid_until: str
    offline: bool
    cards: tuple[Card, ...]
    tasks: tuple[Task, ...]
    warnings: tuple[str, ...]
    calendar: Calendar
    kinds: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    places: tuple[Place, ...]
    deduplication: str
    charts: tuple[Chart, ...]
    runs: tuple[Run, ...]


def view(facts: PageFacts) -> View:
    """Put into words."""
    status = facts.status
    late = [each.late_after for each in _states(facts) if each.late_after]
    return View(
        series=facts.series,
        version=facts.version,
        at=clock(status.at),
        zone=f"{status.at.astimezone():%Z}",
        verdict=str(status.verdict.value),
        headline=_HEADLINES[status.verdict],
        since=_since(facts),
        valid_until=clock(min(late)) if late and status.verdict is Verdict.FINE else "",
        offline=status.offline,
        cards=tuple(_cards(facts)),
        tasks=tuple(_tasks(facts)),
        warnings=tuple(each for each in status.warnings if not each.startswith("no repository was asked")),
        calendar=calendar(facts),
        kinds=KINDS,
        tables=tuple(_tables(facts)),
        places=tuple(_place(each, status.at) for each in status.space),
        deduplication=_deduplication(facts),
        charts=tuple(each for each in developments(facts) if each),
        runs=tuple(_run(each) for each in reversed(facts.runs[-_RUNS:])),
    )


def _states(facts: PageFacts) -> list[RepositoryState]:
    return [*(state for plan in facts.status.plans for state in plan.repositories), *facts.status.series]


def _since(facts: PageFacts) -> str:
    """Since when no run has failed, as far as is known."""
    ended = [each for each in facts.runs if each.outcome is not RunOutcome.RUNNING]
    bad = [each for each in ended if each.outcome in BAD]
    if not ended:
        return "No run of a plan is known here."
    if not bad and len(ended) == 1:
        return f"One run is known, of {clock(ended[0].began)}, and it did not fail."
    if not bad:
        return f"No run has failed since {clock(ended[0].began)}, the first of {count(len(ended), 'known run')}."
    good = sum(each.began > bad[-1].began for each in ended)
    when = f"{clock(bad[-1].began)} ({_ago(bad[-1].began, facts.status.at)})"
    if not good:
        return f"The last run, of {when}, ended {_word(bad[-1].outcome)}."
    return f"{count(good, 'run')} without a failure since the last one, of {when}."


def _ago(moment: datetime, now: datetime) -> str:
    said = age(moment, now)
    return said if said == "in the future" else f"{said} ago"


def _in(moment: datetime, now: datetime) -> str:
    return f"in {age(now, moment)}" if moment > now else "now"


def _cards(facts: PageFacts) -> Iterator[Card]:
    now = facts.status.at
    points = [each.newest for each in _states(facts) if each.newest]
    newest = max(points, key=lambda each: each.instant, default=None)
    yield _aged(
        "Newest restore point",
        newest.instant if newest else None,
        now,
        nothing="none",
        detail=newest.id if newest else "",
    )
    checked = [each for state in _states(facts) for each in (state.newest, state.verified) if each]
    verified = max((each.verified_at for each in checked if each.verified_at), default=None)
    yield _aged("Last verified", verified, now, nothing="never", detail="against its manifest")
    read = max((each.all_read_at for each in checked if each.all_read_at), default=None)
    yield _aged("Every file read", read, now, nothing="never", detail="from a repository")
    whole = [each for each in facts.points if each.depth > Depth.INCOMPLETE and not each.is_gone]
    if facts.status.offline:
        yield Card(name="Restore points stored", value=f"{len(whole):,}", detail="by plans of this machine, 100 days")
    else:
        names = {each.repository for each in _states(facts)}
        where = count(len(names), "repository", "repositories")
        yield Card(name="Restore points", value=f"{len(whole):,}", detail=f"in {where}, each counted once")
    due = [(each.next_due, each.plan) for each in facts.status.plans if each.next_due]
    if due:
        moment, plan = min(due)
        yield Card(name="Next run", value=_in(moment, now), detail=f"{plan}, {clock(moment)}")
    frozen = [
        step.freeze_seconds
        for run in facts.runs
        if run.began >= now - _MONTH
        for step in run.steps
        if step.freeze_seconds is not None
    ]
    if frozen:
        longest = max(frozen)
        said = duration(longest) if longest else "never"
        detail = f"{'the longest of' if longest else 'by'} {count(len(frozen), 'snapshot')} in 30 days"
        yield Card(name="Instance frozen", value=said, detail=detail)


def _aged(name: str, moment: datetime | None, now: datetime, *, nothing: str, detail: str) -> Card:
    if moment is None:
        return Card(name=name, value=nothing, is_missing=True)
    return Card(name=name, value=_ago(moment, now), detail=f"{clock(moment)} · {detail}" if detail else "")


def _tasks(facts: PageFacts) -> Iterator[Task]:
    for plan in facts.status.plans:
        for reason in plan.reasons:
            killed = "did not end" in reason
            yield Task(
                text=f"{plan.plan}: {reason}",
                command="owui-vault recover" if killed else f"owui-vault history --plan {plan.plan}",
                hint=_hint(plan.last_run),
            )
        for state in plan.repositories:
            yield from _tasks_of(state, plan.plan)
    for state in facts.status.series:
        yield from _tasks_of(state, "")
    known = _states(facts)
    if any(each.newest for each in known) and not any(each.verified for each in known):
        yield Task(text="No restore point was verified yet.", command="owui-vault verify")


def _tasks_of(state: RepositoryState, plan: str) -> Iterator[Task]:
    where = f"{plan} in {state.repository}" if plan else f"{state.series} in {state.repository}"
    for reason in state.reasons:
        if state.error and "cannot be asked" in reason:
            command, hint = f"owui-vault snapshots --from {state.repository}", state.error.hint
        elif reason.startswith(("overdue", "the newest complete")):
            command, hint = f"owui-vault run {plan}" if plan else "owui-vault snapshot", ""
        elif reason.startswith("the verification"):
            command, hint = f"owui-vault verify --from {state.repository}", ""
        else:
            command = f"owui-vault history --plan {plan}" if plan else "owui-vault snapshots"
            hint = ""
        yield Task(text=f"{where}: {reason}", command=command, hint=hint)


def _hint(run: RunRecord | None) -> str:
    return next((step.error.hint for step in (run.steps if run else ()) if step.error and step.error.hint), "")


def _tables(facts: PageFacts) -> Iterator[Table]:
    now = facts.status.at
    for plan in facts.status.plans:
        yield Table(
            name=plan.plan,
            verdict=str(plan.verdict.value),
            schedule=plan.schedule,
            next_due=f"{clock(plan.next_due)} ({_in(plan.next_due, now)})" if plan.next_due else "",
            last_run=_last_run(plan, now),
            rows=tuple(_row(each, now, offline=facts.status.offline) for each in plan.repositories),
        )
    if facts.status.series:
        rows = tuple(_row(each, now, offline=facts.status.offline) for each in facts.status.series)
        verdict = str(facts.status.verdict.value)
        yield Table(name="", verdict=verdict, schedule="", next_due="", last_run="", rows=rows)


def _last_run(plan: PlanState, now: datetime) -> str:
    run = plan.last_run
    if run is None:
        return "never on this machine"
    return f"{clock(run.began)} ({_ago(run.began, now)}): {_word(run.outcome)}"


def _word(outcome: RunOutcome) -> str:
    return str(outcome.value)


def _row(state: RepositoryState, now: datetime, *, offline: bool) -> Row:
    point = state.newest
    return Row(
        repository=state.repository,
        series=state.series,
        verdict=str(state.verdict.value),
        newest=f"{point.id}, {clock(point.instant)}" if point else "none known",
        age=age(point.instant, now) if point else "–",
        size=size(point.size_bytes) if point else "–",
        verified=_when(state.verified, now),
        all_read=_ago(point.all_read_at, now) if point and point.all_read_at else "never",
        known=(_ago(state.as_of, now) if state.as_of else "never") if offline else "",
    )


def _when(point: PointFact | None, now: datetime) -> str:
    return _ago(point.verified_at, now) if point and point.verified_at else "never"


def _place(space: RepositorySpace, now: datetime) -> Place:
    known = space.size_bytes is not None and space.free_bytes is not None
    whole = (space.size_bytes or 0) + (space.free_bytes or 0)
    return Place(
        repository=space.repository,
        takes=known_size(space.size_bytes),
        free=known_size(space.free_bytes),
        growth=growth(space),
        full=f"{'in ' if space.until_full_seconds is not None else ''}{until_full(space)}",
        used=max(round((space.size_bytes or 0) / whole * 100, 2), 1.0) if known and whole else None,
        known=_ago(space.as_of, now) if space.as_of else "",
    )


def _deduplication(facts: PageFacts) -> str:
    """What all restore points hold together, against what their repository takes; only where both are known."""
    taken = [each.size_bytes for each in facts.status.space if each.size_bytes]
    whole = [each.size_bytes for each in facts.points if not each.is_gone]
    if facts.status.offline or len(taken) != 1 or len(whole) < 2 or not all(whole):
        return ""
    held = sum(each or 0 for each in whole)
    return (
        f"{count(len(whole), 'snapshot')} hold {size(held)} together; the repository takes {size(taken[0])},"
        f" {held / taken[0]:.1f} times less."
        if held > taken[0]
        else ""
    )


def _run(run: RunRecord) -> Run:
    ended = run.ended is not None and run.outcome is not RunOutcome.KILLED
    return Run(
        began=clock(run.began),
        plan=run.plan,
        outcome=_word(run.outcome),
        is_bad=run.outcome in BAD,
        took=duration(run.took_seconds) if ended else "–",
        what="; ".join(_what(run)),
    )


def _what(run: RunRecord) -> Iterator[str]:
    taken = run.step(PlanStep.SNAPSHOT)
    if taken:
        yield from dict.fromkeys(f"stored {each.snapshot}" for each in taken.results if each.snapshot)
    removed = sum(each.removed or 0 for step in run.steps for each in step.results)
    if removed:
        yield f"removed {removed}"
    for step in run.steps:
        if step.error:
            yield f"{step.step.value}: {step.error.message}"
        yield from wrong_in(step)
