"""Grown instances are sound, of the size that was asked for, and the same for the same seed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.components.database.facts import file_rows
from owui_vault.components.sqlite_files import open_at_rest, row_counts
from owui_vault.components.uploads import UploadFindings, check_uploads, sha256_of
from owui_vault.manifest.health import examine
from owui_vault.testing.instances.generate import VERSIONS, grow_instance, unpack_instance


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_small_instances_are_as_their_servers_left_them(tmp_path: Path) -> None:
    newer, older = (unpack_instance(version, tmp_path / version) for version in VERSIONS)
    assert (newer / "webui.db-wal").stat().st_size == 4_165_352
    assert not (older / "webui.db-wal").exists()
    assert (newer.parent / ".webui_secret_key").stat().st_size == 32


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_a_grown_instance_is_sound(tmp_path: Path, version: str) -> None:
    data_dir = grow_instance(tmp_path, size_bytes=30_000_000, seed=1, version=version)
    assert size_of(data_dir) == pytest.approx(30_000_000, rel=0.35)
    found = examine(data_dir)
    assert (found.broken, found.problems, found.warnings) == ((), (), ())
    with open_at_rest(data_dir / "webui.db") as connection:
        assert check_uploads(file_rows(connection), data_dir / "uploads", hash_of=sha256_of) == UploadFindings()
    assert max(record.vectors for record in found.collections) > 2000
    for name in ("webui.db", "vector_db/chroma.sqlite3"):
        with open_at_rest(data_dir / name) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not list(data_dir.glob("webui.db-*"))


def test_the_same_seed_makes_the_same_instance(tmp_path: Path) -> None:
    trees = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        data_dir = grow_instance(tmp_path / name, size_bytes=3_000_000, seed=seed)
        with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
            rows = connection.execute("SELECT id, chat FROM chat ORDER BY id").fetchall()
            counts = row_counts(connection)
        trees.append((sorted(path.name for path in (data_dir / "uploads").iterdir()), rows, counts))
    assert trees[0] == trees[1]
    assert trees[0] != trees[2]
