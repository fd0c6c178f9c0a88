"""Fetched files that nobody keeps: a private place for them, and no trace of it, however the run ends.

They are decrypted, the secret key among them, so they lie below the state directory and not in a /tmp that outlives
everybody. Each folder is locked as long as its run lives; one without a lock was left by a run that was killed.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from owui_vault.system.files import private_directory
from owui_vault.system.filesystem import remove_tree

_FOLDER = "scratch"


@contextmanager
def scratch(state_root: Path, purpose: str) -> Iterator[Path]:
    """An empty folder of ours alone, gone when the block ends; what dead runs left goes as well."""
    clear_scratch(state_root)
    base = private_directory(state_root / _FOLDER)
    with ExitStack() as held:
        with _locked(base):  # nobody may take a folder for a dead run's before it has its lock
            folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=base))
            held.enter_context(_locked(folder))
        held.callback(remove_tree, folder)
        yield folder


def clear_scratch(state_root: Path) -> tuple[str, ...]:
    """Remove what killed runs left; answers what was done, in words."""
    base = state_root / _FOLDER
    if not base.is_dir():
        return ()
    with _locked(base):
        removed = [folder.name for folder in sorted(base.iterdir()) if _removed(folder)]
    return (f"removed fetched files that a killed run left in {base}",) if removed else ()


def _removed(folder: Path) -> bool:
    lock = _lock(folder) if folder.is_dir() and not folder.is_symlink() else None
    if lock is None:
        return False
    try:
        with suppress(OSError):  # an engine that outlived its run may still write there: the next time, then
            remove_tree(folder)
            return True
        return False
    finally:
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """The lock of a folder; None when a living run has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
