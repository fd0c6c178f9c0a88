"""Borg locks that our own runs left when they were killed. Locks of other programs are never touched.

borg itself removes the lock of a dead process on the same host. If the host's name changes (each `docker run` without
`--hostname` has a new one), such a lock stays for ever, and even listing waits for it in vain. We trust the kernel
(run_records.py): a run that no longer holds a lock on its record is dead, whatever its name was.

Only locks on this machine's file systems can be ours: over ssh the process on the host holds that of the repository.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from owui_vault.engines.common.run_records import Run, dead_runs
from owui_vault.model.json_codec import local_text
from owui_vault.system.durable_files import write_durably

logger = logging.getLogger(__name__)

_EXCLUSIVE, _ROSTER = "lock.exclusive", "lock.roster"  # in a repository, and in each cache of one
_BEFORE_LOCKING_SECONDS = 1.0  # a file system may stamp a little before the clock we read
_LONGEST_WAIT_SECONDS = 3600.0  # from the start of a run to the lock it writes: it may have waited for it


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a lock says holds it. `host` is `name@number` of its network card."""

    host: str
    pid: int


def belongs_to(holder: Holder, written: float, run: Run) -> bool:
    """Whether a lock can only be that dead run's."""
    name = holder.host.rpartition("@")[0]
    same_host = name == run.host or name.startswith(f"{run.host}.")  # borg takes the full name
    since_start = written - run.started
    return holder.pid == run.pid and same_host and -_BEFORE_LOCKING_SECONDS <= since_start <= _LONGEST_WAIT_SECONDS


def clear_remains(folder: Path, places: Iterable[Path]) -> None:
    """Remove the locks that dead runs of this folder hold in these places, and forget the runs."""
    dead = list(dead_runs(folder))
    if not dead:
        return
    cleared = [_cleared(place, dead) for place in places]
    if all(cleared):
        for run in dead:
            run.record.unlink(missing_ok=True)


def holder_in(repository: Path) -> str:
    """Who keeps others from a repository of this machine, and since when; empty where it cannot be seen."""
    with suppress(OSError):
        for path in (repository / _EXCLUSIVE).iterdir():
            if holder := _holder_of(path.name):
                since = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
                return f"PID {holder.pid} on {holder.host.rpartition('@')[0]}, since {local_text(since)}"
    return ""


def _cleared(place: Path, dead: Sequence[Run]) -> bool:
    """Whether nothing of theirs is left in this place."""
    try:
        _clear_exclusive(place / _EXCLUSIVE, dead)
        return _clear_roster(place, dead)
    except (OSError, ValueError) as error:  # ValueError: a list that cannot be read is not one of nobody
        logger.warning("could not look for locks of dead runs in %s: %s", place, error)
        return False


def _clear_exclusive(lock: Path, dead: Sequence[Run]) -> None:
    """As long as it stands nobody else can have it; borg removes a dead one in the same two steps."""
    for path in lock.glob("*"):
        with suppress(FileNotFoundError):
            holder = _holder_of(path.name)
            if holder and any(belongs_to(holder, path.stat().st_mtime, run) for run in dead):
                path.unlink()
                logger.info("removed the lock of a dead run of ours, %s", path)
                with suppress(OSError):  # somebody else has taken it already
                    lock.rmdir()


def _clear_roster(place: Path, dead: Sequence[Run]) -> bool:
    """Take them off the list of readers and writers, which only the holder of the exclusive lock may change."""
    roster = place / _ROSTER
    if not _theirs(roster, dead):
        return True
    with _exclusively(place, dead[0]) as mine:
        if not mine:
            return False  # somebody works there: the next run will look again
        document = _read(roster)
        gone = _theirs(roster, dead)
        left = {key: [each for each in entries if each not in gone] for key, entries in document.items()}
        before = roster.stat()
        write_durably(roster, json.dumps(left).encode(), mode=before.st_mode & 0o777)
        with suppress(PermissionError):  # whose it is by now is somebody's who may write here as well
            os.chown(roster, before.st_uid, before.st_gid)
        logger.info("took %d dead runs of ours off the list %s", len(gone), roster)
    return True


def _theirs(roster: Path, dead: Sequence[Run]) -> list[list[object]]:
    """Entries of dead runs. The list has no times of its own: each entry is as old as its run, or somebody else's."""
    entries = [each for listed in _read(roster).values() for each in listed]
    return [
        [host, pid, *rest]
        for host, pid, *rest in entries
        if any(belongs_to(Holder(str(host), int(str(pid))), run.started, run) and not _is_used(run) for run in dead)
    ]


def _is_used(run: Run) -> bool:
    """Whether its number is somebody's here and now: then borg can tell better."""
    return run.host == os.uname().nodename and Path(f"/proc/{run.pid}").exists()


def _read(roster: Path) -> dict[str, list[list[object]]]:
    try:
        document = json.loads(roster.read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(document, dict) or not all(isinstance(listed, list) for listed in document.values()):
        raise ValueError(f"{roster.name} is not a list of readers and writers")
    return document


@contextmanager
def _exclusively(place: Path, dead: Run) -> Iterator[bool]:
    """Hold borg's exclusive lock as borg takes it: a directory that is renamed into place. Does not wait.

    It bears the name of the dead run that we clear up after: should we be killed here, the next run takes it for that
    one's, and removes it.
    """
    folder = Path(tempfile.mkdtemp(".tmp", f"{_EXCLUSIVE}.", place))
    name = f"{dead.host}@0.{dead.pid}-0"
    (folder / name).touch()
    os.utime(folder / name, (dead.started, dead.started))
    try:
        folder.rename(place / _EXCLUSIVE)
    except OSError:
        (folder / name).unlink()
        folder.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        (place / _EXCLUSIVE / name).unlink()
        with suppress(OSError):
            (place / _EXCLUSIVE).rmdir()


def _holder_of(name: str) -> Holder | None:
    """`HOST@NUMBER.PID-THREAD`."""
    host, _, pid = name.rpartition("-")[0].rpartition(".")
    return Holder(host, int(pid)) if host and pid.isdigit() else None
