"""`inspect`: what the instance holds, and what would be lost."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect(Request):
    """`inspect`."""

    looks_for_container = True
    passphrase = Passphrase.NOT_NEEDED

    def perform(self, session: Session) -> Answer:
        """Look; nothing is touched."""
        from owui_vault.cli.render import reports

        report = session.vault.inspect()
        everything = session.options.verbosity > 0
        return Answer(
            value=report, show=lambda screen: reports.instance(screen, report, everything=everything), asked_for=True
        )


def command() -> Inspect:
    """Report what the instance holds and what would be lost; nothing is touched."""
    return Inspect()
