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
    app.command(short_help="Restore the previous data after an in-place restore.")(undo)
    app.command(short_help="Delete the previous data kept by an in-place restore.")(discard)


def hold(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The command to run.")],
    quiesce: Annotated[Quiesce, typer.Option(help="`pause` or `stop`.")] = Quiesce.PAUSE,
    limit: Annotated[str, typer.Option(metavar="DURATION", help="After this the instance is resumed.")] = "60s",
) -> Invocation:
    """Keep the instance quiet while COMMAND runs, and return its status: for snapshots of volumes and machines."""
    if quiesce not in (Quiesce.PAUSE, Quiesce.STOP):
        raise ConfigError(f"hold cannot use {quiesce.value}", hint="Pass --quiesce pause or --quiesce stop.")
    return invocation(context, requests.Hold(command=tuple(command), quiesce=quiesce, limit=_duration(limit)))


def undo(context: typer.Context) -> Invocation:
    """Restore the previous data that the last restore in place kept."""
    return invocation(context, requests.Undo())


def discard(context: typer.Context) -> Invocation:
    """Delete all previous data that restores in place kept, for good."""
    return invocation(context, requests.Discard())


def _duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} is not a duration", hint="Write 30s, 5m or 1h.")
    return timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
