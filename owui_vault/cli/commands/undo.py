"""`undo`: back to the data before the last restore in place."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from owui_vault.cli.arguments import Yes
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.cli.terminal import require_consent


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Request):
    """`undo`."""

    yes: bool = False

    def perform(self, session: Session) -> Answer:
        """Show what it is about, ask, do it."""
        from owui_vault.cli.render import live
        from owui_vault.cli.render.screen import Screen

        kept = session.vault.previous_data()
        if kept and not (self.yes and session.options.verbosity < 0):
            live.undoing(Screen(sys.stderr), kept)
        if kept and not self.yes:
            require_consent("Replace the live data as described above?")
        with session.callbacks() as callbacks:
            report = session.vault.undo(**callbacks)
        return Answer(value=report, show=lambda screen: live.undone(screen, report))


def command(yes: Yes = False) -> Undo:
    """Restore the previous data that the last restore in place kept."""
    return Undo(yes=yes)
