"""`show`: what a snapshot says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.cli.arguments import From, Series, SnapshotText
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Show(Request):
    """`show`."""

    snapshot: str
    repository: str | None = None
    instance: str | None = None

    def perform(self, session: Session) -> Answer:
        """Read its manifest."""
        from owui_vault.cli.render import snapshots

        found = session.vault.manifest(self.snapshot, repository=self.repository, instance=self.instance)
        return Answer(more={"manifest": found}, show=lambda screen: snapshots.manifest(screen, found), asked_for=True)


def command(snapshot: SnapshotText, repository: From = None, instance: Series = None) -> Show:
    """Show what a snapshot holds, without restoring it."""
    return Show(snapshot=snapshot, repository=repository, instance=instance)
