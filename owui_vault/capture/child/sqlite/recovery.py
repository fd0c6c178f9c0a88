"""Copies databases in a read transaction, and recovers and checks copies in the stage."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from owui_vault.capture.child.classify import in_short_process
from owui_vault.capture.child.sqlite.statements import count_statement, tables
from owui_vault.system.sqlite_door import open_database, others_may_move
from owui_vault.system.sqlite_format import SIDE_SUFFIXES, journal_mode
from owui_vault.system.sqlite_main import confine

_PAGES_PER_STEP = 4096
_MOST_COMPLAINTS = 10


class _StopError(Exception):
    """Raised inside a backup to end it."""


def copy_under_lock(real: str, place: str, seconds: float) -> str:
    """Copy a live database inside one read transaction, in a short process; what went wrong, or nothing.

    The copy must exist, empty. The process is one of its own, since the locks of this one would be dropped by whatever
    else it opens.
    """
    try:
        (complaint,) = in_short_process(lambda: [_copy_under_lock(real, place, seconds)])
    except RuntimeError as error:
        return str(error)
    return complaint


def _copy_under_lock(real: str, place: str, seconds: float) -> str:
    until = time.monotonic() + seconds

    def between_steps(*_: int) -> None:
        if time.monotonic() > until:
            raise _StopError("it took too long")

    try:
        uri = f"file:{quote(os.fsencode(real))}?mode=ro"
        live = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=seconds)
        with closing(live):
            live.execute("BEGIN").close()
            live.execute("SELECT count(*) FROM sqlite_master").fetchall()
            # By now SQLite looks at nothing of the live database by its path any more.
            with closing(_empty_copy(place)) as target:
                target.execute("PRAGMA journal_mode=OFF").close()
                live.backup(target, pages=_PAGES_PER_STEP, progress=between_steps, sleep=0)
    except (_StopError, sqlite3.Error) as error:
        return str(error)
    return ""


def _empty_copy(place: str) -> sqlite3.Connection:
    """The copy, opened by its name alone: from here on this short process may reach nothing else where others may."""
    folder, name = os.path.split(place)
    if others_may_move(Path(os.path.realpath(folder))):
        os.chdir(folder)
        place = f"/{name}" if confine() else place
    return sqlite3.connect(f"file:{quote(os.fsencode(place))}?mode=rw", uri=True, isolation_level=None)


def recover_copy(place: str) -> None:
    """Let SQLite roll back or recover a raw copy from the journal or log beside it, and leave only the database."""
    if any(os.path.exists(place + suffix) for suffix in ("-wal", "-journal")):
        with closing(open_copy(place)) as copy:
            copy.execute("SELECT count(*) FROM sqlite_master").fetchall()
            copy.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for suffix in SIDE_SUFFIXES:
        with suppress(FileNotFoundError):
            os.unlink(place + suffix)


def check_copy(place: str, cancel: threading.Event) -> str:
    """What SQLite's quick check says about a copy: "ok", or its first complaints."""
    if journal_mode(_head(place)) == "none":
        return "not a database"
    try:
        with closing(open_copy(place, immutable=True)) as copy:
            copy.set_progress_handler(cancel.is_set, 100_000)
            rows = copy.execute(f"PRAGMA quick_check({_MOST_COMPLAINTS})").fetchall()
    except sqlite3.Error as error:
        return str(error)
    return " ".join("; ".join(str(row[0]) for row in rows).split())


def count_rows(place: str) -> dict[str, int]:
    """Rows per table; what cannot be counted is left out (the check has said why)."""
    counts: dict[str, int] = {}
    try:
        with closing(open_copy(place, immutable=True)) as copy:
            for table in tables(copy):
                with suppress(sqlite3.Error):
                    counts[table] = int(copy.execute(count_statement(table)).fetchone()[0])
    except sqlite3.Error:
        return {}
    return counts


def sha256_of(path: str) -> str:
    """The hash of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _head(place: str) -> bytes:
    with Path(place).open("rb") as file:
        return file.read(100)


def open_copy(place: str, *, immutable: bool = False) -> sqlite3.Connection:
    """A copy in the stage; `immutable`: to read, and what may be beside it does not count."""
    return open_database(place, "mode=ro&immutable=1" if immutable else "mode=rw")
