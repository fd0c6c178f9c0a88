"""Recognises a full file system that is not the repository's: that of our own folder, or of temporary files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from owui_vault.errors import NoSpaceError
from owui_vault.system.filesystem import is_full

_FULL = re.compile(r"No space left on device|Disk quota exceeded|Errno 28\b|Errno 122\b", re.IGNORECASE)
_FRAME = re.compile(r'borg/(\w+)\.py"')
_OF_THE_REPOSITORY = {"repository", "remote"}


def tells_full_disk(text: str) -> bool:
    """Whether a program speaks of a file system that is full."""
    return bool(_FULL.search(text))


def no_room(folder: Path) -> NoSpaceError:
    """The error for a full file system under our folder for a repository."""
    return NoSpaceError(
        f"no space left at {folder}, which holds caches and notes for the repository",
        hint="Free some space there, or set another state_dir. Its caches can be removed; that only costs time.",
    )


@contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Raise NoSpaceError for what we ourselves cannot write there."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise no_room(folder) from error


def local_disk_full(text: str, folder: Path, clean: Callable[[str], str]) -> NoSpaceError | None:
    """The error for what a program said, if it is about a file system that is full and not the repository's.

    What is repeated of it goes through `clean`.
    """
    for line in filter(tells_full_disk, text.splitlines()):
        if str(folder) in line:
            return no_room(folder)
        if "/restic-temp-" in line:
            return NoSpaceError(
                f"no space left for restic's temporary files: {clean(line.strip())[-300:]}",
                hint="Free some space there, or set TMPDIR to another place.",
            )
    frames = set(_FRAME.findall(text))  # of the traceback that borg leaves
    if tells_full_disk(text) and "cache" in frames and not frames & _OF_THE_REPOSITORY:
        return no_room(folder)
    return None
