"""Read transactions on WAL databases, in a process that opens nothing but these (`pin_process`).

As long as one of them is open, SQLite never restarts the WAL, so every change since the first of them is in it. One
that stays open for long would also keep the application from checkpointing, and make it do all of that in one commit
afterwards; so each is followed by a later one before it ends.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from urllib.parse import quote

from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.fences import wall_ns
from owui_vault.capture.child.sqlite.statements import answer, count_statement, newest_statement, tables
from owui_vault.capture.child.sqlite.wal import Commit, last_commit
from owui_vault.system.filesystem import open_to_read

_BUSY_SECONDS = 0.05
_FRAMES_PER_TURN = 1000  # after as many SQLite's own checkpoints come, unless the application chose otherwise
_COUNT_IN_PIN_BYTES = 32 << 20


class Pin:
    """One database, held from its making to `release`. Raises AttemptFailedError where that is not possible."""

    def __init__(self, name: str, real: str, growth_bytes: int) -> None:
        self.name = name
        self.lost = ""
        self._growth_bytes = growth_bytes
        self._salt = ""
        with ExitStack() as undone:
            self._index = open_to_read(f"{real}-shm")
            undone.callback(os.close, self._index)  # last: to close it drops the locks of this process
            self._holding, self._spare, self._reference = (_connect(real, undone) for _ in range(3))
            self._begin(self._holding)
            self._first = self._seen = self.commit()
            self._held = undone.pop_all()

    def commit(self) -> Commit:
        """The last commit. Raises AttemptFailedError."""
        until = time.monotonic() + _BUSY_SECONDS
        while (found := last_commit(self._index)) is None:
            if time.monotonic() > until:
                raise AttemptFailedError(f"{self.name} cannot be pinned: its WAL index cannot be read")
            time.sleep(0.0005)
        return found

    def follow_if_due(self) -> None:
        """Hold it at a later commit, once there were many; the log's growth has its limit.

        A transaction may only follow one of an earlier commit: SQLite lets one begin that does not hold the log when
        all of the log is in the database, and that cannot be while another holds it at an earlier commit.
        """
        if self.lost:
            return
        try:
            now = last_commit(self._index)
            if now is not None:
                self._look_after(now)
        except (OSError, sqlite3.Error) as error:  # the disk, for example: what is held is not known any more
            self._lose(f"{self.name} can no longer be pinned: {error}")

    def _look_after(self, now: Commit) -> None:
        same = now.salt == self._seen.salt
        before = self._first.log_bytes if now.salt == self._first.salt else 0
        if now.log_bytes - before > self._growth_bytes:
            self._lose(f"the WAL of {self.name} grew beyond the limit while it was being copied")
        elif now.frames - (self._seen.frames if same else 0) >= _FRAMES_PER_TURN:
            with suppress(AttemptFailedError):  # somebody is in the way: at the next look
                self._follow()

    def _follow(self) -> None:
        self._begin(self._spare)
        try:
            now = self.commit()
        except AttemptFailedError:
            self._spare.rollback()
            raise
        self.refuse_another_log(now)
        self._holding.rollback()
        self._holding, self._spare = self._spare, self._holding
        self._salt, self._seen = now.salt, now

    def refuse_another_log(self, now: Commit) -> None:
        """Let it go if the log was restarted since the first turn."""
        # Before the first turn it may be restarted once, when all of it was in the database as the pin was made:
        # nothing can be brought in from the new one then until that turn.
        if self._salt not in ("", now.salt):
            self._lose(f"the WAL of {self.name} was restarted while it was pinned")

    def require_held(self) -> None:
        """Raise AttemptFailedError if it is not held any more."""
        if self.lost:
            raise AttemptFailedError(self.lost)

    def begin_reference(self) -> None:
        """Begin the transaction that says what the database held at the moment."""
        self._begin(self._reference)

    def end_reference(self) -> None:
        """End that transaction."""
        self._reference.rollback()

    def reference_answers(self) -> dict[str, str]:
        """Statements, and what they answer at the moment. In small databases all rows are counted."""
        statements = ["PRAGMA page_count", "PRAGMA freelist_count"]
        (pages,), (size,) = (
            self._reference.execute(f"PRAGMA {each}").fetchone() for each in ("page_count", "page_size")
        )
        count = count_statement if pages * size <= _COUNT_IN_PIN_BYTES else newest_statement
        statements += [count(table) for table in tables(self._reference)]
        return {statement: answer(self._reference, statement) for statement in statements}

    def release(self) -> None:
        """Let it go for good."""
        self._held.close()

    def _lose(self, reason: str) -> None:
        self.lost = reason
        for each in (self._holding, self._spare, self._reference):
            with suppress(sqlite3.Error):
                each.rollback()

    def _begin(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN").close()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.DatabaseError as error:
            with suppress(sqlite3.Error):
                connection.rollback()
            raise AttemptFailedError(f"{self.name} cannot be pinned: {error}") from error


def at_one_moment(pins: Sequence[Pin]) -> tuple[int, list[Commit]]:
    """The last commit of each at one moment, with a witness each, and that moment in nanoseconds of the wall clock.

    Whoever commits between the two looks at all of them moves one. Raises AttemptFailedError.
    """
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        for pin in pins:
            pin.end_reference()
            pin.require_held()
        before = [pin.commit() for pin in pins]
        for pin in pins:
            pin.begin_reference()
        instant_ns = wall_ns()
        after = [pin.commit() for pin in pins]
        if before == after:
            break
        if time.monotonic() > until:
            moved = next(pin.name for pin, one, other in zip(pins, before, after, strict=True) if one != other)
            raise AttemptFailedError(f"{moved} was written to between two pins")
    for pin, commit in zip(pins, after, strict=True):
        pin.refuse_another_log(commit)
        pin.require_held()
    return instant_ns, after


def _connect(real: str, undone: ExitStack) -> sqlite3.Connection:
    # isolation_level None: no transaction but the one that is asked for.
    uri = f"file:{quote(os.fsencode(real))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, cached_statements=0)
    undone.callback(_let_go, connection)
    return connection


def _let_go(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        connection.rollback()
    connection.close()
