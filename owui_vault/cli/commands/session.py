"""What a command works with, and what it returns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from owui_vault.cli import exit_codes
from owui_vault.cli.render import progress
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.requests import GlobalOptions
from owui_vault.cli.signals import Interruption
from owui_vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command came to: `value`'s fields and `more` with `--json`, `show` otherwise."""

    show: Callable[[Screen], None]
    value: object = None
    more: Mapping[str, object] = field(default_factory=dict)
    exit_code: int = exit_codes.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a command works with."""

    vault: Vault
    options: GlobalOptions
    interruption: Interruption

    @contextmanager
    def callbacks(self) -> Iterator[dict[str, Any]]:
        """The arguments by which long operations show progress and can be asked to stop."""
        with (
            progress.shown(sys.stderr, self.options.verbosity) as sink,
            self.interruption.cancellable() as cancel,
        ):
            yield {"progress": sink, "cancel": cancel}
