"""A short process that looks at a living instance's databases and ends: `python -m owui_vault.instance.probe_main`.

It is a process of its own because closing any descriptor of a database drops every lock its process holds on it, and
the library may live inside a program that has it open. Nothing is opened for writing, no file is left behind:

- a WAL database with its `-wal` and `-shm` is read through SQLite, read-only, as any reader does;
- anything else is read without locks (`immutable`), and the result counts only if nothing was written meanwhile;
- if a WAL or a journal would have to be applied first, that happens on a private copy.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from owui_vault.components.database.first_facts import alembic_head, fingerprint, has_local_uploads
from owui_vault.components.names import DATABASE, VECTOR_DATABASE
from owui_vault.components.sqlite_files import beside, connect, read_header, table_names
from owui_vault.model.json_codec import Json, to_json

# Most runs look at the identity alone, and pay for nothing else.
# ruff: noqa: PLC0415

IDENTITY, FACTS = "identity", "facts"
_TRIES = 10
_PAUSE_SECONDS = 0.02
_OF_OPEN_WEBUI = frozenset({"user", "chat", "auth"})

_NOTHING: dict[str, Json] = {
    "facts": None,
    "ours": None,
    "unread": "",
    "damage": "",
    "vectors": None,
    "vectors_unread": "",
}

Read = TypeVar("Read")


class UnreadableError(Exception):
    """A database that could not be read without disturbing it; the text says why."""


def main(arguments: list[str]) -> int:
    """Print what is seen as one JSON object.

    Arguments: data directory, how much, and the directory of the vector store.
    """
    data_dir, depth, vectors = Path(arguments[0]), arguments[1], Path(arguments[2])
    places = {DATABASE: data_dir / DATABASE, VECTOR_DATABASE: vectors / Path(VECTOR_DATABASE).name}
    databases = {name: _look(place) for name, place in places.items()}
    seen: dict[str, Json] = {"databases": to_json(databases), **_NOTHING}
    if _is_sqlite(databases[DATABASE]):
        seen |= _read_database(data_dir / DATABASE, depth)
    if depth == FACTS and _is_sqlite(databases[VECTOR_DATABASE]):
        seen |= _read_vectors(vectors)
    sys.stdout.write(json.dumps(seen) + "\n")
    return 0


def _is_sqlite(look: dict[str, Json]) -> bool:
    header = look.get("header")
    return isinstance(header, dict) and header["is_sqlite"] is True


def _look(path: Path) -> dict[str, Json]:
    """What is at a database's place, without opening it through SQLite."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return {"state": "not a file"}
        header = read_header(path)
    except FileNotFoundError:
        return {"state": "dangling link" if path.is_symlink() else "missing"}
    except OSError as error:
        return {"state": error.strerror or "unreadable"}
    real = path.resolve()
    return {
        "state": "file",
        "header": to_json(header),
        "wal_bytes": _size(beside(real, "-wal")),
        "shm": beside(real, "-shm").exists(),
        "journal_bytes": _size(beside(real, "-journal")),
    }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read_database(path: Path, depth: str) -> dict[str, Json]:
    try:
        facts, ours = read_live(path, _all_facts if depth == FACTS else _identity)
    except (UnreadableError, OSError) as error:
        return {"unread": str(error)}
    except sqlite3.DatabaseError as error:
        return {"damage": str(error)}
    return {"facts": facts, "ours": ours}


def _identity(connection: sqlite3.Connection) -> tuple[Json, bool]:
    """Some of the fields of `DatabaseFacts`."""
    facts: dict[str, Json] = {
        "fingerprint": fingerprint(connection),
        "alembic_head": alembic_head(connection),
        "has_local_uploads": has_local_uploads(connection),
    }
    return facts, set(table_names(connection)) >= _OF_OPEN_WEBUI


