"""`discard`: delete the previous data that restores in place kept."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard(Request):
    """`discard`."""

    def perform(self, session: Session) -> Answer:
        """Do it. Raises VaultError."""
        from owui_vault.cli.render import live

        report = session.vault.discard()
        return Answer(value=report, show=lambda screen: live.discarded(screen, report))


def command() -> Discard:
    """Delete all previous data that restores in place kept, for good."""
    return Discard()
