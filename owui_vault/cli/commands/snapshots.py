"""`snapshots`: the restore points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import From, Series
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSnapshots(Request):
    """`snapshots`."""

    repository: str | None = None
    instance: str | None = None
    everything: bool = False

    def perform(self, session: Session) -> Answer:
        """List them, newest first."""
        from owui_vault.cli.render import snapshots
        from owui_vault.system.clock import SystemClock

        found = session.vault.snapshots(repository=self.repository, instance=self.instance, everything=self.everything)
        now = SystemClock().now()
        return Answer(
            more={"snapshots": found, "warnings": found.warnings, "unanswered": found.unanswered},
            show=lambda screen: snapshots.listed(screen, found, now, everything=self.everything),
            asked_for=True,
            exit_code=exit_codes.of_unanswered(found.unanswered),
        )


def command(
    repository: From = None,
    instance: Series = None,
    everything: Annotated[bool, typer.Option("--all", help="All series, and snapshots of other tools.")] = False,
) -> ListSnapshots:
    """List the snapshots, newest first."""
    return ListSnapshots(repository=repository, instance=instance, everything=everything)