def _all_facts(connection: sqlite3.Connection) -> tuple[Json, bool]:
    from owui_vault.components.database.facts import facts_of

    return to_json(facts_of(connection)), set(table_names(connection)) >= _OF_OPEN_WEBUI


def _read_vectors(vectors: Path) -> dict[str, Json]:
    from owui_vault.components.vectors.chroma import VectorStore, read_store_in

    path = (vectors / Path(VECTOR_DATABASE).name).resolve()
    try:
        store: VectorStore = _between_writes(path, lambda: _read_at_rest(path, lambda it: read_store_in(it, vectors)))
    except (UnreadableError, OSError, sqlite3.DatabaseError) as error:
        return {"vectors_unread": str(error)}
    return {"vectors": {"collections": to_json(store.collections), "migration": store.migration}}


def read_live(path: Path, read: Callable[[sqlite3.Connection], Read]) -> Read:
    """Call `read` with a connection that shows a living database, and disturb nobody.

    Raises UnreadableError when the database never rests, sqlite3.DatabaseError when it is damaged.
    """
    real = path.resolve()
    if read_header(real).journal_mode == "wal" and beside(real, "-wal").exists() and beside(real, "-shm").exists():
        try:
            with closing(connect(real, "mode=ro")) as connection:
                return read(connection)
        except sqlite3.OperationalError:
            pass  # no right to map the shared memory, or locked exclusively: a copy tells as well
    if not _size(beside(real, "-wal")):
        try:
            return _between_writes(real, lambda: _read_at_rest(real, read))
        except UnreadableError:
            pass  # a journal that stays: a crash left it, and only a copy can roll it back
    return _read_copy(real, read)


def _read_at_rest(path: Path, read: Callable[[sqlite3.Connection], Read]) -> Read:
    with closing(connect(path, "mode=ro&immutable=1")) as connection:
        return read(connection)


def _between_writes(path: Path, read: Callable[[], Read]) -> Read:
    """The answer of `read` once nobody wrote while it was given."""
    for _ in range(_TRIES):
        before = _marks(path)
        if not _size(beside(path, "-journal")):
            try:
                answer, error = read(), None
            except sqlite3.DatabaseError as damage:
                answer, error = None, damage
            if _marks(path) == before:
                if error is not None:
                    raise error
                return answer  # type: ignore[return-value]  # None only together with an error
        time.sleep(_PAUSE_SECONDS)
    raise UnreadableError(f"{path.name} is being written without pause")


def _marks(path: Path) -> tuple[tuple[int, ...], ...]:
    marks: list[tuple[int, ...]] = []
    for each in (path, beside(path, "-wal"), beside(path, "-journal")):
        try:
            status = each.stat()
        except FileNotFoundError:
            marks.append(())
        else:
            marks.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(marks)


def _read_copy(path: Path, read: Callable[[sqlite3.Connection], Read]) -> Read:
    """Copy the database with its WAL or journal as they are, and read the copy."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="owui-vault-") as folder:
        copy = Path(folder) / path.name
        needed = sum(_size(each) for each in (path, beside(path, "-wal"), beside(path, "-journal")))
        if shutil.disk_usage(folder).free < needed * 1.1:
            raise UnreadableError(
                f"{path.name} can only be read from a copy, and {folder} has no room for {needed:,} bytes"
            )
        for _ in range(_TRIES):
            before = _marks(path)
            _copy_all(path, copy)
            if _marks(path) == before:
                with closing(connect(copy, "mode=rw")) as connection:
                    return read(connection)
            time.sleep(_PAUSE_SECONDS)
    raise UnreadableError(f"{path.name} is being written without pause")


def _copy_all(path: Path, copy: Path) -> None:
    from shutil import copyfile

    copyfile(path, copy)
    for suffix in ("-wal", "-journal"):
        beside(copy, suffix).unlink(missing_ok=True)
        with suppress(FileNotFoundError):  # a journal goes with its transaction, between two looks as well
            copyfile(beside(path, suffix), beside(copy, suffix))


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
