"""What our own killed runs leave behind: locks and half-written files. Those of other programs are never touched.

restic's own `unlock` trusts process ids, and so removes the lock of a living run in another container with the same
host name. We trust the kernel: each run holds a file lock on a record of ours (see launcher.py), which only its death
releases.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from owui_vault.engines.common.run_records import Run, any_alive, dead_runs
from owui_vault.engines.restic.program import Restic
from owui_vault.engines.restic.questions import lock_details, lock_ids, unlock
from owui_vault.errors import VaultError
from owui_vault.ports import Call
from owui_vault.system.clock import SystemClock

logger = logging.getLogger(__name__)

_BEFORE_LOCKING_SECONDS = 60.0  # from the start of restic to the lock it writes
_REFRESH_SECONDS = 6 * 60.0  # a living restic rewrites its lock every five minutes
_STALE_TO_RESTIC_SECONDS = 30 * 60.0
_HALF_WRITTEN = re.compile(r"([0-9a-f]{64}|config)-tmp-\d+")
_BOUNDS_SECONDS = 20.0
_LONGEST_QUESTION_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock in the repository."""

    id: str
    pid: int
    host: str
    user: int
    time: float


def belongs_to(lock: Lock, run: Run, now: float) -> bool:
    """Whether this lock can only be that dead run's.

    Host name and process number are the same in every container made from one file; so the lock must have been written
    just after our run began, or not have been refreshed as a living one is.
    """
    if not may_belong_to(lock, run):
        return False
    return lock.time - run.started < _BEFORE_LOCKING_SECONDS or now - lock.time > _REFRESH_SECONDS


def may_belong_to(lock: Lock, run: Run) -> bool:
    """Whether this lock can be that dead run's, and somebody else's as well."""
    same = (lock.pid, lock.host, lock.user) == (run.pid, run.host, run.user)
    return same and lock.time >= run.started - 1


def clear_remains(restic: Restic) -> bool:
    """Remove what dead runs of ours left in the repository. Returns whether a lock was removed.

    A run is remembered for as long as a lock is there that may turn out to be its own.
    """
    dead = list(dead_runs(restic.call.folder))
    if not dead:
        return False
    bounds = Call(folder=restic.call.folder, timeout_seconds=min(_BOUNDS_SECONDS, restic.call.timeout_seconds))
    looked = SystemClock().now().timestamp()
    locks = list(_locks(restic, bounds))
    ours = [lock for lock in locks if any(belongs_to(lock, run, looked) for run in dead)]
    removed = bool(ours) and _remove(restic, ours, locks, bounds)
    left = [lock for lock in locks if not removed or lock not in ours]
    if not left:
        _remove_half_written(restic, before=looked)
    _remove_left_folders(restic.call.folder)
    for run in dead:
        if not any(may_belong_to(lock, run) for lock in left):
            run.record.unlink(missing_ok=True)
    return removed


def _locks(restic: Restic, bounds: Call) -> Iterator[Lock]:
    folder = restic.location.folder
    if folder is not None and not any((folder / "locks").glob("*")):
        return  # spares opening the repository
    for name in restic.ask(lock_ids, "--no-lock", bounds=bounds):
        yield _lock_named(restic, name, bounds)


def _lock_named(restic: Restic, name: str, bounds: Call) -> Lock:
    try:
        return _lock_of(name, restic.ask(partial(lock_details, lock=name), "--no-lock", bounds=bounds))
    except (VaultError, KeyError, ValueError, TypeError):
        # Gone meanwhile, perhaps for another one: restic rewrites its lock. Or not restic's. Certainly not ours.
        return Lock(id=name, pid=0, host="", user=0, time=math.inf)


def _lock_of(name: str, document: Mapping[str, Any]) -> Lock:
    return Lock(
        id=name,
        pid=int(document["pid"]),
        host=str(document["hostname"]),
        user=int(document.get("uid", 0)),
        time=datetime.fromisoformat(document["time"]).astimezone(UTC).timestamp(),
    )


def _remove(restic: Restic, ours: Sequence[Lock], locks: Sequence[Lock], bounds: Call) -> bool:
    folder = restic.location.folder
    if folder is not None:
        for lock in ours:
            (folder / "locks" / lock.id).unlink(missing_ok=True)
    elif any(_restic_would_remove(lock) for lock in locks if lock not in ours):
        logger.warning("left a stale lock of ours in %s: others would have been removed with it", restic.location.shown)
        return False
    else:
        restic.ask(unlock, bounds=bounds)
        if {lock.id for lock in ours} & set(restic.ask(lock_ids, "--no-lock", bounds=bounds)):
            # its process number is somebody else's by now: restic will believe us when the lock is half an hour old
            logger.warning("left a stale lock of ours in %s: restic takes it for a living one", restic.location.shown)
            return False
    logger.info("removed %d stale locks of ours from %s", len(ours), restic.location.shown)
    return True


def _restic_would_remove(lock: Lock) -> bool:
    """Whether `restic unlock` might take this one for stale."""
    age = SystemClock().now().timestamp() - lock.time
    return lock.host == socket.gethostname() or age > _STALE_TO_RESTIC_SECONDS - _REFRESH_SECONDS


def _remove_half_written(restic: Restic, *, before: float) -> None:
    """Nobody held a lock when we looked, so nobody was writing what is older than that. restic's prune leaves them."""
    folder = restic.location.folder
    if folder is None:
        return
    for place, _, files in os.walk(folder):
        for name in files:
            path = Path(place) / name
            with suppress(FileNotFoundError):
                if _HALF_WRITTEN.fullmatch(name) and path.stat().st_mtime < before:
                    path.unlink()
                    logger.info("removed %s, which a killed run left half written", path)


def _remove_left_folders(folder: Path) -> None:
    """Caches of killed checks, and pipes of killed questions: some are as large as all indexes together."""
    left = [each for each in (folder / "asking").glob("*") if _is_old(each)]
    if not any_alive(folder):
        left += (folder / "cache").glob("restic-check-cache-*")
    for each in left:
        shutil.rmtree(each, ignore_errors=True)


def _is_old(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return SystemClock().now().timestamp() - path.stat().st_mtime > _LONGEST_QUESTION_SECONDS
    return False
