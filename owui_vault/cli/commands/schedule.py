"""`schedule`: what calls `run` every ten minutes, and `recover` at boot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError


class Action(Enum):
    """What is to be done."""

    INSTALL = "install"
    SHOW = "show"
    REMOVE = "remove"


class With(Enum):
    """Who is to call."""

    CRON = "cron"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Request):
    """`schedule`."""

    passphrase = Passphrase.NOT_NEEDED

    action: Action
    by: With | None = None

    def perform(self, session: Session) -> Answer:
        """For `show`: 5 when something keeps an installed schedule from doing its work."""
        from owui_vault.cli.render import scheduling
        from owui_vault.model.schedules import Scheduler
        from owui_vault.service.schedule.ticks import install_schedule, remove_schedule, show_schedule

        if session.options.without_file:
            raise ConfigError("a scheduler calls with a file, and options take the place of one", hint=_FILE)
        scheduler = Scheduler(self.by.value) if self.by else None
        environ = session.environ
        match self.action:
            case Action.INSTALL:
                report = install_schedule(_required(session), scheduler, environ)
                return Answer(value=report, show=lambda screen: scheduling.installed(screen, report))
            case Action.REMOVE:
                report = remove_schedule(_file(session), scheduler, environ)
                return Answer(value=report, show=lambda screen: scheduling.removed(screen, report))
            case Action.SHOW:
                report = show_schedule(_file(session), environ)
        hindered = any(each.obstacles for each in report.schedules)
        return Answer(
            value=report,
            show=lambda screen: scheduling.shown(screen, report),
            exit_code=exit_codes.WRONG if hindered else exit_codes.DONE,
            asked_for=True,
        )


_FILE = "Name the configuration with --config FILE."


def _required(session: Session) -> Path:
    from owui_vault.cli.configuration import file_for

    return file_for(session.options, session.environ, session.folder)


def _file(session: Session) -> Path | None:
    """The named one, which may be gone; otherwise None: whatever there is."""
    from owui_vault.config import expand

    named = session.options.config
    return expand(str(named), session.folder, session.environ) if named else None


def command(
    action: Annotated[Action, typer.Argument(metavar="install|show|remove", help="What to do.")],
    by: Annotated[
        With | None, typer.Option("--with", help="Who calls; otherwise systemd where it runs, else cron.")
    ] = None,
) -> Request:
    """Have `run` called every ten minutes and `recover` at boot, show what calls them, or remove it.

    As root for the machine (/etc/cron.d, system units), otherwise for this user (crontab, user units). `show` and
    `remove` are about --config FILE if it is given, which need not exist any more, otherwise about every configuration.
    """
    if by and action is Action.SHOW:
        raise ConfigError("`schedule show` shows every scheduler's", hint="Leave out --with.")
    return Schedule(action=action, by=by)
