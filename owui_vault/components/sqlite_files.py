"""SQLite files as files: headers, names beside them, and connections that leave no trace."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from owui_vault.system.sqlite_door import open_database
from owui_vault.system.sqlite_format import HEADER_BYTES, MAGIC, SIDE_SUFFIXES, journal_mode, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first 100 bytes of a SQLite file, as far as they matter here."""

    is_sqlite: bool
    journal_mode: str = ""  # "wal" or "delete", which stands for every rollback mode
    page_size: int = 0
    pages: int = 0  # 0: the header does not say
    size_bytes: int = 0

    @property
    def missing_bytes(self) -> int:
        """How many bytes the file is shorter than its header says; only meaningful without a WAL or journal."""
        return max(0, self.pages * self.page_size - self.size_bytes)


def parse_header(head: bytes, size_bytes: int) -> Header:
    """Understand the beginning of a file. Anything that is not SQLite's answers `is_sqlite=False`."""
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        return Header(is_sqlite=False, size_bytes=size_bytes)
    (page_size,) = struct.unpack_from(">H", head, 16)
    changes, pages = struct.unpack_from(">II", head, 24)
    (valid_for,) = struct.unpack_from(">I", head, 92)
    return Header(
        is_sqlite=True,
        journal_mode=journal_mode(head),
        page_size=65536 if page_size == 1 else page_size,
        pages=pages if changes == valid_for else 0,  # SQLite's own rule for trusting this field
        size_bytes=size_bytes,
    )


def read_header(path: Path) -> Header:
    """Read a header by a plain open.

    Never call this for a live database in a process that also has it open through SQLite: closing any
    descriptor of a file drops all POSIX locks the process holds on it.
    """
    with path.open("rb") as file:
        return parse_header(file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size)


def beside(path: Path, suffix: str) -> Path:
    """The `-wal`, `-shm` or `-journal` of a database."""
    return path.with_name(path.name + suffix)


def strays(path: Path) -> tuple[Path, ...]:
    """Those of the three that are beside a database that should stand alone."""
    return tuple(each for each in (beside(path, suffix) for suffix in SIDE_SUFFIXES) if os.path.lexists(each))


def sqlite_uri(path: Path, options: str) -> str:
    """A `file:` address, right for every name a file can have."""
    return f"file:{quote(os.fsencode(path.absolute()))}?{options}"


def connect(path: Path, options: str) -> sqlite3.Connection:
    """A connection to a live database, or to a copy in a place nobody else may write to.

    In autocommit mode; it survives undecodable text. Of a database at rest `open_at_rest` is the way.
    """
    connection = sqlite3.connect(sqlite_uri(path, options), uri=True, isolation_level=None, timeout=1.0)
    connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    return connection


@contextmanager
def open_at_rest(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a database nobody writes to: no lock is taken, no file appears, a WAL or journal is not looked at."""
    with closing(open_database(path, "mode=ro&immutable=1")) as connection:
        yield connection


def library_version() -> str:
    """The SQLite that reads, copies and checks here."""
    return sqlite3.sqlite_version


def table_names(connection: sqlite3.Connection) -> tuple[str, ...]:
    """All tables, SQLite's own left out, sorted."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return tuple(sorted(name for (name,) in rows))


def column_names(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """The columns of a table; empty when there is none of that name."""
    return frozenset(row[1] for row in connection.execute(f"PRAGMA table_info({quoted(table)})"))


def count_rows(connection: sqlite3.Connection, table: str) -> int:
    """How many rows a table has."""
    (count,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()  # noqa: S608 - the name is quoted
    return int(count)


def row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows per table. A table that cannot be read (a virtual one whose module is missing, say) is left out."""
    counts = {}
    for name in table_names(connection):
        try:
            counts[name] = count_rows(connection, name)
        except sqlite3.OperationalError:
            continue
    return counts
