"""Plans: what is done unattended, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from owui_vault.model.basics import Quiesce

MOST_INTERVAL = timedelta(days=366)
MOST_JITTER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSchedule:
    """Times that a cron expression of five fields names; `timezone` empty: the machine's own.

    Where clocks change it counts as Debian's cron does: a time that does not exist is due right after the gap, one that
    exists twice is due once, and what runs every so many minutes or hours goes by the time that passes.
    """

    expression: str
    timezone: str = ""

    def __str__(self) -> str:
        return f"{self.expression} ({self.timezone})" if self.timezone else self.expression


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalSchedule:
    """So long after the newest restore point, whatever the time of day: for what is there only now and then."""

    every: timedelta

    def __str__(self) -> str:
        return f"every {self.every}"


Schedule: TypeAlias = CronSchedule | IntervalSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedReplication:
    """What a plan brings from one repository to others."""

    source: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done unattended, and when. Without `repositories`: all that are configured, but those of `replicate`.

    `snapshot`: whether it takes one; a plan without one replicates, prunes or verifies what others stored. `replicate`:
    what is brought from one repository to others after the snapshot; these are pruned and verified, too. `prune`:
    whether what each repository's `keep` does not keep is removed afterwards. `verify`: whether a snapshot is verified
    afterwards, with the share `read_data` of the repository read. `jitter`: due up to this much later than the schedule
    says, on each machine always by the same amount. `catch_up`: whether a time that was missed is made up for. `grace`:
    how long after a due time its result may be absent before the plan is overdue; None: a quarter of the interval, at
    least two hours and at most a day.
    """

    name: str
    schedule: Schedule
    repositories: tuple[str, ...] = ()
    snapshot: bool = True
    quiesce: Quiesce | None = None
    tags: tuple[str, ...] = ()
    replicate: tuple[PlannedReplication, ...] = ()
    prune: bool = True
    verify: bool = False
    read_data: float = 0.0
    jitter: timedelta = timedelta()
    catch_up: bool = True
    grace: timedelta | None = None

    @property
    def mirrors(self) -> tuple[str, ...]:
        """The repositories that it brings something to."""
        return tuple(dict.fromkeys(name for each in self.replicate for name in each.to))


@dataclass(frozen=True, slots=True, kw_only=True)
class Punctuality:
    """Whether a plan's newest result is as new as its schedule asks for.

    `due` is the first time after that result at which the plan was, or will be, due; `late_after` is that and the
    grace. `clock_is_wrong`: a result is dated after now, and was left out.
    """

    overdue: bool
    due: datetime
    late_after: datetime
    clock_is_wrong: bool = False
