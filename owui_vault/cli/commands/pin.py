"""`pin`: what no retention removes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import Series, SnapshotText
from owui_vault.cli.request import Answer, Request, Session

if TYPE_CHECKING:  # `--help` does without it
    from owui_vault.model import PinReport
    from owui_vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin(Request):
    """`pin`, and but for what is done, `unpin`."""

    snapshot: str
    instance: str | None = None

    def perform(self, session: Session) -> Answer:
        """What the only repository failed with, or 1 when one of several did."""
        from owui_vault.cli.render import pins

        with session.callbacks() as callbacks:
            report = self.change(session.vault)(self.snapshot, instance=self.instance, **callbacks)
        errors = [each.error for each in report.repositories if not each.excused]
        return Answer(
            value=report,
            show=lambda screen: pins.pinned(screen, report),
            exit_code=exit_codes.of_one_or_several(errors),
        )

    def change(self, vault: Vault) -> Callable[..., PinReport]:
        """What is done with the snapshot."""
        return vault.pin


def command(snapshot: SnapshotText, instance: Series = None) -> Pin:
    """Let no retention remove a snapshot, in every repository that holds it."""
    return Pin(snapshot=snapshot, instance=instance)
