"""Arguments and options that several commands have."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from owui_vault.errors import ConfigError
from owui_vault.model import Component

PARTS = ", ".join(part.value for part in Component)
Series = Annotated[
    str | None, typer.Option("--instance", metavar="NAME", help="Another series; an exact id needs none.")
]
From = Annotated[str | None, typer.Option("--from", metavar="REPO", help="Only this repository.")]
SnapshotText = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="`latest`, an id, a prefix of one, or a date.")]
Repositories = Annotated[list[str] | None, typer.Argument(metavar="[REPO]...", help="All, if none is given.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

_DURATION = re.compile(r"(?P<number>[1-9][0-9]{0,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """`30s`, `5m`, `1h`, `2d`. Raises ConfigError."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} is not a duration", hint="Write 30s, 5m, 1h or 2d.")
    return timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
