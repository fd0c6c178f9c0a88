"""How much room a repository takes, and how much is left where it lies. Only a file system of this machine tells."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from owui_vault.repositories.overlap import path_of
from owui_vault.system.clock import SystemClock
from owui_vault.system.durable_files import free_bytes

PATIENCE_SECONDS = 5.0  # hundreds of thousands of files on a slow share: better no size than a status that hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a repository takes, and what an ordinary user may still write there. None: it is not known."""

    size_bytes: int | None = None
    free_bytes: int | None = None


def measure(location: str, patience_seconds: float = PATIENCE_SECONDS) -> Space:
    """Look at the place of a repository; nothing is known of one that is elsewhere, away, or not ours to see."""
    folder = path_of(location)
    try:
        if not folder.is_absolute() or not folder.is_dir():
            return Space()
        until = SystemClock().monotonic() + patience_seconds
        return Space(size_bytes=_size(folder, until), free_bytes=free_bytes(folder))
    except OSError:
        return Space()


def _size(folder: Path, until: float) -> int | None:
    """What all files take on disk. Those that go away meanwhile take nothing."""
    total = 0
    folders = [os.fspath(folder)]
    while folders:
        if SystemClock().monotonic() > until:
            return None
        try:
            entries = list(os.scandir(folders.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                try:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                except FileNotFoundError:
                    continue
    return total
