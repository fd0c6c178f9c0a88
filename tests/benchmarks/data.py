"""The data of the benchmarks: a grown instance of the real schema, and what a day changes in it."""

from __future__ import annotations

import json
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Of 1,000: what a day does to an instance that is in use.
REWRITTEN_CHATS, NEW_CHATS, NEW_MESSAGES, NEW_UPLOADS = 10, 7, 10, 10
PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a day changed: bytes given to the application; bytes of database pages and new files that differ on disk."""

    given_bytes: int
    disk_bytes: int


def live_a_day(data_dir: Path, chance: random.Random) -> Day:
    """Rewrite some chats, add chats, messages and uploads, and say how much that was."""
    database = data_dir / "webui.db"
    pages = _pages(database)
    with _transaction(database) as connection:
        given = _chats(connection, chance) + _messages(connection, chance)
        uploads = _uploads(connection, data_dir / "uploads", chance)
    _checkpoint(database)
    changed = sum(1 for old, new in _paired(pages, _pages(database)) if old != new) * PAGE_BYTES
    return Day(given_bytes=given + uploads, disk_bytes=changed + uploads)


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def _checkpoint(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _pages(path: Path) -> list[int]:
    _checkpoint(path)
    with open(path, "rb") as file:
        return [hash(page) for page in iter(lambda: file.read(PAGE_BYTES), b"")]


def _paired(old: list[int], new: list[int]) -> Iterator[tuple[int | None, int | None]]:
    for at in range(max(len(old), len(new))):
        yield (old[at] if at < len(old) else None), (new[at] if at < len(new) else None)


def _sample(connection: sqlite3.Connection, table: str, per_mille: int, chance: random.Random) -> list[str]:
    ids = [row[0] for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")]
    return chance.sample(ids, max(1, len(ids) * per_mille // 1000))


def _new_id(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _clone(connection: sqlite3.Connection, table: str, source: str, changes: Mapping[str, object]) -> None:
    """A row like another one, with some columns changed."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    unique = {"share_id"}  # a chat is shared under one address only
    chosen = ", ".join("NULL" if name in unique else f":{name}" if name in changes else name for name in columns)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table} WHERE id = :source",
        {**changes, "source": source},
    )


def _words(chance: random.Random, size: int) -> str:
    return " ".join(f"{chance.getrandbits(28):x}" for _ in range(size // 8))


def _chats(connection: sqlite3.Connection, chance: random.Random) -> int:
    given = 0
    now = int(time.time())
    for chat in _sample(connection, "chat", REWRITTEN_CHATS, chance):
        (text,) = connection.execute("SELECT chat FROM chat WHERE id = ?", (chat,)).fetchone()
        text = json.dumps({**json.loads(text), "added": _words(chance, 800)})
        connection.execute("UPDATE chat SET chat = ?, updated_at = ? WHERE id = ?", (text, now, chat))
        given += len(text)
    for chat in _sample(connection, "chat", NEW_CHATS, chance):
        (text,) = connection.execute("SELECT chat FROM chat WHERE id = ?", (chat,)).fetchone()
        text = json.dumps({**json.loads(text), "title": _words(chance, 200)})
        _clone(connection, "chat", chat, {"id": _new_id(chance), "chat": text, "updated_at": now})
        given += len(text)
    return given


def _messages(connection: sqlite3.Connection, chance: random.Random) -> int:
    given = 0
    for message in _sample(connection, "chat_message", NEW_MESSAGES, chance):
        content = json.dumps(_words(chance, 1500))
        _clone(connection, "chat_message", message, {"id": _new_id(chance), "content": content})
        given += len(content)
    return given


def _uploads(connection: sqlite3.Connection, folder: Path, chance: random.Random) -> int:
    given = 0
    for old in _sample(connection, "file", NEW_UPLOADS, chance):
        (path,) = connection.execute("SELECT path FROM file WHERE id = ?", (old,)).fetchone()
        identity = _new_id(chance)
        name = f"{identity}_bench.bin"
        content = chance.randbytes(chance.randint(20_000, 400_000))
        (folder / name).write_bytes(content)
        meta = json.dumps({"name": "bench.bin", "size": len(content)})
        values = {"id": identity, "path": f"{path.rsplit('/', 1)[0]}/{name}", "filename": "bench.bin", "meta": meta}
        _clone(connection, "file", old, values)
        given += len(content)
    return given
