"""SQLite's full check finds what the quick one passes, harms nothing, and is led nowhere else."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from owui_vault.capture.child.sqlite.recovery import check_copy
from owui_vault.components.database import full_check_main
from owui_vault.components.database.full_check import NO_TIME, check_in_full
from owui_vault.model import CURED, FullCheck
from owui_vault.testing.instances.damage import lose_an_index_entry

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def make_database(path: Path, rows: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, chat TEXT, text TEXT)")
        connection.execute("CREATE INDEX ix_message_chat ON message (chat)")
        connection.executemany(
            "INSERT INTO message (chat, text) VALUES (?, ?)", ((f"c{n}", "x" * 200) for n in range(rows))
        )
        connection.commit()
    return path


def listing(tree: Path) -> dict[str, tuple[int, int, int, bytes]]:
    found = {}
    for path in tree.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def wanted(tree: Path, name: str) -> FullCheck:
    return FullCheck(path=name, sha256=hashlib.sha256((tree / name).read_bytes()).hexdigest(), at=NOW)


def check(tree: Path, *names: str, folder: Path) -> tuple[FullCheck, ...]:
    folder.mkdir(exist_ok=True)
    return check_in_full(tree, [wanted(tree, name) for name in names], folder, cancel=threading.Event())


def test_an_index_that_lost_a_row_is_named_and_reindex_cures_it(tmp_path: Path) -> None:
    place = make_database(tmp_path / "tree" / "webui.db")
    lose_an_index_entry(place, "ix_message_chat")
    assert check_copy(str(place), threading.Event()) == "ok"
    (found,) = check(tmp_path / "tree", "webui.db", folder=tmp_path / "scratch")
    assert found.is_damaged
    assert not found.is_sound
    assert found.indexes == ("ix_message_chat",)
    assert any("wrong # of entries in index ix_message_chat" in each for each in found.complaints), found.complaints
    assert found.reindex == CURED
    assert list((tmp_path / "scratch").iterdir()) == []


def test_sound_ones_are_sound_and_nothing_changes(tmp_path: Path) -> None:
    make_database(tmp_path / "tree" / "webui.db")
    store = make_database(tmp_path / "tree" / "vector_db" / "chroma.sqlite3")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for path in (store, store.parent):
        path.chmod(0o500)
    before = listing(tmp_path / "tree")
    found = check(tmp_path / "tree", "webui.db", "vector_db/chroma.sqlite3", folder=tmp_path / "scratch")
    assert [each.is_sound for each in found] == [True, True], found
    assert listing(tmp_path / "tree") == before


def test_damage_that_no_reindex_cures_is_said_so(tmp_path: Path) -> None:
    place = make_database(tmp_path / "tree" / "webui.db", rows=2000)
    with closing(sqlite3.connect(place)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with place.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    (found,) = check(tmp_path / "tree", "webui.db", folder=tmp_path / "scratch")
    assert found.is_damaged
    assert found.reindex not in ("", CURED)


def test_a_link_in_place_of_a_copy_or_of_its_folder_is_not_followed(tmp_path: Path) -> None:
    live = make_database(tmp_path / "live" / "chroma.sqlite3")
    tree = tmp_path / "tree"
    make_database(tree / "webui.db")
    make_database(tree / "vector_db" / "chroma.sqlite3")
    records = [wanted(tree, "webui.db"), wanted(tree, "vector_db/chroma.sqlite3")]
    (tree / "webui.db").unlink()
    (tree / "webui.db").symlink_to(live)
    (tree / "vector_db").rename(tree / "gone")
    (tree / "vector_db").symlink_to(live.parent)
    (tmp_path / "scratch").mkdir()
    found = check_in_full(tree, records, tmp_path / "scratch", cancel=threading.Event())
    assert [bool(each.not_done) for each in found] == [True, True]
    assert not any(each.is_sound or each.is_damaged for each in found)


def test_what_is_exchanged_between_our_look_and_sqlites_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite goes by the name that a descriptor leads to."""
    place, other = make_database(tmp_path / "webui.db"), make_database(tmp_path / "other.db", rows=3)
    connect = sqlite3.connect

    def late(*arguments: object, **options: object) -> sqlite3.Connection:
        os.replace(other, place)
        return connect(f"file:{place}?mode=ro&immutable=1", uri=True)

    descriptor = os.open(place, os.O_RDONLY)
    monkeypatch.setattr(sqlite3, "connect", late)
    try:
        with pytest.raises(full_check_main.UndoneError, match="replaced"):
            full_check_main.complaints_about(descriptor)
    finally:
        os.close(descriptor)


def test_it_is_given_up_at_once_and_what_was_found_by_then_counts(tmp_path: Path) -> None:
    place = make_database(tmp_path / "tree" / "webui.db", rows=60_000)
    make_database(tmp_path / "tree" / "small.db")
    small, large = wanted(tmp_path / "tree", "small.db"), wanted(tmp_path / "tree", "webui.db")
    cancel = threading.Event()
    (tmp_path / "scratch").mkdir()
    found = check_in_full(
        place.parent,
        [small, large],
        tmp_path / "scratch",
        on_ended=lambda _: cancel.set(),
        cancel=cancel,
    )
    assert found[0].is_sound
    assert found[1].not_done == NO_TIME


def test_what_is_no_database_any_more_is_damage(tmp_path: Path) -> None:
    place = tmp_path / "tree" / "webui.db"
    place.parent.mkdir()
    place.write_bytes(b"noise" * 4000)
    (found,) = check(tmp_path / "tree", "webui.db", folder=tmp_path / "scratch")
    assert found.is_damaged
    assert found.complaints == ("file is not a database",)


def test_no_room_for_a_copy_is_said_and_the_damage_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_database(tmp_path / "webui.db")
    monkeypatch.setattr(full_check_main, "_SPARE_BYTES", 1 << 62)
    descriptor = os.open(place, os.O_RDONLY)
    try:
        assert full_check_main.try_reindex(descriptor, str(tmp_path)).startswith("not tried: it needs")
    finally:
        os.close(descriptor)
