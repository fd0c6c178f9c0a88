"""Chroma's store: its collections, and which vectors are lost.

A new vector is in `embeddings_queue` of the SQLite file. After each 1000 of a collection they move to the collection's
HNSW directory, and their queue rows are deleted. A vector that is in `embeddings` but in neither place is lost:
searches give wrong results without any error.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.names import VECTOR_DATABASE, VECTORS
from owui_vault.components.sqlite_files import column_names, open_at_rest
from owui_vault.components.vectors import hnsw
from owui_vault.model import CollectionRecord
from owui_vault.system.patterns import IsLeftOut, nothing

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TABLES = ("collections", "segments", "embeddings", "embeddings_queue")


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorStore:
    """What a vector store holds. `flaws` names what does not belong together, collection by collection."""

    collections: tuple[CollectionRecord, ...] = ()
    flaws: tuple[str, ...] = ()
    migration: str = ""  # "embeddings_queue 2, metadb 6, sysdb 10"
    without_index: tuple[str, ...] = ()  # names of collections whose index was left out on purpose


def read_store(data_dir: Path, is_left_out: IsLeftOut = nothing) -> VectorStore:
    """Read the vector store of a data directory at rest. Raises sqlite3.DatabaseError when its database is damaged."""
    with open_at_rest(data_dir / VECTOR_DATABASE) as connection:
        return read_store_in(connection, data_dir / VECTORS, is_left_out)


def read_store_in(connection: sqlite3.Connection, folder: Path, is_left_out: IsLeftOut = nothing) -> VectorStore:
    """Read the vector store in a directory of its own, whose database is open."""
    missing = [table for table in _TABLES if not column_names(connection, table)]
    if missing:
        return VectorStore(flaws=(f"chroma.sqlite3 lacks the tables {', '.join(missing)}",))
    _collect_queue(connection)
    segments = _segments(connection)
    records, flaws, without = [], [], []
    for row in _collections(connection):
        if _has_no_index(segments.get(row.id, ("", ""))[0], is_left_out):
            records.append(_counted(connection, row, segments))
            without.append(row.name)
            continue
        record, found = _examine(connection, row, folder, segments)
        records.append(record)
        flaws += [f"collection {row.name}: {flaw}" for flaw in found]
    return VectorStore(
        collections=tuple(records),
        flaws=tuple(flaws),
        migration=migration_level(connection),
        without_index=tuple(without),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    name: str
    dimension: int | None


def _collections(connection: sqlite3.Connection) -> list[_Row]:
    rows = connection.execute("SELECT id, name, dimension FROM collections ORDER BY name, id")
    return [
        _Row(str(id_), str(name), dimension if isinstance(dimension, int) else None) for id_, name, dimension in rows
    ]


def _segments(connection: sqlite3.Connection) -> Mapping[str, tuple[str, str]]:
    """Collection id -> ids of its vector and its metadata segment, empty where there is none."""
    found: dict[str, tuple[str, str]] = {}
    for id_, scope, collection in connection.execute("SELECT id, scope, collection FROM segments"):
        vector, metadata = found.get(collection, ("", ""))
        found[collection] = (str(id_), metadata) if scope == "VECTOR" else (vector, str(id_))
    return found


def _collect_queue(connection: sqlite3.Connection) -> None:
    """The queue's ids by collection, indexed, in SQLite's own temporary file: queues can be long."""
    connection.execute(
        "CREATE TEMP TABLE queued (collection TEXT, id TEXT, PRIMARY KEY (collection, id)) WITHOUT ROWID"
    )
    # A topic ends in `/<collection id>`, and such an id has 36 characters.
    connection.execute("INSERT OR IGNORE INTO temp.queued SELECT substr(topic, -36), id FROM embeddings_queue")


def _has_no_index(vector: str, is_left_out: IsLeftOut) -> bool:
    """Whether some file of an index was left out on purpose: what is there of it then says nothing."""
    return bool(vector) and any(is_left_out(f"{VECTORS}/{vector}/{name}") for name in (*hnsw.BINARIES, hnsw.PICKLE))


def _counted(connection: sqlite3.Connection, row: _Row, segments: Mapping[str, tuple[str, str]]) -> CollectionRecord:
    count = _count(connection, segments[row.id][1])
    return CollectionRecord(id=row.id, name=row.name, vectors=count, dimension=row.dimension)


def _examine(
    connection: sqlite3.Connection, row: _Row, folder: Path, segments: Mapping[str, tuple[str, str]]
) -> tuple[CollectionRecord, list[str]]:
    vector, metadata = segments.get(row.id, ("", ""))
    count = _count(connection, metadata)
    unqueued = _count_unqueued(connection, metadata, row.id)
    flaws: list[str] = []
    lost = unqueued
    # A segment id is a folder's name: anything but a UUID would let a row point elsewhere.
    if vector and not _UUID.fullmatch(vector):
        flaws.append("its segment has no proper id")
    elif vector and (folder / vector).is_dir():
        index = hnsw.read_index(folder / vector)
        flaws += index.flaws
        lost = _count_lost(connection, metadata, row.id, index.labels) if unqueued else 0
        if row.dimension and index.dimension and index.dimension != row.dimension:
            flaws.append(
                f"its index holds vectors of {index.dimension} numbers, the collection expects {row.dimension}"
            )
    elif unqueued:
        flaws.append(f"its index directory {vector or 'is unknown'} is missing")
    if lost:
        flaws.append(f"{lost:,} of {count:,} vectors are lost: they are in chroma.sqlite3, but not in its older index")
    return CollectionRecord(id=row.id, name=row.name, vectors=count, lost=lost, dimension=row.dimension), flaws


def _count(connection: sqlite3.Connection, segment: str) -> int:
    (count,) = connection.execute("SELECT count(*) FROM embeddings WHERE segment_id = ?", (segment,)).fetchone()
    return int(count)


_UNQUEUED = """
    FROM embeddings AS e WHERE e.segment_id = ?
    AND NOT EXISTS (SELECT 1 FROM temp.queued AS q WHERE q.collection = ? AND q.id = e.embedding_id)
"""


def _count_unqueued(connection: sqlite3.Connection, segment: str, collection: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) {_UNQUEUED}", (segment, collection)).fetchone()
    return int(count)


def _count_lost(connection: sqlite3.Connection, segment: str, collection: str, labels: Container[str]) -> int:
    rows = connection.execute(f"SELECT e.embedding_id {_UNQUEUED}", (segment, collection))
    return sum(1 for (id_,) in rows if id_ not in labels)


def migration_level(connection: sqlite3.Connection) -> str:
    """How far Chroma has migrated its schema: the highest version of each of its migration folders."""
    if not column_names(connection, "migrations"):
        return ""
    rows = connection.execute("SELECT dir, max(version) FROM migrations GROUP BY dir ORDER BY dir")
    return ", ".join(f"{name} {version}" for name, version in rows)
