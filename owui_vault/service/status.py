"""Whether everything is as new as it should be: each plan in each of its repositories, or each series without plans.

Offline nobody is asked. Each value has its age then, and an old one is judged by now like any other: it never makes
anything good, and where nothing is known that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from owui_vault.model import LedgerEntry
from owui_vault.model.json_codec import local_text
from owui_vault.model.manifest import ACCEPTED_COLLAPSE
from owui_vault.model.plans import CronSchedule, Plan, Punctuality
from owui_vault.model.runs import PlanStep, RunOutcome, RunRecord
from owui_vault.model.status import PlanState, RepositoryState, StatusReport, Verdict
from owui_vault.repositories.collapse import find_collapse
from owui_vault.repositories.listing import RepositoryListing, survey
from owui_vault.service.due import main_step
from owui_vault.service.known_facts import Facts, asked, found_wrong, remembered, remembered_series, verified_times
from owui_vault.service.overdue import as_brought, is_believed, punctuality
from owui_vault.service.parts import Service
from owui_vault.service.run_entries import History
from owui_vault.service.space import full_soon, space_of
from owui_vault.service.timetable import Timetable

_WORST_FIRST = (Verdict.WRONG, Verdict.OVERDUE, Verdict.UNKNOWN, Verdict.FINE)
_BAD_ENDS = (RunOutcome.FAILED, RunOutcome.WRONG, RunOutcome.INCOMPLETE, RunOutcome.KILLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What is judged by: one moment, and what is known then."""

    now: datetime
    max_age: timedelta | None
    series: str
    history: History
    verifications: Sequence[LedgerEntry]
    listings: Mapping[str, RepositoryListing] | None  # None: nobody is asked


def status(
    service: Service,
    max_age: timedelta | None,
    *,
    offline: bool,
    listings: Mapping[str, RepositoryListing] | None = None,
) -> StatusReport:
    """Judge every plan; without plans every series, by `max_age` alone. `listings`, where they were asked just now."""
    context = service.context
    series = context.series()
    history = service.ledger.read_recent()
    if not (offline or listings):
        listings = {each.name: each for each in survey(context, context.select(None))}
    look = _Look(
        now=context.clock.now(),
        max_age=max_age,
        series=series,
        history=history,
        verifications=context.state.ledger(series),
        listings=listings,
    )
    warnings = [f"{history.damaged} lines of the run ledger cannot be read"] if history.damaged else []
    space = space_of(context, history, look.now, offline=offline)
    warnings += filter(None, map(full_soon, space))
    warnings += service.told.complaints()
    warnings += service.silent_plans()
    if service.plans:
        timetables = service.timetables()
        plans = tuple(_plan_state(service, look, plan, timetables[plan.name]) for plan in service.plans)
        if offline:
            warnings.append("no repository was asked; each value is as old as it says")
        warnings += _absences(look)
        report = StatusReport(at=look.now, verdict=_worst(plans), offline=offline, plans=plans)
    else:
        found = tuple(_all_series(service, look))
        if max_age is None:
            warnings.append("no plan says how old a restore point may be; --max-age does")
        report = StatusReport(at=look.now, verdict=_worst(found), offline=offline, series=found)
    report = replace(report, space=space, warnings=tuple(warnings))
    # What stops retention, by what the repositories that answer hold; offline the last run of a plan says so.
    held = [one for each in (look.listings or {}).values() for one in each.series(series)]
    collapse = find_collapse(context.collapse, held, look.verifications)
    return replace(report, collapse=collapse, verdict=Verdict.WRONG) if collapse else report


def _absences(look: _Look) -> Iterator[str]:
    """Repositories that may be away, and are: they are judged by what this machine stored there."""
    for name, listing in (look.listings or {}).items():
        if listing.error and listing.client.repository.excuses(listing.error):
            yield f"{name} is away, as it may be, and is judged by what this machine stored there"


