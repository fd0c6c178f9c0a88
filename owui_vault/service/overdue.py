"""Whether a plan is overdue: one function, the same for status, run and whoever tells of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from owui_vault.model.plans import IntervalSchedule, Punctuality
from owui_vault.service.timetable import Timetable

#: So far apart the clocks of two machines may be.
CLOCK_TOLERANCE = timedelta(minutes=5)


def is_believed(moment: datetime, now: datetime) -> bool:
    """Whether something that is said to have happened then may have."""
    return moment <= now + CLOCK_TOLERANCE


def punctuality(
    timetable: Timetable, results: Iterable[datetime], now: datetime, *, known_since: datetime | None = None
) -> Punctuality:
    """Judge the results of a plan in one repository: its COMPLETE restore points, or verifications that found no fault.

    It is overdue once `now` is later than the first due time after the newest result, and the grace. A plan that has
    never succeeded is overdue from its first due time after `known_since` on, without any grace; where nobody knows
    since when there is such a plan, it is overdue now. A result that is dated after now says nothing: one of the clocks
    is wrong, and a wrong clock must not keep anybody quiet.
    """
    dated = tuple(results)
    credible = [each for each in dated if is_believed(each, now)]
    wrong = len(credible) < len(dated)
    if not credible:
        due = _first_due(timetable, known_since, now)
        return Punctuality(overdue=now >= due, due=due, late_after=due, clock_is_wrong=wrong)
    due = timetable.first_after(max(credible))
    late_after = due + timetable.grace_at(due)
    return Punctuality(overdue=now > late_after, due=due, late_after=late_after, clock_is_wrong=wrong)


def as_brought(timetable: Timetable, instants: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """When a plan that only replicates has brought restore points of these instants, at the latest.

    It is due at its own times, and brings what is older than that: so the newest one there tells of the due time after
    it. What stopped at its source, or was not brought, is overdue at the due time that comes next, whoever looks.
    """
    return tuple(each if each > now else min(timetable.first_after(each), now) for each in instants)


def _first_due(timetable: Timetable, known_since: datetime | None, now: datetime) -> datetime:
    if known_since is None or not is_believed(known_since, now):
        return timetable.last_until(now) or now
    if isinstance(timetable.plan.schedule, IntervalSchedule):
        return known_since  # there is nothing to count from
    return timetable.first_after(known_since)
