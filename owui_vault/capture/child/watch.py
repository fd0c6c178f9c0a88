"""Finds other writers while the instance should be quiet, by asking the kernel, not whoever froze it.

Only /proc and the control groups are read, in a short process: nothing of the instance is opened here except to query
its locks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from owui_vault.capture.child.classify import Database, in_short_process, lock_holders
from owui_vault.capture.child.job import Job

_ALL_PROCESSES = 0xEFFFFFFC  # the inode of the first process namespace: from any other, not everybody is seen
_OPEN_FOR_WRITING = 0o200  # of the link in /proc/PID/fd
_STOPPED = frozenset("TtZXx")


@dataclass(frozen=True, slots=True, kw_only=True)
class WritersFound:
    """Processes that are not frozen and could write. `complete`: every process could be examined."""

    writers: tuple[str, ...]
    complete: bool


def find_writers(
    job: Job,
    files: Mapping[tuple[int, int], str],
    databases: Sequence[Database],
    mappers: Mapping[int, str],
    *,
    pinner: int | None = None,
) -> WritersFound:
    """Look at every process. `files` are those of the instance, `mappers` were seen with one of them mapped.

    `pinner` is ours as well, and holds locks.
    """
    us = frozenset({os.getpid()} if pinner is None else {os.getpid(), pinner})
    try:
        found = in_short_process(lambda: list(_look(job=job, files=files, databases=databases, mappers=mappers, us=us)))
    except RuntimeError:
        return WritersFound(writers=(), complete=False)
    return WritersFound(writers=tuple(sorted({each for each in found if each})), complete="" not in found)


def _look(
    *,
    job: Job,
    files: Mapping[tuple[int, int], str],
    databases: Sequence[Database],
    mappers: Mapping[int, str],
    us: frozenset[int],
) -> Iterator[str]:
    """One line per writer; an empty one for each process that could not be examined."""
    if os.geteuid() != 0 or os.stat("/proc/self/ns/pid").st_ino != _ALL_PROCESSES:
        yield ""
    suspects = {pid: f"has {name} mapped" for pid, name in mappers.items()}
    for database in databases:
        for pid in lock_holders(database.real, us):
            suspects[pid] = f"holds a lock on {database.name}"
    names = frozenset(os.path.basename(name) for name in files.values())
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid in us or pid == os.getpid():
            continue
        try:
            name = _written_by(job, pid, files, names)
        except OSError:
            yield ""
            continue
        if name is not None:
            suspects[pid] = f"has {name} open for writing"
    for pid, what in suspects.items():
        rests = pid in us or at_rest(pid)
        if not rests:
            yield "" if rests is None else f"process {pid} ({_name_of(pid)}) is not frozen and {what}"


def _written_by(job: Job, pid: int, files: Mapping[tuple[int, int], str], names: frozenset[str]) -> str | None:
    """Which file of the instance a process has open for writing. Raises OSError if the kernel does not say."""
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return None
    for each in descriptors:
        try:
            if not os.lstat(f"{folder}/{each}").st_mode & _OPEN_FOR_WRITING:
                continue
            path = os.readlink(f"{folder}/{each}")
            # Others know the directory by other paths; a file that bears none of our names is not touched, since a
            # look at it may have to wait for a network.
            if os.path.basename(path) in names:
                status = os.stat(f"{folder}/{each}")
                if (status.st_dev, status.st_ino) in files:
                    return files[status.st_dev, status.st_ino]
        except FileNotFoundError:
            continue
        if job.contains(path):
            return path
    return None


def at_rest(pid: int) -> bool | None:
    """Whether no thread of a process can run: stopped by a signal, frozen with its control group, or gone.

    None where that cannot be told from here.
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        states = [Path(f"/proc/{pid}/task/{each}/stat").read_bytes().rpartition(b")")[2].split()[0] for each in threads]
        groups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return not os.path.exists(f"/proc/{pid}")
    except OSError:
        return None
    if all(state.decode() in _STOPPED for state in states):
        return True
    answers = [_frozen(group) for group in groups]
    return True if True in answers else None if None in answers else False


def _frozen(group: str) -> bool | None:
    """What the kernel's freezer says about one line of /proc/PID/cgroup."""
    _, kinds, path = group.split(":", 2)
    if kinds not in ("", "freezer") or path == "/":
        return False
    if kinds:
        states = [f"/sys/fs/cgroup/freezer{path}/freezer.state"]
    else:
        states = [f"/sys/fs/cgroup{below}{path}/cgroup.events" for below in ("", "/unified")]
    for state in states:
        try:
            told = Path(state).read_text().split("\n")
        except OSError:
            continue
        return "FROZEN" in told or "frozen 1" in told
    return None


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"
