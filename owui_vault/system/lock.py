"""One run at a time: a lock on a directory itself, so that runs of other users and state directories meet."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from owui_vault.errors import CancelledError, LockHeldError
from owui_vault.model import NEVER
from owui_vault.ports import Clock

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
        _acquire(descriptor, wait_seconds, clock, what=what, cancel=cancel)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Be the only one who reads a file and writes it anew: for moments, so that nobody is told to wait.

    The lock is a file beside it, which is gone afterwards: the file itself is replaced at each writing, and directories
    cannot be locked on NFS.
    """
    beside = path.with_name(f".{path.name}.lock")
    descriptor = _locked(beside)
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            mine = os.fstat(descriptor)
            with suppress(FileNotFoundError):
                there = os.lstat(path)
                if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder before us has removed it: locking what nobody finds excludes nobody


def _acquire(descriptor: int, wait_seconds: float, clock: Clock, *, what: str, cancel: threading.Event) -> None:
    until = clock.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if cancel.is_set():
                raise CancelledError(f"stopped while another run worked on {what}") from None
            if clock.monotonic() >= until:
                raise LockHeldError(
                    f"another run works on {what}; waited {wait_seconds:g} s",
                    hint="Wait for it to end, or raise limits.lock_wait.",
                ) from None
            clock.sleep(_POLL_SECONDS)
