"""Which plans are due, decided from schedule, clock and run ledger alone: no repository is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from owui_vault.model.json_codec import local_text
from owui_vault.model.plans import CronSchedule, Plan
from owui_vault.model.runs import Decision, PlanStep, RunOutcome, RunRecord
from owui_vault.service.overdue import is_believed
from owui_vault.service.run_entries import PlanNoted
from owui_vault.service.timetable import Timetable

#: A plan without catch-up may be so late and no later: a tick may be missed, or wait for the run before it.
ON_TIME = timedelta(minutes=15)
#: What failed before the instance was touched is tried again after this, and a run that was killed, once.
RETRY = timedelta(hours=1)
_SERVED = (RunOutcome.SUCCESS, RunOutcome.INCOMPLETE, RunOutcome.WRONG)


def main_step(plan: Plan) -> PlanStep:
    """The step that a plan is for: by its results it is judged."""
    if plan.snapshot:
        return PlanStep.SNAPSHOT
    if plan.replicate:
        return PlanStep.REPLICATE
    return PlanStep.VERIFY if plan.verify else PlanStep.PRUNE


def decide(
    timetable: Timetable,
    runs: Sequence[RunRecord],
    noted: PlanNoted | None,
    now: datetime,
    *,
    repositories: Sequence[str],
) -> Decision:
    """Whether a plan is due now. `runs` are its own, oldest first; `repositories` those that it is about.

    What the ledger dates after now is not believed: a clock that ran ahead once must not keep a plan from running until
    it gets there. A few minutes are no more than a clock that was corrected, and nothing is done twice for that.
    """
    believed = [each for each in runs if is_believed(each.began, now)]
    if believed and believed[-1].outcome is RunOutcome.RUNNING:
        return _not_due(timetable.plan, f"it is running since {local_text(believed[-1].began)}")
    if isinstance(timetable.plan.schedule, CronSchedule):
        return _decide_cron(timetable, believed, noted, now, repositories=repositories)
    return _decide_interval(timetable, believed, now, repositories)


def _decide_cron(
    timetable: Timetable,
    runs: Sequence[RunRecord],
    noted: PlanNoted | None,
    now: datetime,
    *,
    repositories: Sequence[str],
) -> Decision:
    """Every due time is served by a run that began then or later, whatever came of it, but for what is tried again."""
    plan = timetable.plan
    following = timetable.first_after(now)
    due = timetable.last_until(now)
    if due is None or noted is None or not is_believed(noted.at, now) or due <= noted.at:
        return _not_due(plan, "no time of its schedule has come since it was configured", following)
    last = runs[-1] if runs else None
    if last is None or last.began < due:
        if not plan.catch_up and now - due > ON_TIME:
            return _not_due(plan, f"{local_text(due)} was missed, and catch_up is off", following)
        return _due(plan, f"due since {local_text(due)}", repositories, following)
    if not _may_be_tried_again(runs):
        return _not_due(plan, f"its run of {local_text(last.began)} was for {local_text(due)}", following)
    again = last.began + RETRY
    if not plan.catch_up or now < again:
        return _not_due(plan, f"its run of {local_text(last.began)} failed", min(again, following))
    return _due(plan, f"tried again: its run of {local_text(last.began)} failed", repositories, following)


def _may_be_tried_again(runs: Sequence[RunRecord]) -> bool:
    """Whether nothing is lost by it: the instance was not touched, or the run was killed, and not the one before it.

    What kills a run twice would kill it each hour.
    """
    last = runs[-1]
    if last.outcome is RunOutcome.KILLED:
        return len(runs) < 2 or runs[-2].outcome is not RunOutcome.KILLED
    return last.outcome is RunOutcome.FAILED and _was_idle(last)


def _was_idle(run: RunRecord) -> bool:
    return not any(step.captured for step in run.steps) and not any(
        result.outcome in _SERVED for step in run.steps for result in step.results
    )


def _decide_interval(
    timetable: Timetable, runs: Sequence[RunRecord], now: datetime, repositories: Sequence[str]
) -> Decision:
    """Each repository has its own time: an interval after the newest restore point that was stored there."""
    plan = timetable.plan
    last = runs[-1] if runs else None
    if last and (last.outcome is RunOutcome.KILLED or (last.outcome is RunOutcome.FAILED and not _was_idle(last))):
        again = last.began + RETRY
        if now < again:
            return _not_due(plan, f"its run of {local_text(last.began)} failed", again)
    times = {each: _next_in(timetable, runs, each, now) for each in repositories}
    late = tuple(each for each, time in times.items() if time <= now)
    if not late:
        return _not_due(plan, f"the interval ({plan.schedule}) has not passed", min(times.values(), default=None))
    never = [each for each in late if times[each] == EVER]
    because = f"nothing in {', '.join(never)} yet" if never else f"the interval has passed for {', '.join(late)}"
    return _due(plan, because, late, None)


EVER = datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def _next_in(timetable: Timetable, runs: Sequence[RunRecord], repository: str, now: datetime) -> datetime:
    served = [time for time in _served(timetable.plan, runs, repository) if is_believed(time, now)]
    return timetable.first_after(max(served)) if served else EVER


def _served(plan: Plan, runs: Sequence[RunRecord], repository: str) -> Iterator[datetime]:
    for run in runs:
        step = run.step(main_step(plan))
        for result in step.results if step else ():
            if result.repository == repository and result.outcome in _SERVED:
                yield result.instant or run.began


def _due(plan: Plan, because: str, repositories: Sequence[str], next_due: datetime | None) -> Decision:
    return Decision(plan=plan.name, due=True, because=because, repositories=tuple(repositories), next_due=next_due)


def _not_due(plan: Plan, because: str, next_due: datetime | None = None) -> Decision:
    return Decision(plan=plan.name, due=False, because=because, next_due=next_due)
