"""Verify finds what a restore would miss, in words."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import Call, DataDirectory, Repository, Secret, Vault
from owui_vault.testing.directory_engine import DirectoryEngine


class Store:
    """A repository that holds one whole snapshot of a real instance, and takes spoiled ones under its label."""

    def __init__(self, folder: Path, data_dir: Path) -> None:
        self.folder = folder
        self.engine = DirectoryEngine(folder / "repository", Secret("x"))
        self.vault = Vault(DataDirectory(data_dir), [Repository("nas", self.engine)], state_dir=folder / "state")
        self.vault.initialize()
        self.whole = self.vault.snapshot()
        self.tree = folder / "tree"
        self.vault.restore("latest", self.tree, app_data_dir=self.vault.manifest("latest").application.data_dir)

    def spoiled(self, spoil: Callable[[Path], object]) -> tuple[str, ...]:
        """What verify says of the same snapshot, stored once more from a spoiled tree."""
        spoil(self.tree / "data")
        (newest,) = self.vault.snapshots()
        assert newest.label
        call = Call(folder=self.folder)
        self.engine.store(self.tree, replace(newest.label, sequence=newest.label.sequence + 1), call)
        return self.vault.verify("latest").problems


@pytest.fixture
def store(tmp_path: Path, small_instance: Callable[[Path], Path]) -> Store:
    small_instance(tmp_path / "instance")
    return Store(tmp_path, next((tmp_path / "instance").rglob("webui.db")).parent)


def first(folder: Path) -> Path:
    return min(path for path in folder.iterdir() if path.is_file())


def index(data: Path) -> Path:
    return min(path for path in (data / "vector_db").iterdir() if path.is_dir())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    status = path.stat()
    path.write_bytes(content)
    assert path.stat().st_size == status.st_size


def drop_a_chat(data: Path) -> None:
    with closing(sqlite3.connect(data / "webui.db")) as connection:
        connection.execute("DELETE FROM chat WHERE id = (SELECT id FROM chat LIMIT 1)")
        connection.commit()


def test_a_whole_one_is_right_and_written_into_the_ledger(store: Store) -> None:
    report = store.vault.verify()
    assert report.ok, report.problems
    assert store.vault.snapshots()[0].verified_at is not None
    assert store.vault.verify("latest", read_data=1.0).ok
    ledger = store.vault.snapshot().manifest.ledger  # type: ignore[union-attr]
    assert [(entry.snapshot, entry.ok) for entry in ledger] == [(store.whole.id, True)] * 2


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: first(data / "uploads").unlink(), "upload"),
        (lambda data: flip(data / "webui.db"), "webui.db is not what was stored"),
        (drop_a_chat, "webui.db"),
        (lambda data: flip(index(data) / "data_level0.bin"), "data_level0.bin is not what was stored"),
        (lambda data: (index(data) / "data_level0.bin").write_bytes(b"short"), "cut short"),
        (lambda data: shutil.rmtree(index(data)), "is missing"),
        (lambda data: (data / "vector_db" / "chroma.sqlite3").unlink(), "chroma.sqlite3 is missing"),
    ],
)
def test_what_differs_is_found_and_named(store: Store, spoil: Callable[[Path], object], words: str) -> None:
    problems = store.spoiled(spoil)
    assert any(words in problem for problem in problems), problems


def test_a_flipped_byte_in_the_repository_is_found_when_data_are_read(store: Store) -> None:
    largest = max((store.folder / "repository/objects").iterdir(), key=lambda path: path.stat().st_size)
    flip(largest)
    assert not store.vault.verify("latest", read_data=1.0).ok


def test_a_missing_object_of_the_repository_is_found(store: Store) -> None:
    for path in (store.folder / "repository/objects").iterdir():
        path.unlink()
    problems = store.vault.verify().problems
    assert any("missing" in problem for problem in problems)