def _worst(states: Iterable[PlanState | RepositoryState]) -> Verdict:
    return min((each.verdict for each in states), key=_WORST_FIRST.index, default=Verdict.UNKNOWN)


def _plan_state(service: Service, look: _Look, plan: Plan, timetable: Timetable) -> PlanState:
    runs = [each for each in look.history.of(plan.name) if is_believed(each.began, look.now)]
    last = runs[-1] if runs else None
    ended = next((each for each in reversed(runs) if each.outcome is not RunOutcome.RUNNING), None)
    names = service.places_of(plan)
    repositories = tuple(_in_repository(look, plan, timetable, name, runs=runs, ended=ended) for name in names)
    reasons = tuple(_general_reasons(ended))
    verdict = _worst(repositories)
    following = [each.due for each in repositories if each.due]
    return PlanState(
        plan=plan.name,
        schedule=str(plan.schedule),
        verdict=Verdict.WRONG if reasons else verdict,
        next_due=timetable.first_after(look.now)
        if isinstance(plan.schedule, CronSchedule)
        else min(following, default=None),
        last_run=last,
        repositories=repositories,
        reasons=reasons,
    )


def _general_reasons(last: RunRecord | None) -> Iterator[str]:
    """What went wrong in a plan's last run, and is no single repository's."""
    if last is None or last.outcome not in _BAD_ENDS:
        return
    when = local_text(last.began)
    if last.outcome is RunOutcome.KILLED:
        yield f"its run of {when} did not end: it was killed, ran out of memory, or the machine went down"
    for step in last.steps:
        if step.error:
            yield f"its run of {when} failed at {step.step.value}: {step.error.message}"
        elif step.step is PlanStep.SNAPSHOT and step.outcome is RunOutcome.INCOMPLETE:
            yield f"its run of {when} was INCOMPLETE: {'; '.join(step.problems)}"


def _in_repository(  # noqa: PLR0913  each is looked up once for all repositories of a plan
    look: _Look,
    plan: Plan,
    timetable: Timetable,
    name: str,
    *,
    runs: Sequence[RunRecord],
    ended: RunRecord | None,
) -> RepositoryState:
    noted = look.history.noted.get(plan.name)
    since = noted.since if noted else None
    own = plan if plan.snapshot else None
    listing = look.listings[name] if look.listings is not None else None
    if listing is None or (listing.error and listing.client.repository.excuses(listing.error)):
        seen = [each for each in look.history.seen if each.plan == plan.name and is_believed(each.instant, look.now)]
        facts = remembered(runs, name, noted.at if noted else None, look.verifications, seen=seen)
    else:
        facts = asked(listing, look.series, look.now, own)
    step = main_step(plan)
    match step:
        case PlanStep.SNAPSHOT:
            results: tuple[datetime, ...] = tuple(each.instant for each in facts.points)
        case PlanStep.REPLICATE:
            results = as_brought(timetable, (each.instant for each in facts.points), look.now)
        case PlanStep.VERIFY:
            results = verified_times(plan, name, look.verifications)
        case PlanStep.PRUNE:
            results = tuple(_succeeded(runs, name, step))
    if look.listings is None and step is not PlanStep.SNAPSHOT:
        facts = replace(facts, as_of=max(results, default=facts.as_of))
    judged = punctuality(timetable, results, look.now, known_since=since)
    knows = facts.as_of is not None or (step is not PlanStep.SNAPSHOT and bool(results or since))
    state = _state(look, facts, look.series, judged if knows else None, what=_what(step))
    errors = tuple(_errors_in(ended, name, look))
    wrong = found_wrong(name, look.verifications)
    if wrong:
        errors += (f"the verification of {local_text(wrong.at)} found something wrong: {wrong.detail}",)
    if not errors:
        return state
    return replace(state, verdict=Verdict.WRONG, reasons=(*state.reasons, *dict.fromkeys(errors)))


