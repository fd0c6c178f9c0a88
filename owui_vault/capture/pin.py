"""Read transactions that hold WAL databases at one moment, and watchers that tell whether another process committed.

Only here does the child touch live databases, and only through SQLite.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import quote

from owui_vault.capture.classify import Database
from owui_vault.capture.errors import AttemptFailedError, SourceChangedError
from owui_vault.capture.marks import Mark, mark_of
from owui_vault.capture.settle import wall_ns

_BUSY_SECONDS = 0.05


class Pin:
    """One database. `hold` begins a read transaction; `version` is read beside it, on a connection without one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.marks = self._look()
        self._holder = _connect(database.real)
        self._watcher: sqlite3.Connection | None = None

    def inodes(self) -> set[tuple[int, int]]:
        """The files that this process must never open by itself."""
        return {(mark.device, mark.inode) for mark in self.marks if mark is not None}

    def version(self) -> int:
        """Moves with every commit of somebody else; on a connection of its own, since an open statement freezes it."""
        if self._watcher is None:
            self._watcher = _connect(self.database.real)
        answer = _one(self._watcher, "PRAGMA data_version", self.database.name)
        if self._watcher.in_transaction:
            raise AssertionError("a watcher must never hold a transaction")
        return answer

    def hold(self) -> None:
        """Begin the read transaction; nothing that is committed after the return of this call is seen."""
        _run(self._holder, "BEGIN", self.database.name)
        _one(self._holder, "SELECT count(*) FROM sqlite_master", self.database.name)

    def still_the_same_files(self) -> None:
        """Raise SourceChangedError if the paths lead to other files than the ones that were opened."""
        for before, after in zip(self.marks, self._look(), strict=True):
            if before is None or after is None or (before.device, before.inode) != (after.device, after.inode):
                raise SourceChangedError(self.database.name, "was replaced")

    def connection(self) -> sqlite3.Connection:
        """The connection with the read transaction."""
        return self._holder

    def wal_bytes(self) -> int:
        """How large the write-ahead log is by now."""
        mark = mark_of(f"{self.database.real}-wal")
        return mark.size if mark else 0

    def changed_ns(self) -> int:
        """The last time the database or its log was written to."""
        return max((mark.mtime_ns for mark in self._look()[:2] if mark), default=0)

    def release(self) -> None:
        """End the transaction and close; whoever waits for it goes on."""
        with suppress(sqlite3.Error):
            self._holder.rollback()
        for each in (self._watcher, self._holder):
            if each is not None:
                each.close()

    def _look(self) -> tuple[Mark | None, ...]:
        real = self.database.real
        return tuple(mark_of(path) for path in (real, f"{real}-wal", f"{real}-shm"))


def hold_all(pins: Sequence[Pin]) -> int:
    """Pin all of them at one moment; answers that moment on the wall clock, in nanoseconds.

    The last one is held without a look at its version: its own pin is the moment. The others must not have been
    committed to between their pins and that one.
    """
    earlier = pins[:-1]
    versions = [pin.version() for pin in earlier]
    for pin in pins:
        pin.hold()
    instant_ns = wall_ns()
    for pin, version in zip(earlier, versions, strict=True):
        if pin.version() != version:
            raise AttemptFailedError(f"{pin.database.name} was written to between two pins")
    for pin in pins:
        pin.still_the_same_files()
    return instant_ns


def _connect(real: str) -> sqlite3.Connection:
    # isolation_level None: no transaction but the one that is asked for.
    uri = f"file:{quote(os.fsencode(real))}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, cached_statements=0)


def _run(connection: sqlite3.Connection, statement: str, name: str) -> None:
    try:
        connection.execute(statement).close()
    except sqlite3.DatabaseError as error:
        raise AttemptFailedError(f"{name} cannot be pinned: {error}") from error


def _one(connection: sqlite3.Connection, statement: str, name: str) -> int:
    """One number. The cursor is read to its end and closed: an open one would freeze what this connection sees."""
    try:
        cursor = connection.execute(statement)
        rows = cursor.fetchall()
        cursor.close()
    except sqlite3.DatabaseError as error:
        raise AttemptFailedError(f"{name} cannot be pinned: {error}") from error
    return int(rows[0][0])
