"""A private place for files that are fetched temporarily, and removed however the run ends.

They are decrypted and include the secret key, so they are kept below the state directory and not in a /tmp that
outlives everything. Each folder is locked as long as its run lives; one without a lock was left by a run that was
killed.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from owui_vault.context.state import StateDirectory
from owui_vault.system.durable_files import private_directory
from owui_vault.system.lock import Patience, wait_for
from owui_vault.system.removal import remove_tree

_FOLDER = "scratch"


@contextmanager
def scratch(state: StateDirectory, purpose: str) -> Iterator[Path]:
    """An empty folder of ours alone, gone when the block ends; what dead runs left goes as well."""
    clear_scratch(state)
    base = private_directory(state.root / _FOLDER)
    with ExitStack() as held:
        with _locked(base, state.patience):  # nobody may take a folder for a dead run's before it has its lock
            folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=base))
            held.enter_context(_locked(folder, state.patience))
        held.callback(remove_tree, folder)
        yield folder


def clear_scratch(state: StateDirectory) -> tuple[str, ...]:
    """Remove what killed runs left; returns what was done, in words. Raises LockHeldError and CancelledError."""
    base = state.root / _FOLDER
    if not base.is_dir():
        return ()
    with ExitStack() as held:
        dead = []
        with _locked(base, state.patience):  # for moments: to remove what is there may take minutes
            for folder in sorted(base.iterdir()):
                lock = _lock(folder) if folder.is_dir() and not folder.is_symlink() else None
                if lock is not None:
                    held.callback(os.close, lock)
                    dead.append(folder)
        removed = [folder for folder in dead if _removed(folder)]
    return (f"removed fetched files that a killed run left in {base}",) if removed else ()


def _removed(folder: Path) -> bool:
    with suppress(OSError):  # an engine that outlived its run may still write there: the next time, then
        remove_tree(folder)
        return True
    return False


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
def _locked(folder: Path, patience: Patience) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        wait_for(descriptor, patience, what=str(folder))
        yield
    finally:
        os.close(descriptor)
