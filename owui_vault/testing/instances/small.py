"""The smallest Open WebUI data directory: for tests that need many of them, quickly."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

State = dict[str, str]


def make_small_instance(data_dir: Path) -> None:
    """The tables by their names, one user, a folder of uploads, a vector store without a database."""
    (data_dir / "uploads").mkdir(parents=True)
    (data_dir / "vector_db").mkdir()
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        for table in ("auth", "chat"):
            connection.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, text TEXT)")
        connection.execute("CREATE TABLE user (id TEXT PRIMARY KEY, created_at INTEGER)")
        connection.execute("CREATE TABLE file (id TEXT PRIMARY KEY, path TEXT, meta TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('aaaaaaaaaaaa')")
        connection.execute("INSERT INTO user VALUES ('u1', 1)")
        connection.commit()


def use_small_instance(data_dir: Path, text: str) -> None:
    """Write a chat, and an upload with its row."""
    name = f"{uuid.uuid4()}_note.txt"
    (data_dir / "uploads" / name).write_bytes(text.encode())
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        connection.execute("INSERT INTO chat VALUES (?, ?)", (str(uuid.uuid4()), text))
        connection.execute("INSERT INTO file VALUES (?, ?, NULL)", (name, f"{data_dir}/uploads/{name}"))
        connection.commit()


def state_of_small_instance(data_dir: Path) -> State:
    """Everything it holds: chats by id, uploads by name."""
    with closing(sqlite3.connect(f"file:{data_dir / 'webui.db'}?immutable=1", uri=True)) as connection:
        chats = dict(connection.execute("SELECT id, text FROM chat"))
    return chats | {path.name: path.read_bytes().decode() for path in (data_dir / "uploads").iterdir()}
