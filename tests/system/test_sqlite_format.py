"""What the beginning of a database says is what SQLite does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.components.sqlite_files import read_header
from owui_vault.system.sqlite_format import HEADER_BYTES, journal_mode


@pytest.mark.parametrize(
    ("head", "mode"),
    [
        (b"", "delete"),
        (b"SQLite format 3\0" + bytes(84), "delete"),
        (b"SQLite format 3\0\x10\0\2\2" + bytes(80), "wal"),
        (b"SQLite format 3\0" + bytes(20), "none"),
        (b"something else" * 10, "none"),
    ],
)
def test_the_header_tells_the_journal_mode(head: bytes, mode: str) -> None:
    assert journal_mode(head) == mode


@pytest.mark.parametrize("writers", [1, 2])
@pytest.mark.parametrize("readers", [1, 2])
def test_the_mode_is_the_one_that_sqlite_uses_whatever_the_two_versions_say(
    tmp_path: Path, writers: int, readers: int
) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    content = bytearray(path.read_bytes())
    content[18:20] = bytes((writers, readers))
    path.write_bytes(content)
    with closing(sqlite3.connect(path)) as connection:
        ((used,),) = connection.execute("PRAGMA journal_mode").fetchall()
    assert journal_mode(bytes(content[:HEADER_BYTES])) == used
    assert read_header(path).journal_mode == used
