"""Lost vectors are counted exactly, and half an index is never taken for a whole one."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.components.vectors.chroma import read_store

Mix = Callable[[str, str], Path]
Folder = Callable[[Path], Path]


def test_real_small_stores_have_no_flaw(at_rest: Path) -> None:
    store = read_store(at_rest)
    assert store.flaws == ()
    assert {record.dimension for record in store.collections} == {384}
    assert sum(record.vectors for record in store.collections) in (63, 65)
    assert store.migration.startswith("embeddings_queue 2, metadb ")


@pytest.mark.parametrize(
    ("database", "index", "vectors", "lost"),
    [
        ("a", "a", 1500, 0),
        ("b", "b", 2600, 0),
        ("c", "c", 3700, 0),
        ("a", "b", 1500, 0),  # a newer index holds all of an older database
        ("a", "c", 1500, 0),
        ("b", "a", 2600, 999),
        ("c", "a", 3700, 1999),
        ("c", "b", 3700, 999),
    ],
)
def test_an_older_index_loses_exactly_what_the_queue_forgot(
    mixed: Mix, database: str, index: str, vectors: int, lost: int
) -> None:
    store = read_store(mixed(database, index))
    (record,) = store.collections
    assert (record.vectors, record.dimension) == (vectors, 4)
    assert record.lost == lost
    assert bool(store.flaws) == bool(lost)
    if lost:
        assert "collection knowledge: " in store.flaws[0]
        assert "are lost" in store.flaws[-1]


def test_a_missing_index_directory_is_found(mixed: Mix, index_folder: Folder) -> None:
    data_dir = mixed("b", "b")
    index_folder(data_dir).rename(data_dir / "elsewhere")
    store = read_store(data_dir)
    assert store.collections[0].lost == 1999
    assert "is missing" in store.flaws[0]


def test_a_missing_pickle_is_found(mixed: Mix, index_folder: Folder) -> None:
    data_dir = mixed("b", "b")
    (index_folder(data_dir) / "index_metadata.pickle").unlink()
    store = read_store(data_dir)
    assert store.collections[0].lost == 1999
    assert "index_metadata.pickle of its index is missing" in store.flaws[0]


@pytest.mark.parametrize(
    "name", ["header.bin", "data_level0.bin", "length.bin", "link_lists.bin", "index_metadata.pickle"]
)
def test_every_file_cut_short_is_found(mixed: Mix, index_folder: Folder, name: str) -> None:
    data_dir = mixed("b", "b")
    path = index_folder(data_dir) / name
    for kept in (path.stat().st_size - 1, path.stat().st_size // 2, 1, 0):
        path.write_bytes(path.read_bytes()[:kept])
        assert read_store(data_dir).flaws, f"{name} cut to {kept} bytes was not noticed"


@pytest.mark.parametrize("name", ["header.bin", "data_level0.bin", "length.bin", "link_lists.bin"])
def test_every_missing_binary_is_found(mixed: Mix, index_folder: Folder, name: str) -> None:
    data_dir = mixed("b", "b")
    (index_folder(data_dir) / name).unlink()
    assert f"its index lacks {name}" in read_store(data_dir).flaws[0]


@pytest.mark.parametrize("name", ["header.bin", "data_level0.bin", "index_metadata.pickle"])
def test_one_file_of_another_moment_is_found(mixed: Mix, moments: Path, index_folder: Folder, name: str) -> None:
    for other in ("a", "c"):
        data_dir = mixed("b", "b")
        folder = index_folder(data_dir)
        (folder / name).write_bytes((moments / other / folder.name / name).read_bytes())
        assert read_store(data_dir).flaws, f"{name} of moment {other} was not noticed"
        for each in data_dir.rglob("*"):
            if each.is_file():
                each.unlink()
        data_dir.rename(data_dir.with_name(f"done-{other}"))


def test_an_index_of_another_dimension_is_found(mixed: Mix) -> None:
    data_dir = mixed("b", "b")
    with closing(sqlite3.connect(data_dir / "vector_db" / "chroma.sqlite3")) as connection:
        connection.execute("UPDATE collections SET dimension = 384")
        connection.commit()
    assert "vectors of 4 numbers, the collection expects 384" in read_store(data_dir).flaws[0]


def test_an_unknown_header_version_is_a_flaw_and_no_crash(mixed: Mix, index_folder: Folder) -> None:
    data_dir = mixed("b", "b")
    header = index_folder(data_dir) / "header.bin"
    header.write_bytes(struct.pack("<i", 2) + header.read_bytes()[4:])
    assert "unknown format" in read_store(data_dir).flaws[0]


@pytest.mark.parametrize("id_", ["../../../etc", "/etc", "", "x\n" * 40, "..", "vector_db"])
def test_a_hostile_segment_id_leads_nowhere(mixed: Mix, id_: str) -> None:
    data_dir = mixed("b", "b")
    with closing(sqlite3.connect(data_dir / "vector_db" / "chroma.sqlite3")) as connection:
        connection.execute("UPDATE segments SET id = ? WHERE scope = 'VECTOR'", (id_,))
        connection.commit()
    store = read_store(data_dir)
    assert store.collections[0].lost == 1999
    assert store.flaws


def test_a_left_over_directory_is_harmless(mixed: Mix) -> None:
    data_dir = mixed("b", "b")
    (data_dir / "vector_db" / "00000000-0000-4000-8000-000000000000").mkdir()
    assert read_store(data_dir).flaws == ()


def test_reading_leaves_no_trace(mixed: Mix) -> None:
    data_dir = mixed("b", "b")
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    read_store(data_dir)
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")} == before


def test_a_truncated_database_is_an_error_that_can_be_caught(mixed: Mix) -> None:
    data_dir = mixed("b", "b")
    path = data_dir / "vector_db" / "chroma.sqlite3"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(sqlite3.DatabaseError):
        read_store(data_dir)


def test_a_store_without_tables_is_a_flaw(tmp_path: Path) -> None:
    (tmp_path / "vector_db").mkdir()
    with closing(sqlite3.connect(tmp_path / "vector_db" / "chroma.sqlite3")) as connection:
        connection.execute("CREATE TABLE collections (id TEXT)")
        connection.commit()
    assert "lacks the tables segments, embeddings, embeddings_queue" in read_store(tmp_path).flaws[0]
