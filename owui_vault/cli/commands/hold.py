"""`hold`: the instance quiet while any command runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import duration
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError
from owui_vault.model import Quiesce


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Request):
    """`hold`."""

    command: tuple[str, ...]
    quiesce: Quiesce
    limit: timedelta

    def perform(self, session: Session) -> Answer:
        """The command's own status, unless the hold broke (1) or the instance is not back (4): those are raised."""
        from owui_vault.system.process import run_attached

        with session.vault.hold(self.quiesce, self.limit):
            status = run_attached(self.command, stdout_to_stderr=session.options.json)
        return Answer(
            more={"command": self.command, "status": status},
            show=lambda _screen: None,
            exit_code=status if status >= 0 else exit_codes.SIGNALLED - status,
        )


def command(
    words: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The command to run.")],
    quiesce: Annotated[Quiesce, typer.Option(help="`pause` or `stop`.")] = Quiesce.PAUSE,
    limit: Annotated[str, typer.Option(metavar="DURATION", help="After this the instance is resumed.")] = "60s",
) -> Hold:
    """Keep the instance quiet while COMMAND runs, and return its status: for snapshots of volumes and machines."""
    if quiesce not in (Quiesce.PAUSE, Quiesce.STOP):
        raise ConfigError(f"hold cannot use {quiesce.value}", hint="Pass --quiesce pause or --quiesce stop.")
    return Hold(command=tuple(words), quiesce=quiesce, limit=duration(limit))
