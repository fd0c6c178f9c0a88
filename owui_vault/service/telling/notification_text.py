"""What a notification says: what happened, what it means for the data, the newest restore points, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from owui_vault.model import Event, EventKind
from owui_vault.model.json_codec import local_text
from owui_vault.model.plans import Plan
from owui_vault.model.runs import PlanStep, RunOutcome, RunRecord, StepRecord
from owui_vault.model.status import PointFact, StatusReport
from owui_vault.service.telling.troubles import FULL, Trouble

_MOST_LINES = 20
_LONGEST_LINE = 500
_TITLES = {
    EventKind.FAILURE: "FAILED",
    EventKind.INCOMPLETE: "INCOMPLETE",
    EventKind.OVERDUE: "OVERDUE",
    EventKind.WARNING: "needs a look",
    EventKind.RECOVERY: "is well again",
    EventKind.SUCCESS: "succeeded",
}
_OF_STEPS = {
    PlanStep.SNAPSHOT: "No new restore point was stored there. What was stored before is untouched.",
    PlanStep.REPLICATE: "It was not copied there. What was stored before, there and elsewhere, is untouched.",
    PlanStep.PRUNE: "Nothing is lost. Old restore points stay until pruning succeeds, and need space.",
    PlanStep.VERIFY: "Nothing is lost by it. Whether what is stored there can be restored was not shown.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What each message is written with."""

    instance: str
    host: str
    now: datetime
    report: StatusReport | None  # what the state knows; None where it cannot be read
    plans: Sequence[Plan] = ()


def trouble_event(
    around: Surroundings, kind: EventKind, news: Sequence[Trouble], others: Sequence[Trouble], *, again: bool
) -> Event:
    """Of what is wrong with one plan. `others`: what else is so, and was told before. `again`: all was told before."""
    plan = news[0].plan
    still = " still" if again else ""
    who = f"plan {plan}" if plan else "owui-vault"
    title = f"{around.instance}: {who}{still} {_TITLES[kind]}"
    if not plan and kind is EventKind.FAILURE:
        title = f"{around.instance}: backups cannot{still} be started"
    sections = [
        _section("What happened" if not again else "What is still so", [each.what for each in news]),
        _section("What it means", _meanings(news)),
        _section("Newest restore points", _points(around, plan)),
        _section("What to do", _advice(plan, news)),
        _section("Told before, and still so", [each.what for each in others]),
    ]
    return _event(around, kind, plan, title=title, sections=sections, detail="; ".join(each.what for each in news))


def recovery_event(around: Surroundings, plan: str, others: Sequence[Trouble]) -> Event:
    """That what was told is over."""
    who = f"plan {plan}" if plan else "owui-vault"
    title = f"{around.instance}: {who} {_TITLES[EventKind.RECOVERY] if not others else 'recovered in part'}"
    over = "What was told before is over." if not others else "Some of it is over, and NOT ALL IS WELL: see below."
    sections = [
        _section("What happened", [over]),
        _section("Still so", [each.what for each in others]),
        _section("What it means", _meanings(others)),
        _section("Newest restore points", _points(around, plan)),
        _section("What to do", _advice(plan, others) if others else []),
    ]
    return _event(
        around,
        EventKind.RECOVERY,
        plan,
        title=title,
        sections=sections,
        detail="; ".join(["what was told is over", *(f"still so: {each.what}" for each in others)]),
    )


def success_event(around: Surroundings, run: RunRecord) -> Event:
    """That a run went well."""
    title = f"{around.instance}: plan {run.plan} {_TITLES[EventKind.SUCCESS]}"
    sections = [
        _section("What was done", run_lines(run)),
        _section("Newest restore points", _points(around, run.plan)),
    ]
    return _event(around, EventKind.SUCCESS, run.plan, title=title, sections=sections, detail=f"run {run.id}")


def summary_event(around: Surroundings, runs: Sequence[RunRecord], troubles: Sequence[Trouble]) -> Event:
    """Of a week."""
    since = around.now - timedelta(days=7)
    counted = []
    for plan in around.plans:
        ended = [each for each in runs if each.plan == plan.name and since < each.began <= around.now]
        good = sum(each.outcome is RunOutcome.SUCCESS for each in ended)
        counted.append(f"{plan.name}: {good} of {len(ended)} runs succeeded")
    wrong = [each.what for each in troubles if each.kind is not EventKind.WARNING]
    title = f"{around.instance}: the week's backups: {'all is well' if not wrong else 'something is wrong'}"
    sections = [
        _section("The last seven days", counted),
        _section("What is wrong now", wrong),
        _section("Newest restore points", _points(around, "")),
    ]
    return _event(around, EventKind.SUMMARY, "", title=title, sections=sections, detail="; ".join(counted))


