"""What calls `run` every few minutes: what `schedule` returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path


class Scheduler(Enum):
    """Who calls."""

    CRON = "cron"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledSchedule:
    """One schedule that is installed here.

    `user` is whose it is: root's is the system's own. `places` are its files, or the crontab it is part of. `current`:
    it is as this version writes it. `fired_last` is what the scheduler knows of it (cron knows nothing), `fires_next`
    when it will call again; None: not known, or never. `obstacles` say in words what keeps it from firing, or from
    doing anything when it does.
    """

    scheduler: Scheduler
    config: Path
    user: str
    places: tuple[str, ...]
    current: bool = True
    fired_last: datetime | None = None
    fires_next: datetime | None = None
    obstacles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleReport:
    """What is installed for this user, and what has changed.

    `changed`: files were written or removed. `removed` are schedules that are gone now. `called_last` is when anybody
    last asked `run` to do what is due with this configuration: the schedule, a daemon, or a person.
    """

    at: datetime
    config: Path | None
    schedules: tuple[InstalledSchedule, ...] = ()
    changed: bool = False
    removed: tuple[InstalledSchedule, ...] = ()
    called_last: datetime | None = None
    warnings: tuple[str, ...] = ()
