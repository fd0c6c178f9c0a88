"""The queries that tell one database from another."""

from __future__ import annotations

import sqlite3

from owui_vault.system.sqlite_format import quoted


def tables(connection: sqlite3.Connection) -> list[str]:
    """Real tables: virtual ones may need extensions, and their rows are in their shadow tables anyway."""
    statement = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    return [str(row[0]) for row in connection.execute(statement).fetchall()]


def count_statement(table: str) -> str:
    """The statement that counts all rows."""
    return f"SELECT count(*) FROM {quoted(table)}"  # noqa: S608  a name cannot be a parameter, and is quoted


def newest_statement(table: str) -> str:
    """The statement that finds the newest row; a table without row ids complains."""
    return f"SELECT max(rowid) FROM {quoted(table)}"  # noqa: S608  likewise


def answer(connection: sqlite3.Connection, statement: str) -> str:
    """What a database says; one that is damaged complains here and there alike."""
    try:
        return str(connection.execute(statement).fetchall())
    except sqlite3.DatabaseError as error:
        return str(error)
