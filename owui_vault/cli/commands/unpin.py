"""`unpin`: let retention decide again."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import Series, SnapshotText
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpin(Request):
    """`unpin`."""

    snapshot: str
    instance: str | None = None

    def perform(self, session: Session) -> Answer:
        """What the only repository failed with, or 1 when one of several did."""
        from owui_vault.cli.render import pins

        with session.callbacks() as callbacks:
            report = session.vault.unpin(self.snapshot, instance=self.instance, **callbacks)
        errors = [each.error for each in report.repositories if not each.excused]
        return Answer(
            value=report,
            show=lambda screen: pins.pinned(screen, report),
            exit_code=exit_codes.of_one_or_several(errors),
        )


def command(snapshot: SnapshotText, instance: Series = None) -> Unpin:
    """Let retention decide about a snapshot again, in every repository that holds it."""
    return Unpin(snapshot=snapshot, instance=instance)
