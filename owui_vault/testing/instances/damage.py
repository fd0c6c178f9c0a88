"""Damage as it occurs in the field, for tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def lose_an_index_entry(database: Path, index: str) -> None:
    """Add a copy of a table's last row without telling one of its indexes: what SQLite's quick check passes.

    The table must allow it: no other unique index than its primary key, which must be an INTEGER or absent.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        query = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master WHERE name = ?"
        entry = connection.execute(query, (index,)).fetchone()
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", (index,))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{entry[2]}")') if not row[5]]
        names = ", ".join(f'"{name}"' for name in columns)
        connection.execute(
            f'INSERT INTO "{entry[2]}" ({names}) SELECT {names} FROM "{entry[2]}" ORDER BY rowid DESC LIMIT 1'
        )
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", entry)
