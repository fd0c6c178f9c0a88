"""Copies of pinned databases (in the child), and what is done to copies in the stage (in the parent)."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from owui_vault.capture.bench import Bench
from owui_vault.capture.classify import in_short_process, journal_mode
from owui_vault.capture.errors import AttemptFailedError, NoRoomError
from owui_vault.capture.pin import Pin

_PAGES_PER_STEP = 4096
_COUNT_IN_PIN_BYTES = 256 << 20
_LEFTOVERS = ("-wal", "-shm", "-journal")
_MOST_COMPLAINTS = 10


class _StopError(Exception):
    """Raised inside a backup to end it."""


def copy_pinned(bench: Bench, pin: Pin, until: float, progress: Callable[[int, int], None]) -> None:
    """Copy a database out of its read transaction, page by page as it is.

    Raises AttemptFailedError, NoRoomError; then nothing is left of it.
    """
    name = pin.database.name
    bench.forget_database(name)
    os.close(os.open(bench.place_for_database(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    place = bench.place(name)
    wal_at_first = pin.wal_bytes()

    def between_steps(_status: int, remaining: int, total: int) -> None:
        bench.require_room(0)
        bench.require_room(0, os.path.dirname(pin.database.real))  # the log grows there for as long as we read
        if pin.wal_bytes() - wal_at_first > bench.job.wal_growth_bytes:
            raise _StopError(f"the log of {name} grew beyond the limit while it was copied")
        if time.monotonic() > until:
            raise _StopError(f"copying {name} took too long")
        progress(total - remaining, total)

    try:
        with closing(_open(place)) as target:
            target.execute("PRAGMA journal_mode=OFF").close()
            target.execute("PRAGMA synchronous=OFF").close()
            pin.connection().backup(target, pages=_PAGES_PER_STEP, progress=between_steps, sleep=0)
        _compare_counts(pin, place)
    except (_StopError, sqlite3.Error) as error:
        bench.forget_database(name)
        if isinstance(error, sqlite3.Error) and "full" in str(error):
            raise NoRoomError(f"no room for a copy of {name}") from error
        raise AttemptFailedError(f"{name} could not be copied: {error}") from error
    except BaseException:
        bench.forget_database(name)
        raise


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
        with closing(live), closing(_open(place)) as target:
            target.execute("PRAGMA journal_mode=OFF").close()
            live.execute("BEGIN").close()
            live.execute("SELECT count(*) FROM sqlite_master").fetchall()
            live.backup(target, pages=_PAGES_PER_STEP, progress=between_steps, sleep=0)
    except (_StopError, sqlite3.Error) as error:
        return str(error)
    return ""


def _compare_counts(pin: Pin, place: str) -> None:
    """Rows counted inside the transaction and in the copy must be the same; of large databases the newest rows."""
    with closing(_open(place, immutable=True)) as copy:
        statements = ["PRAGMA page_count", "PRAGMA freelist_count"]
        count = _count if os.path.getsize(place) <= _COUNT_IN_PIN_BYTES else _newest
        statements += [count(table) for table in _tables(copy)]
        for statement in statements:
            if _answer(copy, statement) != _answer(pin.connection(), statement):
                raise AttemptFailedError(f"the copy of {pin.database.name} differs from what was pinned")


def _answer(connection: sqlite3.Connection, statement: str) -> str:
    """What a database says; one that is damaged complains here and there alike."""
    try:
        return str(connection.execute(statement).fetchall())
    except sqlite3.DatabaseError as error:
        return str(error)


def recover_copy(place: str) -> None:
    """Let SQLite roll back or recover a raw copy from the journal or log beside it, and leave only the database."""
    if any(os.path.exists(place + suffix) for suffix in ("-wal", "-journal")):
        with closing(_open(place)) as copy:
            copy.execute("SELECT count(*) FROM sqlite_master").fetchall()
            copy.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for suffix in _LEFTOVERS:
        with suppress(FileNotFoundError):
            os.unlink(place + suffix)


def check_copy(place: str, cancel: threading.Event) -> str:
    """What SQLite's quick check says about a copy: "ok", or its first complaints."""
    if journal_mode(_head(place)) == "none":
        return "not a database"
    try:
        with closing(_open(place, immutable=True)) as copy:
            copy.set_progress_handler(cancel.is_set, 100_000)
            rows = copy.execute(f"PRAGMA quick_check({_MOST_COMPLAINTS})").fetchall()
    except sqlite3.Error as error:
        return str(error)
    return " ".join("; ".join(str(row[0]) for row in rows).split())


def count_rows(place: str) -> dict[str, int]:
    """Rows per table; what cannot be counted is left out (the check has said why)."""
    counts: dict[str, int] = {}
    try:
        with closing(_open(place, immutable=True)) as copy:
            for table in _tables(copy):
                with suppress(sqlite3.Error):
                    counts[table] = int(copy.execute(_count(table)).fetchone()[0])
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


def _tables(connection: sqlite3.Connection) -> list[str]:
    """Real tables: virtual ones may need extensions, and their rows are in their shadow tables anyway."""
    statement = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    return [str(row[0]) for row in connection.execute(statement).fetchall()]


def _count(table: str) -> str:
    quoted = table.replace('"', '""')
    return f'SELECT count(*) FROM "{quoted}"'  # noqa: S608  a name cannot be a parameter, and is quoted


def _newest(table: str) -> str:
    quoted = table.replace('"', '""')
    return f'SELECT max(rowid) FROM "{quoted}"'  # noqa: S608  likewise; a table without row ids says so in both


def _open(place: str, *, immutable: bool = False) -> sqlite3.Connection:
    mode = "mode=ro&immutable=1" if immutable else "mode=rw"
    return sqlite3.connect(f"file:{quote(os.fsencode(place))}?{mode}", uri=True, isolation_level=None)
