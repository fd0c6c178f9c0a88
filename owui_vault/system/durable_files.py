"""Private directories, durable writes and free space."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from owui_vault.errors import NoSpaceError
from owui_vault.system.attributes import drop_access_lists
from owui_vault.system.unwinding import undoing

_UNFINISHED = ".new"
_SMALL_BYTES = 1 << 16
_ABANDONED_SECONDS = 3600.0  # nobody takes that long to write one of these files


def private_directory(path: Path) -> Path:
    """Make `path` (and what is missing above it) ours alone, and return it. An existing one is closed to others."""
    if not path.parent.exists():
        private_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    drop_access_lists(os.fspath(path))  # what the folder above has by default would be inherited by all that is in it
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file in one step: a crash leaves the old bytes or the new ones, and these are on disk afterwards.

    Writers at the same time do no harm to each other: the last one wins. `lock.file_lock` is for those who first read.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_UNFINISHED, dir=path.parent)
    beside = Path(name)
    with undoing(lambda: beside.unlink(missing_ok=True)):
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            written = os.fstat(file.fileno()).st_mtime
        beside.rename(path)
    remove_unfinished(path, before=written - _ABANDONED_SECONDS)
    sync_directory(path.parent)


def remove_unfinished(path: Path, *, before: float = math.inf) -> None:
    """Remove what killed writers of this file left `before` a time of the file system's own clock.

    Without one all of it, for a caller who knows that nobody else writes this file.
    """
    with os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(f".{path.name}.") and entry.name.endswith(_UNFINISHED):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry.path).unlink()


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_to_write(folder: Path) -> None:
    """Raise OSError where a small file cannot be written: no right, a read-only or a full disk. Nothing is left."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_SMALL_BYTES))
        file.flush()


def read_json(path: Path) -> dict[str, object]:
    """The object in a file of ours; empty when there is none or it is not readable as one."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def free_bytes(path: Path) -> int:
    """What an ordinary user may still write where `path` is, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_space(path: Path, needed_bytes: int, what: str) -> None:
    """Raise NoSpaceError unless `needed_bytes` fit where `path` is, or will be."""
    free = free_bytes(path)
    if free < needed_bytes:
        raise NoSpaceError(
            f"{what} needs {needed_bytes / 1e6:,.0f} MB at {path}, but only {free / 1e6:,.0f} MB are free",
            hint="Free some space there, or choose another place.",
        )
