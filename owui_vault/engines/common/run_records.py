"""Our own dead runs of engine programs: those whose record is no longer locked (see launcher.py).

Where process ids mislead (containers with one host name, reboots), the kernel does not: only its death releases the
lock that a run holds on its record.
"""

from __future__ import annotations

import fcntl
import json
import secrets as randomness
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from owui_vault.engines.common.environment import private_folder
from owui_vault.system.clock import SystemClock

_FOLDER = "runs"
_UNTIL_WRITTEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of ours that is dead."""

    record: Path
    pid: int
    host: str
    user: int
    started: float


def new_record(folder: Path) -> Path:
    """Where the next run in this repository's folder may note who it is."""
    return private_folder(folder, _FOLDER) / randomness.token_hex(8)


def dead_runs(folder: Path) -> Iterator[Run]:
    """Every run of ours that left a record and is dead: the kernel gives us its lock on it."""
    for record in sorted((folder / _FOLDER).glob("*")):
        with suppress(FileNotFoundError, BlockingIOError), record.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            run = _run_of(record, file.read())
            if run is not None:
                yield run


def any_alive(folder: Path) -> bool:
    """Whether a run of ours in this folder lives, or may be about to."""
    for record in (folder / _FOLDER).glob("*"):
        try:
            with record.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except BlockingIOError:
            return True
    return False


def _run_of(record: Path, text: bytes) -> Run | None:
    try:
        document = json.loads(text)
        return Run(
            record=record,
            pid=int(document["pid"]),
            host=str(document["host"]),
            user=int(document["user"]),
            started=float(document["started"]),
        )
    except (ValueError, KeyError, TypeError):
        if SystemClock().now().timestamp() - record.stat().st_mtime > _UNTIL_WRITTEN_SECONDS:
            record.unlink(missing_ok=True)  # died before it could write a word: the program never began
        return None
