"""Killing an in-place restore between two of its renames, with or without the guardian."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from owui_vault.guardian.guardian import Guardian
from owui_vault.operations.recovery import swap
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock


def dies(deed: Callable[[], object], at: Callable[[], None]) -> bool:
    """Whether `deed`, in a process of its own, was killed; `at` arranges for that."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        at()
        deed()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def nobody_works_on(data_dir: Path) -> None:
    """Wait until a guardian that was killed as well has let go of the lock."""
    with directory_lock(data_dir, wait_seconds=10, clock=SystemClock(), what="the data"):
        pass


def at_rename(number: int) -> Callable[[], None]:
    """Die before so many renames were done, and the guardian as well: a power cut."""

    def arrange() -> None:
        guardians: list[int] = []
        made, move = Guardian.__init__, swap._move
        left = [number]

        def remembered(self: Guardian, *arguments: object) -> None:
            made(self, *arguments)  # type: ignore[arg-type]
            guardians.append(self.pid)

        def counted(*arguments: Any) -> None:
            if left[0] == 0:
                for pid in (*guardians, os.getpid()):
                    os.kill(pid, signal.SIGKILL)
            left[0] -= 1
            move(*arguments)

        Guardian.__init__ = remembered  # type: ignore[method-assign, assignment]
        setattr(swap, "_move", counted)  # noqa: B010  another signature

    return arrange
