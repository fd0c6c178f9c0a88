"""A grown Chroma store: collections in the form chromadb 1.5.9 leaves them on disk."""

from __future__ import annotations

import array
import pickle
import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from owui_vault.testing.instances.words import new_id

DIMENSION = 384
_SYNC_THRESHOLD = 1000  # of the vectors of a collection, full thousands are in its index, the rest in the queue
_LINKS = 32
_RECORD = struct.Struct(f"<I{_LINKS}I")
_RECORD_BYTES = _RECORD.size + 4 * DIMENSION + 8
_HEADER = struct.Struct("<i6QiI3QdQ")
_BYTES_PER_VECTOR = 2_600  # index and SQLite together, measured
_LARGE, _SMALL = 12_345, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collection:
    id: str
    vector: str
    metadata: str
    ids: tuple[str, ...]
    first_seq: int


class _VectorSource:
    """Vectors cut from a pool of random floats."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._pool = array.array("f", (chance.uniform(-1, 1) for _ in range(1 << 16))).tobytes()

    def next(self) -> bytes:
        """The bytes of one vector."""
        at = 4 * self._chance.randrange(len(self._pool) // 4 - DIMENSION)
        return self._pool[at : at + 4 * DIMENSION]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    connection: sqlite3.Connection
    folder: Path
    template: Path  # the index directory of a small collection: allocated, empty
    chance: random.Random
    source: _VectorSource


def grow_vectors(
    connection: sqlite3.Connection, folder: Path, chance: random.Random, size_bytes: int, documents: list[str]
) -> None:
    """Add collections: a few large ones with an index, then a small one for each document, all in the queue yet."""
    store = _Store(
        connection=connection,
        folder=folder,
        template=next(each for each in folder.iterdir() if (each / "header.bin").is_file()),
        chance=chance,
        source=_VectorSource(chance),
    )
    left = max(1, size_bytes // _BYTES_PER_VECTOR)
    while left > 0:
        _add_collection(store, new_id(chance), min(left, _LARGE))
        left -= _LARGE
    for document in documents:
        _add_collection(store, f"file-{document}", _SMALL)


def add_large_collection(connection: sqlite3.Connection, folder: Path, *, seed: int, count: int) -> None:
    """Add one collection of `count` vectors, its full thousands in an index of its own."""
    chance = random.Random(seed)
    template = next(each for each in folder.iterdir() if (each / "header.bin").is_file())
    store = _Store(connection=connection, folder=folder, template=template, chance=chance, source=_VectorSource(chance))
    _add_collection(store, f"large-{seed}", count)


def _add_collection(store: _Store, name: str, count: int) -> None:
    (seq,) = store.connection.execute("SELECT coalesce(max(seq_id), 0) + 1 FROM max_seq_id").fetchone()
    collection = _Collection(
        id=new_id(store.chance),
        vector=new_id(store.chance),
        metadata=new_id(store.chance),
        ids=tuple(new_id(store.chance) for _ in range(count)),
        first_seq=seq,
    )
    _insert_collection(store.connection, collection, name)
    _insert_embeddings(store.connection, collection)
    indexed = count - count % _SYNC_THRESHOLD
    _insert_queue(store.connection, collection, store.source, indexed)
    if indexed:
        _write_index(store.folder / collection.vector, collection.ids[:indexed], store.chance, store.source)
    else:
        shutil.copytree(store.template, store.folder / collection.vector, ignore=shutil.ignore_patterns("*.pickle"))


def _insert_collection(connection: sqlite3.Connection, collection: _Collection, name: str) -> None:
    columns = [row[1] for row in connection.execute("PRAGMA table_info(collections)")]
    template = dict(zip(columns, connection.execute("SELECT * FROM collections LIMIT 1").fetchone(), strict=True))
    row = {**template, "id": collection.id, "name": name, "dimension": DIMENSION}
    marks = ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO collections ({', '.join(columns)}) VALUES ({marks})", tuple(row.values()))
    segments = (
        (collection.vector, "urn:chroma:segment/vector/hnsw-local-persisted", "VECTOR", collection.id),
        (collection.metadata, "urn:chroma:segment/metadata/sqlite", "METADATA", collection.id),
    )
    connection.executemany("INSERT INTO segments (id, type, scope, collection) VALUES (?, ?, ?, ?)", segments)
    last = collection.first_seq + len(collection.ids) - 1
    indexed = len(collection.ids) - len(collection.ids) % _SYNC_THRESHOLD
    marks_of = [(collection.metadata, last)] + (
        [(collection.vector, collection.first_seq + indexed - 1)] if indexed else []
    )
    connection.executemany("INSERT INTO max_seq_id (segment_id, seq_id) VALUES (?, ?)", marks_of)


def _insert_embeddings(connection: sqlite3.Connection, collection: _Collection) -> None:
    (first,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM embeddings").fetchone()
    numbered = list(enumerate(collection.ids))
    connection.executemany(
        "INSERT INTO embeddings (id, segment_id, embedding_id, seq_id) VALUES (?, ?, ?, ?)",
        ((first + number, collection.metadata, id_, collection.first_seq + number) for number, id_ in numbered),
    )
    connection.executemany(
        "INSERT INTO embedding_metadata (id, key, string_value, int_value) VALUES (?, ?, ?, ?)",
        _metadata(first, numbered),
    )
    connection.executemany(
        "INSERT INTO embedding_fulltext_search (rowid, string_value) VALUES (?, ?)",
        ((first + number, f"part {number} {id_[:8]}") for number, id_ in numbered),
    )


def _metadata(first: int, numbered: list[tuple[int, str]]) -> Iterator[tuple[object, ...]]:
    for number, id_ in numbered:
        yield first + number, "chroma:document", f"part {number} {id_[:8]}", None
        yield first + number, "source", f"document-{id_[:13]}.txt", None
        yield first + number, "start_index", None, 1000 * number


def _insert_queue(connection: sqlite3.Connection, collection: _Collection, source: _VectorSource, indexed: int) -> None:
    topic = f"persistent://default/default/{collection.id}"
    connection.executemany(
        "INSERT INTO embeddings_queue (seq_id, operation, topic, id, vector, encoding, metadata)"
        " VALUES (?, 0, ?, ?, ?, 'FLOAT32', '{}')",
        (
            (collection.first_seq + number, topic, id_, source.next())
            for number, id_ in enumerate(collection.ids)
            if number >= indexed
        ),
    )


def _write_index(folder: Path, ids: tuple[str, ...], chance: random.Random, source: _VectorSource) -> None:
    """The five files of an index whose elements are all on the lowest level."""
    folder.mkdir()
    count = len(ids)
    capacity = 1 << (count - 1).bit_length()
    label_at = _RECORD_BYTES - 8
    links_and_search = (_LINKS // 2, _LINKS, _LINKS // 2, 0.36067376, 100)
    header = _HEADER.pack(1, 0, capacity, count, _RECORD_BYTES, label_at, _RECORD.size, 0, 0, *links_and_search)
    (folder / "header.bin").write_bytes(header)
    neighbours = [chance.randrange(count) for _ in range(4096 + _LINKS)]
    with (folder / "data_level0.bin").open("wb") as level0:
        for label in range(1, count + 1):
            at = chance.randrange(4096)
            links = _RECORD.pack(_LINKS, *neighbours[at : at + _LINKS])
            level0.write(links + source.next() + label.to_bytes(8, "little"))
    (folder / "length.bin").write_bytes(array.array("f", [11.0]).tobytes() * count)
    (folder / "link_lists.bin").write_bytes(bytes(4 * count))
    labels = {id_: label for label, id_ in enumerate(ids, 1)}
    known = {
        "dimensionality": None,
        "total_elements_added": count,
        "max_seq_id": None,
        "id_to_label": labels,
        "label_to_id": {label: id_ for id_, label in labels.items()},
        "id_to_seq_id": {},
    }
    (folder / "index_metadata.pickle").write_bytes(pickle.dumps(known, protocol=3))
