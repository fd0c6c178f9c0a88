"""Databases that cannot be pinned: copied raw with their log or journal, and proven by marks like any file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from owui_vault.capture.child.classify import Database
from owui_vault.capture.child.errors import AttemptFailedError, SourceChangedError, UnreadableError
from owui_vault.capture.child.marks import Mark, mark_of
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.system.sqlite_format import journal_mode

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


class RawMark(NamedTuple):
    """A database and what SQLite keeps beside it. `head` is its first 100 bytes: the change counter is in them."""

    main: Mark | None
    wal: Mark | None
    journal: Mark | None
    shm: Mark | None
    head: bytes
    journal_lives: bool

    def parts(self) -> tuple[Mark, ...]:
        """Those that exist."""
        return tuple(mark for mark in (self.main, self.wal, self.journal, self.shm) if mark)


def raw_mark(writer: StageWriter, database: Database) -> RawMark:
    """Look at one database that this process never opens through SQLite."""
    real = database.real
    main = mark_of(real)
    journal = mark_of(f"{real}-journal")
    return RawMark(
        main,
        mark_of(f"{real}-wal"),
        journal,
        mark_of(f"{real}-shm"),
        _peek(writer, real, main, 100) if main and main.is_file else b"",
        bool(journal and journal.size and _peek(writer, f"{real}-journal", journal, 1) != b"\0"),
    )


def _peek(writer: StageWriter, path: str, mark: Mark, count: int) -> bytes:
    try:
        descriptor = writer.fences.open(path, mark, os.path.basename(path))
    except UnreadableError:
        return b""  # noted when it is copied
    try:
        return os.pread(descriptor, count, 0)
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class RawCopies:
    """Which databases are raw in the stage, and of which mark."""

    writer: StageWriter
    taken: dict[str, RawMark] = field(default_factory=dict)

    def fence(self, database: Database, mark: RawMark) -> None:
        """Wait for writes on their way to the database, its log and its journal."""
        for suffix, part in (("", mark.main), ("-wal", mark.wal), ("-journal", mark.journal)):
            if part is not None and part.is_file:
                with suppress(UnreadableError):  # noted when it is copied
                    self.writer.fences.wait(database.real + suffix, part, database.name)

    def take(self, database: Database, mark: RawMark, *, once: bool = False) -> None:
        """Copy the database with the name it needs, and beside it what a restart would recover it from.

        With `once` the copy is good for this attempt only: its mark had not settled.
        """
        if self.taken.get(database.name) == mark and database.name not in self.writer.once:
            return
        self.forget(database.name)
        now = self.writer.read_clock()
        self.writer.place_for_database(database.name)
        for suffix, part in (("", mark.main), ("-wal", mark.wal), ("-journal", mark.journal)):
            if part is None or not part.is_file or (suffix and not part.size):
                continue
            try:
                # Ours until it is recovered and checked; it gets its mode and owner then.
                self.writer.copy(database.real + suffix, database.name + suffix, part, ours=True)
            except UnreadableError:
                self.writer.unreadable.add(database.name + suffix)
        self.taken[database.name] = mark
        self.writer.judge(database.name, mark.parts(), now, once=once)

    def forget(self, name: str) -> None:
        """Remove a raw copy from the stage."""
        self.taken.pop(name, None)
        self.writer.forget_database(name)

    def examine(self, databases: Sequence[Database]) -> None:
        """Look at the copies: still of the kind they were taken for, and no journal that depends on another file."""
        for database in databases:
            head = self._read(database.name, 0, 100)
            if head is not None and database.mode != "absent" and journal_mode(head) != database.mode:
                raise AttemptFailedError(f"{database.name} changed its journal mode")
            if self._names_super_journal(f"{database.name}-journal"):
                raise AttemptFailedError(
                    f"the journal of {database.name} belongs to a transaction that spans several databases"
                )

    def changed_since(self, database: Database, before: RawMark) -> None:
        """Raise SourceChangedError if anything moved."""
        if raw_mark(self.writer, database) != before:
            raise SourceChangedError(database.name)

    def _read(self, name: str, offset: int, count: int) -> bytes | None:
        try:
            descriptor = self.writer.inside.open(name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.pread(descriptor, count, offset)
        finally:
            os.close(descriptor)

    def _names_super_journal(self, journal: str) -> bool:
        if not self.writer.inside.has_file(journal):
            return False
        size = self.writer.inside.stat(journal).st_size
        magic = self._read(journal, size - 8, 8) if size >= 28 else None
        return magic == _JOURNAL_MAGIC and self._read(journal, 0, 1) != b"\0"
