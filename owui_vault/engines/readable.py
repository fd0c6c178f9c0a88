"""Looking for files that an engine will not be able to read, before it is asked to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from owui_vault.errors import EngineError
from owui_vault.model import SkippedFile


def demand_something(tree: Path, engine: str) -> None:
    """Raise EngineError where there is nothing to store: what engines make of that is never a restore point."""
    if not tree.is_dir():
        raise EngineError(f"there is nothing to store: {tree} is no directory", engine=engine)
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
