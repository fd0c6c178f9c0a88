"""Walks over data that move, and what is told of what cannot be looked at."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.capture.child.errors import SourceChangedError
from owui_vault.capture.child.main import job_from
from owui_vault.capture.child.marks import Walk, is_database


@pytest.fixture
def walk(tmp_path: Path) -> Callable[..., Walk]:
    """`walk(exclude=[...])`: over the directory `data`, with one database in the plan."""
    (tmp_path / "data").mkdir()

    def make(*, tolerant: bool = False, **changes: object) -> Walk:
        job: dict[str, object] = {key: [] for key in ("write_once", "links", "exclude", "include")}
        places = {"data_dir": str(tmp_path / "data"), "work_dir": str(tmp_path / "work"), "databases": ["webui.db"]}
        limits = {"reserve_bytes": 0, "wal_growth_bytes": 0}
        return Walk(job_from({"job": {**job, **places, **limits, **changes}}), tolerant=tolerant)

    return make


def test_an_entry_that_vanishes_during_a_walk_is_a_change(walk: Callable[..., Walk], tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / "data" / name).write_text(name)
    entries = iter(walk())
    assert [next(entries)[0] for _ in range(2)] == ["", "a"]
    (tmp_path / "data" / "b").unlink()
    with pytest.raises(SourceChangedError, match="b disappeared while it was being examined"):
        next(entries)


def test_a_tolerant_walk_leaves_out_what_vanished_and_goes_on(walk: Callable[..., Walk], tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / "data" / name).write_text(name)
    entries = iter(walk(tolerant=True))
    assert [next(entries)[0] for _ in range(2)] == ["", "a"]
    (tmp_path / "data" / "b").unlink()
    assert [name for name, _ in entries] == ["c"]


@pytest.mark.parametrize("instead", [False, True], ids=["gone", "a file by now"])
def test_a_directory_that_vanishes_before_it_is_listed(
    walk: Callable[..., Walk], tmp_path: Path, instead: bool
) -> None:
    """A change for a walk that proves, an empty directory for a tolerant one."""
    folder = tmp_path / "data" / "folder"
    (tmp_path / "data" / "last").write_text("x")
    folder.mkdir()
    strict, tolerant = iter(walk()), iter(walk(tolerant=True))
    for entries in (strict, tolerant):
        assert [next(entries)[0] for _ in range(2)] == ["", "folder"]
    folder.rmdir()
    if instead:
        folder.write_text("a file")
    assert [name for name, _ in tolerant] == ["last"]
    with pytest.raises(SourceChangedError, match="folder disappeared while it was being listed"):
        next(strict)


def test_a_file_where_only_a_directory_could_hold_what_is_included_is_left_out(
    walk: Callable[..., Walk], tmp_path: Path
) -> None:
    (tmp_path / "data" / "logs").mkdir()
    (tmp_path / "data" / "logs" / "keep").write_text("not the folder of this name")
    (tmp_path / "data" / "other").write_text("x")
    assert [name for name, _ in walk(exclude=["logs"], include=["logs/keep/this"])] == ["", "other"]
    (tmp_path / "data" / "logs" / "keep").unlink()
    (tmp_path / "data" / "logs" / "keep").mkdir()
    (tmp_path / "data" / "logs" / "keep" / "this").write_text("x")
    found = [name for name, _ in walk(exclude=["logs"], include=["logs/keep/this"])]
    assert found == ["", "logs", "logs/keep", "logs/keep/this", "other"]


def test_a_lack_of_our_own_is_not_called_an_unreadable_source(
    walk: Callable[..., Walk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors, a directory would look empty, and the snapshot complete but for a remark."""
    (tmp_path / "data" / "folder").mkdir()
    number = errno.EIO
    scandir = os.scandir

    def fail(path: str | int) -> object:  # by a descriptor: pytest, when it tidies up
        if str(path).endswith("folder"):
            raise OSError(number, os.strerror(number), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    broken = walk()
    assert [name for name, _ in broken] == ["", "folder"]
    assert broken.unreadable == {"folder"}
    number = errno.EMFILE
    with pytest.raises(OSError, match="Too many open files"):
        list(walk(tolerant=True))


def test_only_a_file_with_one_name_is_taken_for_a_database(tmp_path: Path) -> None:
    """Opening and closing another name of a pinned one would drop the pin."""
    path = tmp_path / "one.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t(n)")
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "text").write_text("no database")
    assert is_database(str(path))
    assert not is_database(str(tmp_path / "link.db"))
    assert not is_database(str(tmp_path / "text"))
    assert not is_database(str(tmp_path / "nowhere"))
    assert not is_database(str(tmp_path))
    os.link(path, tmp_path / "two.db")
    assert not is_database(str(path))


def test_shared_memory_belongs_to_a_database_only(walk: Callable[..., Walk], tmp_path: Path) -> None:
    """Beside a real database it is left out; a file that is merely named so is kept."""
    with closing(sqlite3.connect(tmp_path / "data" / "other.db")) as connection:
        connection.execute("CREATE TABLE t(n)")
    (tmp_path / "data" / "other.db-shm").write_text("x")
    (tmp_path / "data" / "notes-shm").write_text("x")
    assert [name for name, _ in walk()] == ["", "notes-shm", "other.db"]