def _what(step: PlanStep) -> str:
    return {
        PlanStep.SNAPSHOT: "complete snapshot of this plan",
        PlanStep.REPLICATE: "complete snapshot was brought there",
        PlanStep.VERIFY: "verification without fault",
        PlanStep.PRUNE: "pruning",
    }[step]


def _succeeded(runs: Sequence[RunRecord], repository: str, step: PlanStep) -> Iterator[datetime]:
    for run in runs:
        record = run.step(step)
        for result in record.results if record else ():
            if result.repository == repository and result.outcome in (RunOutcome.SUCCESS, RunOutcome.SKIPPED):
                yield run.began


def _errors_in(last: RunRecord | None, repository: str, look: _Look) -> Iterator[str]:
    """What the last run of a plan could not do in a repository."""
    accepted = [each.at for each in look.verifications if each.kind == ACCEPTED_COLLAPSE]
    for step in last.steps if last else ():
        for result in step.results:
            if result.repository == repository and result.error:
                yield f"{step.step.value} failed there at {local_text(step.began)}: {result.error.message}"
            held_back = step.step is PlanStep.PRUNE and result.outcome is RunOutcome.WRONG
            if result.repository == repository and held_back and not any(at >= step.began for at in accepted):
                yield f"at {local_text(step.began)} {'; '.join(result.problems)}"


def _all_series(service: Service, look: _Look) -> Iterator[RepositoryState]:
    """Each series in each repository: the configured one, or all that there are."""
    context = service.context
    one = context.named_series() is not None
    for repository in context.select(None):
        if look.listings is None:
            known = dict(remembered_series(context.state, repository))
            wanted = [look.series] if one or not known else sorted(known)
            nothing = Facts(repository=repository.name, as_of=None)
            found = {series: known.get(series, nothing) for series in wanted}
        else:
            listing = look.listings[repository.name]
            there = sorted({each.instance for each in listing.snapshots if each.label})
            wanted = [look.series] if one or not there else there
            found = {series: asked(listing, series, look.now) for series in wanted}
        for series, facts in found.items():
            yield _state(look, facts, series, None, what="complete snapshot")


def _state(look: _Look, facts: Facts, series: str, judged: Punctuality | None, *, what: str) -> RepositoryState:
    """What is to be thought of these facts. Without `judged` no schedule says how old the newest may be."""
    newest = facts.points[0] if facts.points else None
    is_old = look.max_age is not None and newest is not None and look.now - newest.instant > look.max_age
    state = RepositoryState(
        repository=facts.repository,
        series=series,
        verdict=Verdict.FINE,
        newest=newest,
        verified=next((each for each in facts.points if each.verified_at), None),
        restore_points=len(facts.points) if facts.are_all else None,
        as_of=facts.as_of,
        due=judged.due if judged else None,
        late_after=judged.late_after if judged else None,
        overdue=(judged is not None and judged.overdue) or is_old,
        error=facts.error,
    )
    wrong, late = list(facts.gone), []
    if facts.incomplete:
        wrong.append(f"the newest snapshot, {facts.incomplete}, is INCOMPLETE")
    if judged and judged.overdue:
        late.append(_overdue(judged, what))
    if judged is None and facts.are_all and newest is None:
        wrong.append("there is no complete snapshot")
    if newest and is_old:
        late.append(f"the newest complete snapshot, of {local_text(newest.instant)}, is older than {look.max_age}")
    if facts.error:
        return replace(state, verdict=Verdict.UNKNOWN, reasons=(f"it cannot be asked: {facts.error.message}",))
    if facts.as_of is None and judged is None:
        return replace(state, verdict=Verdict.UNKNOWN, reasons=("this machine knows nothing of it",))
    verdict = Verdict.WRONG if wrong else Verdict.OVERDUE if late else Verdict.FINE
    return replace(state, verdict=verdict, reasons=(*wrong, *late))


def _overdue(judged: Punctuality, what: str) -> str:
    doubt = "; what is dated in the future does not count" if judged.clock_is_wrong else ""
    return f"overdue: no {what} since {local_text(judged.due)}, when one was due{doubt}"
