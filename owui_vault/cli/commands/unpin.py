"""`unpin`: let retention decide again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from owui_vault.cli.arguments import Series, SnapshotText
from owui_vault.cli.commands.pin import Pin

if TYPE_CHECKING:  # `--help` does without it
    from owui_vault.model import PinReport
    from owui_vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpin(Pin):
    """`unpin`."""

    def change(self, vault: Vault) -> Callable[..., PinReport]:
        """The other way round."""
        return vault.unpin


def command(snapshot: SnapshotText, instance: Series = None) -> Unpin:
    """Let retention decide about a snapshot again, in every repository that holds it."""
    return Unpin(snapshot=snapshot, instance=instance)
