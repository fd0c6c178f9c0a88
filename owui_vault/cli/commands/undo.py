"""`undo`: back to the data before the last restore in place."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Request):
    """`undo`."""

    def perform(self, session: Session) -> Answer:
        """Do it. Raises VaultError."""
        from owui_vault.cli.render import live

        with session.callbacks() as callbacks:
            report = session.vault.undo(**callbacks)
        return Answer(value=report, show=lambda screen: live.undone(screen, report))


def command() -> Undo:
    """Restore the previous data that the last restore in place kept."""
    return Undo()
