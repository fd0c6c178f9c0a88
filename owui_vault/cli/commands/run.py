"""`run`: what is due now, or the named plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Request):
    """`run`."""

    tells_of_mistakes = True
    passphrase = Passphrase.NOT_NEEDED  # nobody is there to be asked

    names: tuple[str, ...] = ()
    dry_run: bool = False

    def perform(self, session: Session) -> Answer:
        """The worst of its runs; 1 where it tells of a killed one, or could not record its own."""
        from owui_vault.model import RunReport

        with session.callbacks() as callbacks:
            report = session.vault.run(self.names or None, dry_run=self.dry_run, **callbacks)
        if report == RunReport():  # what most calls come to: at once, and without a word
            return Answer(value=report, show=lambda _screen: None)
        from owui_vault.cli.render import unattended

        if self.dry_run:
            return Answer(value=report, show=lambda screen: unattended.decided(screen, report), asked_for=True)
        told = [exit_codes.FAILED] if report.killed or report.unrecorded else []
        return Answer(
            value=report,
            show=lambda screen: unattended.ran(screen, report),
            exit_code=exit_codes.worst([*(each.exit_code for each in report.runs), *told]),
            asked_for=bool(report.warnings),  # nobody else will tell of a damaged ledger
        )


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PLAN]...", help="These plans now; without names, those that are due."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due, and why.")] = False,
) -> Run:
    """Do what is due now: snapshot, prune, verify, as each plan says. With nothing due, print nothing."""
    return Run(names=tuple(names or ()), dry_run=dry_run)
