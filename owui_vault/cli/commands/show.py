"""`show`: what a snapshot says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import From, Series, SnapshotText
from owui_vault.cli.request import Answer, Request, Session

if TYPE_CHECKING:  # its grammar does without them
    from owui_vault.cli.render.screen import Screen
    from owui_vault.model import UnansweredRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Show(Request):
    """`show`."""

    snapshot: str
    repository: str | None = None
    instance: str | None = None

    def perform(self, session: Session) -> Answer:
        """Read its manifest."""
        from owui_vault.cli.render import reports, snapshots

        silent: list[UnansweredRepository] = []
        found = session.vault.manifest(
            self.snapshot, repository=self.repository, instance=self.instance, on_unanswered=silent.append
        )

        def show(screen: Screen) -> None:
            snapshots.manifest(screen, found, everything=session.options.verbosity > 0)
            reports.unanswered(screen, silent)

        return Answer(
            more={"manifest": found, **({"unanswered": silent} if silent else {})},
            show=show,
            asked_for=True,
            exit_code=exit_codes.of_unanswered(silent),
        )


def command(snapshot: SnapshotText, repository: From = None, instance: Series = None) -> Show:
    """Show what a snapshot holds, without restoring it."""
    return Show(snapshot=snapshot, repository=repository, instance=instance)
