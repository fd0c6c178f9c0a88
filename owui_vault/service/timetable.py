"""When a plan is due: a schedule in its time zone, later by what this machine is told to be later.

Nothing here reads a clock or a file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from owui_vault.model.plans import CronSchedule, IntervalSchedule, Plan
from owui_vault.system import cron

_GRACE_SHARE = 4
_LEAST_GRACE = timedelta(hours=2)
_MOST_GRACE = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """The due times of one plan on one machine. All times are aware; results are UTC."""

    plan: Plan
    zone: tzinfo
    offset: timedelta = timedelta()

    def first_after(self, moment: datetime) -> datetime:
        """The first due time after a moment; of an interval, when one has passed since then."""
        match self.plan.schedule:
            case CronSchedule(expression=expression):
                return cron.first_after(expression, moment - self.offset, self.zone) + self.offset
            case IntervalSchedule(every=every):
                return moment + every + self.offset

    def last_until(self, moment: datetime) -> datetime | None:
        """The last due time up to a moment; an interval has none: it counts from a restore point."""
        match self.plan.schedule:
            case CronSchedule(expression=expression):
                return cron.last_until(expression, moment - self.offset, self.zone) + self.offset
            case IntervalSchedule():
                return None

    def grace_at(self, due: datetime) -> timedelta:
        """How long after this due time the result may be absent."""
        if self.plan.grace is not None:
            return self.plan.grace
        match self.plan.schedule:
            case CronSchedule():
                interval = self.first_after(due) - due
            case IntervalSchedule(every=every):
                interval = every
        return min(max(interval / _GRACE_SHARE, _LEAST_GRACE), _MOST_GRACE)


def timetable(plan: Plan, local_zone: tzinfo, host: str) -> Timetable:
    """The due times of a plan on the machine `host`. Raises ValueError for a time zone that is not known."""
    name = plan.schedule.timezone if isinstance(plan.schedule, CronSchedule) else ""
    zone = cron.named_zone(name) if name else local_zone
    return Timetable(plan=plan, zone=zone, offset=offset(plan, host))


def offset(plan: Plan, host: str) -> timedelta:
    """By how much a plan is later on this machine: any number of whole seconds up to `jitter`, always the same."""
    seconds = int(plan.jitter.total_seconds())
    if not seconds:
        return timedelta()
    drawn = int.from_bytes(hashlib.sha256(f"{host}\0{plan.name}".encode()).digest()[:8], "big")
    return timedelta(seconds=drawn % (seconds + 1))
