"""`recover`: finish or roll back what a killed run left behind."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover(Request):
    """`recover`."""

    passphrase = Passphrase.NOT_NEEDED

    def perform(self, session: Session) -> Answer:
        """Do it; no repository is opened."""
        from owui_vault.cli.render import reports

        report = session.vault.recover()
        return Answer(value=report, show=lambda screen: reports.recovered(screen, report))


def command() -> Recover:
    """Finish or roll back what a killed run left behind."""
    return Recover()
