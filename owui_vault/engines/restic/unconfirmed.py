"""Snapshots that say COMPLETE in the repository but are not, remembered until the repository says so itself.

restic writes the label together with the snapshot, after the last file. An unreadable file is known before that, but
the label can be changed only afterwards, and only while no other program holds a lock. A run that is killed, stopped or
locked out in between leaves a snapshot that must not be trusted. So the doubt is on disk before restic starts, and is
removed once all of its output has been read and nothing was wrong. Every listing on this machine honours it, and the
next run that may write settles it, unless the run that raised it is still at work and may yet confirm the snapshot.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from owui_vault.engines.common.environment import private_folder
from owui_vault.system.clock import SystemClock
from owui_vault.system.durable_files import write_durably

_LONGEST_STORE_SECONDS = 7 * 24 * 3600.0


def mark_unconfirmed(folder: Path, snapshot_id: str) -> None:
    """Believe no snapshot with this id of ours any more. On disk when this returns."""
    path = private_folder(folder, "doubts") / snapshot_id
    if not path.exists():
        write_durably(path, b"")


@contextmanager
def storing_unconfirmed(folder: Path, snapshot_id: str) -> Iterator[None]:
    """Doubt a snapshot, and let others know for the length of the block that somebody is at work on it."""
    mark_unconfirmed(folder, snapshot_id)
    with (folder / "doubts" / snapshot_id).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_being_stored(folder: Path, snapshot_id: str) -> bool:
    """Whether the run that raised this doubt may still settle it itself."""
    try:
        with (folder / "doubts" / snapshot_id).open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def unconfirmed_ids(folder: Path) -> frozenset[str]:
    """Our ids of the snapshots that are not to be believed."""
    place = folder / "doubts"
    return (
        frozenset(path.name for path in place.iterdir() if not path.name.startswith("."))
        if place.is_dir()
        else frozenset()
    )


def confirm(folder: Path, snapshot_id: str) -> None:
    """The repository says the truth about it now, or holds it no longer."""
    (folder / "doubts" / snapshot_id).unlink(missing_ok=True)


def is_abandoned(folder: Path, snapshot_id: str) -> bool:
    """Whether a snapshot that is not there will not come any more: the run that was about to store it is long over."""
    try:
        since = (folder / "doubts" / snapshot_id).stat().st_mtime
    except FileNotFoundError:
        return False
    return SystemClock().now().timestamp() - since > _LONGEST_STORE_SECONDS
