"""`history`: what ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRuns(Request):
    """`history`."""

    passphrase = Passphrase.NOT_NEEDED

    last: int
    plan: str | None = None

    def perform(self, session: Session) -> Answer:
        """List them, newest first."""
        from owui_vault.cli.render import unattended

        found = session.vault.history(last=self.last, plan=self.plan)
        return Answer(
            more={"runs": found, "warnings": found.warnings},
            show=lambda screen: unattended.listed(screen, found),
            asked_for=True,
        )


def command(
    last: Annotated[int, typer.Option("--last", metavar="N", help="At most so many.")] = 20,
    plan: Annotated[str | None, typer.Option("--plan", metavar="PLAN", help="Only this plan's.")] = None,
) -> ListRuns:
    """List the runs of plans, newest first, with what came of each."""
    return ListRuns(last=last, plan=plan)
