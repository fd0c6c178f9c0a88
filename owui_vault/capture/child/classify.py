"""Classifies databases through raw descriptors, in a forked process that ends before anything is pinned.

A process that closes any descriptor of a database drops all the locks it holds on it, so the process with the pins must
never do this itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from owui_vault.capture.child.job import Job
from owui_vault.capture.child.marks import mark_of
from owui_vault.capture.child.sharing import judged, other_holders
from owui_vault.system.filesystem import open_to_read
from owui_vault.system.sqlite_format import journal_mode

_SHM_DMS_BYTE = 128  # held shared by every connection that has the WAL index open
_RESERVED_BYTE = 0x40000001  # held by whoever writes in rollback mode
_FLOCK = struct.Struct("hhqqi4x") if struct.calcsize("P") == 8 else struct.Struct("hhqqi")
_PENDING_BYTE = 0x40000000  # the first of those that SQLite locks in the database itself
_LOCK_BYTES = 512
_MAPPED_TO_WRITE = re.compile(rb"^\S+ .w.s \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(.*)", re.MULTILINE)
_SHORT_SECONDS = 20
_Plain = TypeVar("_Plain")  # whatever JSON can carry


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What one database was found to be."""

    name: str
    real: str
    mode: str  # "wal", "delete", "none" for a file that is not a database, "absent"
    holder: str = ""  # who shares its locks with us
    obstacle: str = ""  # why it cannot be pinned
    left_journal: bool = False  # a journal of a writer that died: no transaction is running

    @property
    def pinnable(self) -> bool:
        """Whether a read transaction holds its state."""
        return self.mode == "wal" and not self.obstacle


def classify(job: Job, *, but: frozenset[str] = frozenset()) -> tuple[Database, ...]:
    """Classify all databases of the plan, `but` for these, in a short process of its own."""
    names = [name for name in job.databases if name not in but]
    if not names:
        return ()
    looks = in_short_process(lambda: [_look(name, job.locate(name), job.processes) for name in names])
    return tuple(Database(**each) for each in looks)


def mappings(files: Mapping[tuple[int, int], str]) -> dict[str, int]:
    """Which of these files, by device and inode, are mapped shared and writable, and by which process.

    Writes to a mapping change no timestamp. Processes that we may not examine are not seen.
    """
    found: dict[str, int] = {}
    nameless = {inode: name for (device, inode), name in files.items() if not os.major(device)}
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            maps = Path(f"/proc/{process}/maps").read_bytes()
        except OSError:
            continue  # gone, or somebody else's
        for major, minor, number, path in _MAPPED_TO_WRITE.findall(maps):
            inode = int(number)
            name = files.get((os.makedev(int(major, 16), int(minor, 16)), inode))
            if name is None and int(major, 16) == 0 and inode in nameless:
                # btrfs tells another device here than to stat, one for all its subvolumes; so the name must fit.
                same = os.path.basename(nameless[inode]) == os.path.basename(os.fsdecode(path))
                name = nameless[inode] if same else None
            if name is not None:
                found[name] = int(process)
    return found


def lock_holders(real: str, us: frozenset[int]) -> list[int]:
    """Processes other than `us` that hold an SQLite lock on a database, as far as the kernel names them.

    It names one for each file; where that one is ours, those in its list of all locks.
    """
    found: list[int] = []
    for path, offset, length in ((real, _PENDING_BYTE, _LOCK_BYTES), (f"{real}-shm", _SHM_DMS_BYTE, 1)):
        try:
            descriptor = open_to_read(path)
        except OSError:
            continue
        holder = _lock_holder(descriptor, offset, length)
        if holder in us:
            found += (each for each in other_holders(os.fstat(descriptor).st_ino, offset, length) if each not in us)
        elif holder:
            found.append(holder)
    return found


def in_short_process(work: Callable[[], list[_Plain]]) -> list[_Plain]:
    """Run `work` in a forked copy of this process, which must have one thread; its answer travels as JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(_SHORT_SECONDS)
            with os.fdopen(writer, "w") as stream:
                json.dump(work(), stream)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError("the databases could not be examined")
    answer: list[_Plain] = json.loads(text)
    return answer


def _look(name: str, real: str, processes: tuple[int, ...]) -> dict[str, Any]:
    try:
        descriptor = open_to_read(real)
    except FileNotFoundError:
        return {"name": name, "real": real, "mode": "absent"}
    except OSError as error:
        return {"name": name, "real": real, "mode": "none", "obstacle": f"cannot be opened: {error.strerror}"}
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return {"name": name, "real": real, "mode": "none", "obstacle": "is not a file"}
    mode = journal_mode(os.pread(descriptor, 100, 0))
    answer: dict[str, Any] = {"name": name, "real": real, "mode": mode}
    if mode == "wal":
        answer.update(_pinning(real, status, processes))
    else:
        there = mark_of(f"{real}-journal") is not None  # before the lock: one that comes later is of a writer
        answer["left_journal"] = there and _lock_holder(descriptor, _RESERVED_BYTE) is None
    return answer


def _pinning(real: str, status: os.stat_result, processes: tuple[int, ...]) -> dict[str, str]:
    """Whether a pin on this WAL database would hold: its locks must be shared with the process that writes it."""
    if status.st_nlink > 1:
        return {"obstacle": "has a second hard link"}
    wal, shm = mark_of(f"{real}-wal"), mark_of(f"{real}-shm")
    if wal is None or shm is None or not wal.is_file or not shm.is_file:
        return {"obstacle": "no process has it open"}
    try:
        descriptor = open_to_read(f"{real}-shm")
    except OSError as error:
        return {"obstacle": f"its -shm cannot be opened: {error.strerror}"}
    if not os.access(f"{real}-shm", os.W_OK):
        return {"obstacle": "its -shm is not writable here"}
    return judged(_lock_holder(descriptor, _SHM_DMS_BYTE), shm.inode, _SHM_DMS_BYTE, processes)


def _lock_holder(descriptor: int, offset: int, length: int = 1) -> int | None:
    """The process that holds a lock on these bytes; 0 for one in another process namespace, None for nobody."""
    question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, length, 0)
    kind, _, _, _, process = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    return None if kind == fcntl.F_UNLCK else process
