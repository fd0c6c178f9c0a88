"""When a series is read in full again, whatever size and mtime say.

Engines skip a file whose size and mtime are unchanged. An upload that was replaced by one of the same size and mtime
would never be noticed; so from time to time nothing is skipped.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from owui_vault.engines.common.environment import private_folder
from owui_vault.system.clock import SystemClock

_EVERY_SECONDS = 30 * 24 * 3600.0


def is_due(folder: Path, instance: str) -> bool:
    """Whether nobody knows of a full reading in the last thirty days."""
    try:
        last = (folder / "full-readings" / instance).stat().st_mtime
    except FileNotFoundError:
        return True
    return abs(SystemClock().now().timestamp() - last) > _EVERY_SECONDS  # in the future: the clock was wrong once


def record_full_read(folder: Path, instance: str) -> None:
    """Everything was read, and is stored. Where that cannot be recorded it is read again the next time."""
    with suppress(OSError):
        (private_folder(folder, "full-readings") / instance).touch(mode=0o600)
