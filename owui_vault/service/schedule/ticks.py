"""Installs, shows and removes the one call that makes plans run: what is due is decided by `run` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from owui_vault.config import load_settings
from owui_vault.context.state import StateDirectory
from owui_vault.errors import ConfigError
from owui_vault.model.schedules import InstalledSchedule, Scheduler, ScheduleReport
from owui_vault.service.run_ledger import RunLedger
from owui_vault.service.schedule.crontab import Cron
from owui_vault.service.schedule.tick import EVERY_MINUTES, Tick, call, obstacles, surroundings, tick, unit_name
from owui_vault.service.schedule.units import Systemd
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.system.python import environ_or_own

_LOCK_SECONDS = 60.0


class _Scheduling(Protocol):
    """One scheduler, for the user that we are."""

    @property
    def kind(self) -> Scheduler: ...
    def unusable(self) -> str: ...
    def runs(self) -> bool: ...
    def given(self, name: str, /) -> Mapping[str, str]: ...
    def installed(self) -> Sequence[InstalledSchedule]: ...
    def install(self, tick: Tick, /) -> bool: ...
    def remove(self, found: InstalledSchedule, /) -> None: ...
    def is_current(self, found: InstalledSchedule, tick: Tick, /) -> bool: ...
    def fires(self, found: InstalledSchedule, now: datetime, /) -> tuple[datetime | None, datetime | None]: ...


def install_schedule(
    config: Path | str,
    scheduler: Scheduler | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    every_minutes: int = EVERY_MINUTES,
) -> ScheduleReport:
    """Have `run` called every ten minutes with this configuration, and `recover` at boot: by systemd, else by cron.

    As root for the machine, otherwise for the user. What is there already is brought up to date or left alone; the
    other scheduler's is removed. Raises ConfigError, with nothing changed: for a configuration that would not work
    where a scheduler calls, for a file that somebody else wrote, and where neither systemd nor cron runs.
    `every_minutes` is for tests, which cannot wait.
    """
    around = environ_or_own(environ)
    path = Path(config).absolute()
    chosen = _chosen(scheduler, around)
    name = unit_name(load_settings(path, around))
    found, warnings = tick(path, chosen.given(name), around, every_minutes=every_minutes)
    with directory_lock(path.parent, wait_seconds=_LOCK_SECONDS, clock=SystemClock(), what="the schedule"):
        earlier = [each for each in chosen.installed() if each.config == path]
        changed = chosen.install(found)
        # Of another name: the instance was called otherwise.
        outdated = [each for each in earlier if not chosen.is_current(each, found) and _is_elsewhere(each, found)]
        for each in outdated:
            chosen.remove(each)
        removed = list(outdated)
        for other in _all(around):
            if other.kind is not chosen.kind:
                for each in _of(other, path):
                    other.remove(each)
                    removed.append(each)
    shown = show_schedule(path, around)
    return replace(
        shown, changed=changed or bool(removed), removed=tuple(removed), warnings=(*warnings, *shown.warnings)
    )


def show_schedule(config: Path | str | None = None, environ: Mapping[str, str] | None = None) -> ScheduleReport:
    """What is installed for this user, when it fired last and fires next, and what keeps it from doing so.

    Without `config` whatever calls `run` here, for any configuration.
    """
    around = environ_or_own(environ)
    path = Path(config).absolute() if config is not None else None
    now = SystemClock().now()
    found = []
    for each in _all(around):
        found += [_shown(each, one, now, around) for one in _of(each, path)]
    called = max((time for time in (_called_last(each.config, around) for each in found) if time), default=None)
    warnings = tuple(_silences(found, called, now))
    return ScheduleReport(at=now, config=path, schedules=tuple(found), called_last=called, warnings=warnings)


def remove_schedule(
    config: Path | str | None = None, scheduler: Scheduler | None = None, environ: Mapping[str, str] | None = None
) -> ScheduleReport:
    """Take away what calls `run` with this configuration, which need not be valid, or be there at all, any more."""
    around = environ_or_own(environ)
    path = Path(config).absolute() if config is not None else None
    removed = []
    for each in _all(around):
        for one in _of(each, path) if scheduler in (None, each.kind) else ():
            each.remove(one)
            removed.append(one)
    shown = show_schedule(path, around)
    return replace(shown, changed=bool(removed), removed=tuple(removed))


def _all(environ: Mapping[str, str]) -> tuple[_Scheduling, ...]:
    return Systemd(environ=environ), Cron(environ=environ)


def _of(scheduling: _Scheduling, config: Path | None) -> list[InstalledSchedule]:
    return [each for each in scheduling.installed() if config in (None, each.config)]


def _chosen(wanted: Scheduler | None, environ: Mapping[str, str]) -> _Scheduling:
    reasons = []
    for each in _all(environ):
        if wanted is each.kind:
            if reason := each.unusable():
                raise ConfigError(f"{each.kind.value} cannot be used here: {reason}", hint=_OTHERWISE)
            return each
        if wanted is None:
            reason = each.unusable() or ("" if each.runs() else f"no {each.kind.value} daemon is running")
            if not reason:
                return each
            reasons.append(reason)
    raise ConfigError(
        f"nothing here calls programs at times: {'; '.join(reasons)}",
        hint=f"Install cron and start it, then try again. {_OTHERWISE}",
    )


_OTHERWISE = "In a container, and wherever something else keeps a program running, use `owui-vault daemon`."


def _is_elsewhere(found: InstalledSchedule, tick: Tick) -> bool:
    return not any(Path(place).stem == tick.name or Path(place).name == tick.name for place in found.places)


def _shown(
    scheduling: _Scheduling, found: InstalledSchedule, now: datetime, environ: Mapping[str, str]
) -> InstalledSchedule:
    try:
        known = call(found.config, load_settings(found.config, {**environ, **surroundings()}))
        current, wrong = scheduling.is_current(found, known), obstacles(found.config, scheduling.given(known.name))
    except ConfigError as error:
        current, wrong = False, (error.message,)
    last, following = scheduling.fires(found, now)
    return replace(found, current=current, fired_last=last, fires_next=following, obstacles=(*found.obstacles, *wrong))


def _called_last(config: Path, environ: Mapping[str, str]) -> datetime | None:
    try:
        settings = load_settings(config, {**environ, **surroundings()})
        return RunLedger(StateDirectory(settings.state_dir), settings.series).called_last()
    except ConfigError:
        return None


def _silences(found: list[InstalledSchedule], called: datetime | None, now: datetime) -> Iterator[str]:
    """A schedule that should fire, and a `run` that nobody has called for so long: seen from its own side."""
    if found and called and now - called > timedelta(minutes=3 * EVERY_MINUTES):
        yield "`run` has not been called for longer than the schedule says, unless the machine was off or asleep"
