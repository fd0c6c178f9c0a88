"""Finds files that an engine will not be able to read, before it tries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from owui_vault.errors import EngineError
from owui_vault.model import SkippedFile

_MOST_NAMES = 3


def named(paths: Sequence[str]) -> str:
    """Some of these paths, and how many more."""
    more = f" and {len(paths) - _MOST_NAMES} more" if len(paths) > _MOST_NAMES else ""
    return f"{', '.join(paths[:_MOST_NAMES])}{more}"


def times_outside(tree: Path, first_ns: int, last_ns: int) -> Iterator[tuple[str, int]]:
    """Paths below `tree`, with their times of change, that an engine cannot keep or give back."""
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            with suppress(OSError):  # unreadable or gone: told elsewhere
                time_ns = os.lstat(f"{folder}/{name}").st_mtime_ns
                if not first_ns <= time_ns <= last_ns:
                    yield os.path.relpath(f"{folder}/{name}", tree), time_ns


def require_content(tree: Path, engine: str) -> None:
    """Raise EngineError where there is nothing to store: what engines make of that is never a restore point."""
    if not tree.is_dir():
        raise EngineError(f"there is nothing to store: {tree} is not a directory", engine=engine)
    with suppress(PermissionError), os.scandir(tree) as entries:
        if next(entries, None) is None:
            raise EngineError(f"there is nothing to store: {tree} is empty", engine=engine)


def unreadable_below(tree: Path) -> Iterator[SkippedFile]:
    """Every file and directory below `tree` that we, and so a program we start, may not read."""
    folders = [str(tree)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False) and not _may_read(entry.path):
                        yield SkippedFile(path=os.path.relpath(entry.path, tree), reason="permission denied")
        except OSError as error:
            yield SkippedFile(
                path=os.path.relpath(folder, tree), reason=(error.strerror or "could not be read").lower()
            )


def _may_read(path: str) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)
