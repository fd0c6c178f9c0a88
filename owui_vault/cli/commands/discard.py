"""`discard`: delete the previous data that restores in place kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from owui_vault.cli.arguments import Yes
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.cli.terminal import require_consent


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard(Request):
    """`discard`."""

    yes: bool = False

    def perform(self, session: Session) -> Answer:
        """Show what it is about, ask, do it."""
        from owui_vault.cli.render import live
        from owui_vault.cli.render.screen import Screen

        kept = session.vault.previous_data()
        if kept and not (self.yes and session.options.verbosity < 0):
            live.discarding(Screen(sys.stderr), kept)
        if kept and not self.yes:
            require_consent("Delete what is listed above, for good?")
        report = session.vault.discard()
        return Answer(value=report, show=lambda screen: live.discarded(screen, report))


def command(yes: Yes = False) -> Discard:
    """Delete all previous data that restores in place kept, for good."""
    return Discard(yes=yes)