def run_lines(run: RunRecord) -> Iterator[str]:
    """What a run did, a line for each step and repository."""
    for step in run.steps:
        if step.error:
            yield f"{step.step.value}: FAILED: {step.error.message}"
        yield from (f"{step.step.value}: {each}" for each in step.problems)
        yield from _result_lines(step)
        yield from (f"{step.step.value}: warning: {each}" for each in step.warnings)


def _result_lines(step: StepRecord) -> Iterator[str]:
    for each in step.results:
        said = each.error.message if each.error else each.note or "; ".join(each.problems) or each.snapshot
        word = each.outcome.value
        yield f"{step.step.value}, {each.repository}: {word}{f': {said}' if said else ''}"


def _event(  # noqa: PLR0913  each is a part of an event
    around: Surroundings, kind: EventKind, plan: str, *, title: str, sections: Sequence[str], detail: str
) -> Event:
    foot = f"{around.instance} on {around.host}, {local_text(around.now)}"
    return Event(
        instance=around.instance,
        operation="run",
        kind=kind,
        detail=detail,
        plan=plan,
        title=" ".join(title.split()),
        text="\n\n".join([*(each for each in sections if each), foot]) + "\n",
    )


def _section(heading: str, lines: Sequence[str] | Iterator[str]) -> str:
    listed = list(dict.fromkeys(lines))
    if not listed:
        return ""
    shown = [f"- {' '.join(each.split())[:_LONGEST_LINE]}" for each in listed[:_MOST_LINES]]
    more = [f"- and {len(listed) - _MOST_LINES} more"] if len(listed) > _MOST_LINES else []
    return "\n".join([f"{heading}:", *shown, *more])


def _meanings(news: Sequence[Trouble]) -> Iterator[str]:
    if any(each.down for each in news):
        yield "THE INSTANCE MAY NOT BE RUNNING, or not as it was found: look at it now."
    for each in news:
        match each.kind:
            case EventKind.FAILURE if each.key in ("start", "configuration"):
                yield "Nothing is backed up until this is mended. What was stored before is untouched."
            case EventKind.FAILURE if each.key == "killed":
                yield "What it had not stored is in no restore point. What was stored before is untouched."
            case EventKind.FAILURE if each.step is PlanStep.VERIFY and "found" in each.what:
                yield "A snapshot is not what it should be: do not rely on it until a verification found it right."
            case EventKind.FAILURE:
                yield _OF_STEPS[each.step] if each.step else "What was stored is there; it may be told again."
            case EventKind.INCOMPLETE:
                yield "It was stored, and is no restore point: something is missing in it, or no moment was proven."
            case EventKind.OVERDUE:
                yield "What changed since the newest restore point is in none."
            case EventKind.WARNING if each.key.startswith(FULL):
                yield "Nothing is lost. Once that place is full, no new restore point can be stored there."
            case _:
                yield "The backup was made. It is worth a look all the same."


def _advice(plan: str, news: Sequence[Trouble]) -> Iterator[str]:
    yield from (each.hint for each in news if each.hint)
    if any(each.kind is not EventKind.WARNING for each in news):
        yield f"Then, or to see it at once: owui-vault run {plan}" if plan else "Then: owui-vault run"
    yield "How everything is: owui-vault status"


def _points(around: Surroundings, plan: str) -> Iterator[str]:
    """The newest one of each repository that this machine knows of, of whichever plan."""
    newest: dict[str, PointFact | None] = {}
    for state in around.report.plans if around.report else ():
        for each in state.repositories:
            known = newest.get(each.repository)
            if each.newest and (known is None or each.newest.instant > known.instant):
                newest[each.repository] = each.newest
            newest.setdefault(each.repository, None)
    about = {each.repository for state in (around.report.plans if around.report else ()) if plan in ("", state.plan)
             for each in state.repositories}  # fmt: skip
    for name, point in newest.items():
        if name in about:
            yield f"{name}: {_point(point, around.now)}"


def _point(point: PointFact | None, now: datetime) -> str:
    if point is None:
        return "none that this machine knows of"
    verified = f", verified {point.verified_at.astimezone():%Y-%m-%d}" if point.verified_at else ""
    return f"{point.id} of {local_text(point.instant)}, {_age(now - point.instant)} old{verified}"


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    if hours < 2:
        return f"{max(0, hours * 60):.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
