"""One run at a time: a lock on a directory itself, so that runs of other users and state directories meet."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from owui_vault.errors import CancelledError, LockHeldError, VaultError
from owui_vault.model import NEVER, NoticeSink, Waiting, ignore_notice
from owui_vault.model.json_codec import local_text
from owui_vault.ports import Clock
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.unwinding import undoing

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a lock is waited for, who may end the waiting, and who hears at once that there is any."""

    wait_seconds: float = 300.0
    clock: Clock = field(default_factory=SystemClock)
    cancel: threading.Event = NEVER
    notices: NoticeSink = ignore_notice


USUAL_PATIENCE = Patience()


@contextmanager
def directory_lock(  # noqa: PLR0913  all by name, and what is rare has its default
    path: Path,
    *,
    wait_seconds: float,
    clock: Clock,
    what: str,
    cancel: threading.Event = NEVER,
    notices: NoticeSink = ignore_notice,
) -> Iterator[int]:
    """Hold the lock of a directory; yields its descriptor.

    Nothing is written: the descriptor is read-only. Whoever inherits the descriptor (the guardian does) keeps the
    lock until it ends as well. Raises LockHeldError when `wait_seconds` have passed, CancelledError when `cancel` is
    set before.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        patience = Patience(wait_seconds=wait_seconds, clock=clock, cancel=cancel, notices=notices)
        wait_for(descriptor, patience, what=what)
        yield descriptor
    finally:
        os.close(descriptor)


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
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if patience.cancel.is_set():
                raise CancelledError(f"stopped while another run was using {what}") from None
            if clock.monotonic() >= until:
                holder = holder_of(descriptor)
                who = f" ({holder})" if holder else ""
                raise LockHeldError(
                    f"another run is using {what}{who}; waited {patience.wait_seconds:g} s",
                    hint="Wait for it to end, or raise limits.lock_wait.",
                ) from None
            if not said:
                said = True
                patience.notices(Waiting(what=what, holder=holder_of(descriptor), wait_seconds=patience.wait_seconds))
            clock.sleep(_POLL_SECONDS)


def holder_of(descriptor: int) -> str:
    """Who holds the lock of what is open there: `process 4711, since 2026-11-30 03:15:00 CET`; empty where unknown.

    Unknown is a process of another container. One that has ended left the lock to its guardian.
    """
    mine = os.fstat(descriptor)
    for pid in _lockers(mine.st_ino):
        identity = procfs.identify(pid)
        if identity is None:
            return f"process {pid}, which has ended; its guardian is still at work"
        if _has_open(pid, (mine.st_dev, mine.st_ino)):
            try:
                since = datetime.fromtimestamp(procfs.started_at(identity)).astimezone()
            except VaultError:
                return f"process {pid}"
            return f"process {pid}, since {local_text(since)}"
    return ""


def _lockers(inode: int) -> Iterator[int]:
    """Who has locked a file of this number, by the kernel's list; on which file system it does not say reliably."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        if words[1:2] == ["FLOCK"] and words[4].isdigit() and words[4] != "0" and words[5].endswith(f":{inode}"):
            yield int(words[4])


def _has_open(pid: int, file: tuple[int, int]) -> bool:
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                there = each.stat()
                if (there.st_dev, there.st_ino) == file:
                    return True
    return False
