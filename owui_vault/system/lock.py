"""One run at a time: a lock on a directory itself, so that runs of other users and state directories meet."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.errors import CancelledError, LockHeldError
from owui_vault.model import NEVER
from owui_vault.ports import Clock
from owui_vault.system.clock import SystemClock
from owui_vault.system.unwinding import undoing

_POLL_SECONDS = 0.1


@contextmanager
def directory_lock(
    path: Path, *, wait_seconds: float, clock: Clock, what: str, cancel: threading.Event = NEVER
) -> Iterator[int]:
    """Hold the lock of a directory; yields its descriptor.

    Nothing is written: the descriptor is read-only. Whoever inherits the descriptor (the guardian does) keeps the
    lock until it ends as well. Raises LockHeldError when `wait_seconds` have passed, CancelledError when `cancel` is
    set before.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        wait_for(descriptor, Patience(wait_seconds=wait_seconds, clock=clock, cancel=cancel), what=what)
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a lock is waited for, and who may end the waiting."""

    wait_seconds: float = 300.0
    clock: Clock = field(default_factory=SystemClock)
    cancel: threading.Event = NEVER


USUAL_PATIENCE = Patience()


@contextmanager
def file_lock(path: Path, patience: Patience = USUAL_PATIENCE) -> Iterator[None]:
    """Hold the exclusive right to read and rewrite a file.

    That takes moments; a process that is stopped meanwhile, or writes to a disk that hangs, is waited for as a run is.
    The lock is a file beside it, which is removed afterwards: the file itself is replaced at each write, and
    directories cannot be locked on NFS. Raises LockHeldError and CancelledError.
    """
    beside = path.with_name(f".{path.name}.lock")
    descriptor = _locked(beside, patience)
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, patience: Patience) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with undoing(os.close, descriptor):
            wait_for(descriptor, patience, what=str(path))
            mine = os.fstat(descriptor)
            with suppress(FileNotFoundError):
                there = os.lstat(path)
                if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                    return descriptor
        os.close(descriptor)  # the holder before us has removed it: locking what nobody finds excludes nobody


def wait_for(descriptor: int, patience: Patience, *, what: str) -> None:
    """Lock what is open there. Raises LockHeldError and CancelledError."""
    clock = patience.clock
    until = clock.monotonic() + patience.wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if patience.cancel.is_set():
                raise CancelledError(f"stopped while another run was using {what}") from None
            if clock.monotonic() >= until:
                raise LockHeldError(
                    f"another run is using {what}; waited {patience.wait_seconds:g} s",
                    hint="Wait for it to end, or raise limits.lock_wait.",
                ) from None
            clock.sleep(_POLL_SECONDS)
