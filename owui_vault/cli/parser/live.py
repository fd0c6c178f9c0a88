"""The grammar of the commands that touch the live instance."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from owui_vault.cli import requests
from owui_vault.cli.parser.shared import invocation
from owui_vault.cli.requests import Invocation
from owui_vault.errors import ConfigError
from owui_vault.model import Quiesce

_DURATION = re.compile(r"(?P<number>[1-9][0-9]{0,6})(?P<unit>[smh])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command(short_help="Keep the instance quiet while a command runs.")(hold)
    app.command(short_help="Put back the data from before a restore in place.")(undo)
    app.command(short_help="Drop the data from before a restore in place.")(discard)


def hold(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run meanwhile.")],
    quiesce: Annotated[Quiesce, typer.Option(help="`pause` or `stop`.")] = Quiesce.PAUSE,
    limit: Annotated[str, typer.Option(metavar="DURATION", help="Past it the instance is woken.")] = "60s",
) -> Invocation:
    """Keep the instance quiet while COMMAND runs, and answer its status: for snapshots of volumes and machines."""
    if quiesce not in (Quiesce.PAUSE, Quiesce.STOP):
        raise ConfigError(f"hold cannot use {quiesce.value}", hint="Say --quiesce pause or --quiesce stop.")
    return invocation(context, requests.Hold(command=tuple(command), quiesce=quiesce, limit=_duration(limit)))


def undo(context: typer.Context) -> Invocation:
    """Put back the data that the last restore in place took out of the way."""
    return invocation(context, requests.Undo())


def discard(context: typer.Context) -> Invocation:
    """Drop the data that restores in place took out of the way, for good."""
    return invocation(context, requests.Discard())


def _duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} is not a duration", hint="Write 30s, 5m or 1h.")
    return timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
