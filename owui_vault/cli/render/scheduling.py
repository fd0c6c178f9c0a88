"""What calls `run`, in plain English, on the screen."""

from __future__ import annotations

from datetime import datetime

from owui_vault.cli.render.phrases import age, local
from owui_vault.cli.render.reports import warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model.schedules import InstalledSchedule, ScheduleReport


def installed(screen: Screen, report: ScheduleReport) -> None:
    """What `schedule install` did."""
    screen.line("Installed." if report.changed else "Installed already; nothing was changed.", style="green")
    shown(screen, report)


def removed(screen: Screen, report: ScheduleReport) -> None:
    """What `schedule remove` did."""
    if not report.removed:
        screen.line("No schedule is installed; nothing was changed.")
    for each in report.removed:
        screen.line(f"Removed from {each.scheduler.value}: {', '.join(each.places)}")
    if report.removed and not report.schedules:
        screen.line("Nothing calls `run` any more.", style="bold yellow")
    warnings(screen, report.warnings)


def shown(screen: Screen, report: ScheduleReport) -> None:
    """What `schedule show` found."""
    if not report.schedules:
        screen.line("No schedule is installed: plans run only when somebody calls `run`, or by `daemon`.")
    for each in report.schedules:
        screen.heading(f"{each.scheduler.value}, for {each.user}")
        screen.pairs([
            ("calls", f"owui-vault --config {each.config} run"),
            *(("in" if not number else "", place) for number, place in enumerate(each.places)),
            ("as it is now", "" if each.current else "written by another version; install it again"),
            ("fired last", _when(each.fired_last, report.at) or _unknown(each)),
            ("fires next", local(each.fires_next) if each.fires_next else "never" if each.obstacles else "not known"),
        ])  # fmt: skip
        screen.items((f"NOT RUNNING: {reason}" for reason in each.obstacles), style="bold red")
    if report.schedules or report.called_last:
        screen.line(f"`run` was last called: {_when(report.called_last, report.at) or 'never yet'}")
    warnings(screen, report.warnings)


def _when(moment: datetime | None, now: datetime) -> str:
    return f"{local(moment)} ({age(moment, now)} ago)" if moment else ""


def _unknown(each: InstalledSchedule) -> str:
    return "never yet" if each.scheduler.value == "systemd" else "not known: cron keeps no record of it"
