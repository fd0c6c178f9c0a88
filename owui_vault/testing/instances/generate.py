"""Real Open WebUI data directories for tests, demos and benchmarks: unpacked, and grown to any size.

The two archives in `examples/data` were filled through the API of the real server. A grown instance has their schema,
with cloned rows, uploads and vectors that belong together: `examine` finds nothing wrong with it.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from owui_vault.testing.instances.vectors import grow_vectors
from owui_vault.testing.instances.words import Prose, new_id

VERSIONS = {"0.12.4": "instance-small.tar.gz", "0.6.43": "instance-0.6.tar.gz"}
_EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "data"

_DATABASE_SHARE, _VECTOR_SHARE = 0.2, 0.2
_UPLOAD_BYTES = 400_000
_MESSAGES_PER_CHAT = 10
_CHATS_PER_BATCH = 100


def unpack_instance(version: str, target: Path) -> Path:
    """Unpack a small real instance (a key of `VERSIONS`) into `target`; returns its data directory.

    Beside it lies `.webui_secret_key`. The 0.12.4 one was stopped with a WAL that matters. Raises FileNotFoundError
    outside a checkout of the repository.
    """
    archive = _EXAMPLES / VERSIONS[version]
    if not archive.is_file():
        raise FileNotFoundError(f"{archive} is missing: it comes with the repository, not with the package")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(target, filter="data")
        else:  # before 3.11.4; the archives are our own
            tar.extractall(target)
    return target / "data"


def grow_instance(target: Path, *, size_bytes: int, seed: int, version: str = "0.12.4") -> Path:
    """Unpack an instance into `target` and let it grow to about `size_bytes`; returns its data directory.

    A fifth of it is `webui.db`, a fifth `vector_db/`, the rest uploads, most of them incompressible. The same seed
    gives the same instance, but for times of files.
    """
    data_dir = unpack_instance(version, target)
    chance = random.Random(seed)
    prose = Prose(chance)
    with _bulk(data_dir / "webui.db") as connection:
        documents = _grow_uploads(
            connection, data_dir, chance, prose, round(size_bytes * (1 - _DATABASE_SHARE - _VECTOR_SHARE))
        )
        _grow_chats(connection, chance, prose, round(size_bytes * _DATABASE_SHARE))
    with _bulk(data_dir / "vector_db" / "chroma.sqlite3") as connection:
        grow_vectors(connection, data_dir / "vector_db", chance, round(size_bytes * _VECTOR_SHARE), documents)
    return data_dir


@contextmanager
def _bulk(path: Path) -> Iterator[sqlite3.Connection]:
    """One large transaction, fast rather than durable; a WAL is gone afterwards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def clone(
    connection: sqlite3.Connection, table: str, changes: Mapping[str, object], rows: Iterator[tuple[object, ...]]
) -> None:
    """Insert rows like the table's first one; `changes` names the columns that `rows` fill, in order."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    template = connection.execute(f'SELECT * FROM "{table}" ORDER BY rowid LIMIT 1').fetchone()
    fixed = {name: value for name, value in zip(columns, template, strict=True) if name not in changes}
    filled = [name for name in changes if name in columns]
    places = [list(changes).index(name) for name in filled]
    names = ", ".join(f'"{name}"' for name in (*filled, *fixed))
    marks = ", ".join("?" * (len(filled) + len(fixed)))
    constant = tuple(fixed.values())
    connection.executemany(
        f'INSERT INTO "{table}" ({names}) VALUES ({marks})', ((*(row[at] for at in places), *constant) for row in rows)
    )


def _grow_uploads(
    connection: sqlite3.Connection, data_dir: Path, chance: random.Random, prose: Prose, size_bytes: int
) -> list[str]:
    """Uploads and their rows; answers the ids of the documents among them, which have vectors."""
    documents: list[str] = []
    app_uploads = connection.execute("SELECT path FROM file LIMIT 1").fetchone()[0].rpartition("/")[0]

    def rows() -> Iterator[tuple[object, ...]]:
        written = 0
        while written < size_bytes:
            id_, is_text = new_id(chance), chance.random() < 1 / 3
            content = (
                prose.text(chance.randrange(2 * _UPLOAD_BYTES)).encode()
                if is_text
                else chance.randbytes(chance.randrange(2 * _UPLOAD_BYTES))
            )
            name = f"{id_}_{'document.txt' if is_text else 'picture.bin'}"
            (data_dir / "uploads" / name).write_bytes(content)
            written += len(content)
            if is_text:
                documents.append(id_)
            yield _file_row(id_, name, content, app_uploads)

    columns = dict.fromkeys(("id", "filename", "meta", "hash", "data", "path"))
    clone(connection, "file", columns, rows())
    return documents


def _file_row(id_: str, name: str, content: bytes, folder: str) -> tuple[object, ...]:
    digest = hashlib.sha256(content).hexdigest()
    meta = {
        "name": name,
        "content_type": "application/octet-stream",
        "size": len(content),
        "file_hash": digest,
        "data": {},
    }
    return id_, name, json.dumps(meta), digest, '{"status": "completed", "content": ""}', f"{folder}/{name}"


def _grow_chats(connection: sqlite3.Connection, chance: random.Random, prose: Prose, size_bytes: int) -> None:
    has_messages = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chat_message'").fetchone()
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    while connection.execute("PRAGMA page_count").fetchone()[0] * page_bytes < size_bytes:
        messages: list[tuple[object, ...]] = []
        chats = [_chat_rows(chance, prose, messages) for _ in range(_CHATS_PER_BATCH)]
        clone(
            connection,
            "chat",
            dict.fromkeys(("id", "title", "chat", "created_at", "updated_at", "share_id")),
            iter(chats),
        )
        if has_messages:
            clone(
                connection,
                "chat_message",
                dict.fromkeys(("id", "chat_id", "role", "content", "created_at")),
                iter(messages),
            )


def _chat_rows(chance: random.Random, prose: Prose, messages: list[tuple[object, ...]]) -> tuple[object, ...]:
    """One row of `chat`; its messages are added to the list."""
    id_, created = new_id(chance), 1_700_000_000 + chance.randrange(50_000_000)
    history: dict[str, object] = {}
    for number in range(_MESSAGES_PER_CHAT):
        message, role, content = (
            new_id(chance),
            ("user", "assistant")[number % 2],
            prose.text(chance.randrange(200, 2_000)),
        )
        history[message] = {"id": message, "role": role, "content": content, "timestamp": created + number}
        messages.append((f"{id_}-{message}", id_, role, json.dumps(content), created + number))
    chat = {"title": prose.text(40), "models": ["fake-chat"], "history": {"messages": history, "currentId": message}}
    return id_, chat["title"], json.dumps(chat), created, created, None
