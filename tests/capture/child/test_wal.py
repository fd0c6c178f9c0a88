"""SQLite's log and its index as bytes: what they say is compared with what SQLite itself says."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.sqlite.wal import Commit, bring_in, last_commit

PAGE_SIZES = (512, 4096, 65536)


class Log:
    """An application that writes, its log and its index opened to read, and a copy of the database."""

    def __init__(self, folder: Path, page_bytes: int) -> None:
        self.real, self.copy_path = folder / "live.db", folder / "copy.db"
        self.application = sqlite3.connect(self.real, isolation_level=None)
        self.application.executescript(
            f"PRAGMA page_size={page_bytes}; PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL;"
            "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(n, b); PRAGMA wal_checkpoint(RESTART)"
        )
        self.index = os.open(f"{self.real}-shm", os.O_RDONLY)
        self.log = os.open(f"{self.real}-wal", os.O_RDONLY)
        self.copy_path.write_bytes(self.real.read_bytes())
        self.copy = os.open(self.copy_path, os.O_RDWR)

    def write(self, rows: int, first: int = 0) -> None:
        for number in range(first, first + rows):
            self.application.execute("INSERT INTO t VALUES (?, zeroblob(1000))", (number,))

    def commit(self) -> Commit:
        found = last_commit(self.index)
        assert found is not None
        return found

    def bring_in(self, commit: Commit | None = None, between: Callable[[], None] = lambda: None) -> None:
        bring_in(self.log, self.copy, commit or self.commit(), between)

    def rows(self) -> list[int]:
        with closing(sqlite3.connect(f"file:{self.copy_path}?immutable=1", uri=True)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [row[0] for row in copy.execute("SELECT n FROM t ORDER BY n")]

    def close(self) -> None:
        self.application.close()
        for each in (self.index, self.log, self.copy):
            os.close(each)


@pytest.fixture
def make_log(tmp_path: Path) -> Iterator[Callable[..., Log]]:
    with ExitStack() as made:

        def make(page_bytes: int = 4096) -> Log:
            log = Log(tmp_path, page_bytes)
            made.callback(log.close)
            return log

        yield make


@pytest.mark.parametrize("page_bytes", PAGE_SIZES)
def test_the_index_tells_what_is_committed(make_log: Callable[..., Log], page_bytes: int) -> None:
    log = make_log(page_bytes)
    log.write(3)
    before = log.commit()
    assert before.page_bytes == page_bytes
    assert before.log_bytes == os.fstat(log.log).st_size
    assert before.pages == log.application.execute("PRAGMA page_count").fetchone()[0]
    log.application.execute("BEGIN")
    log.write(5, first=3)
    assert log.commit() == before
    log.application.execute("COMMIT")
    after = log.commit()
    assert after.change == before.change + 1
    assert after.salt == before.salt
    log.application.execute("PRAGMA wal_checkpoint(RESTART)")
    log.write(1, first=8)
    assert log.commit().salt != before.salt
    assert log.commit().frames < after.frames


@pytest.mark.parametrize("page_bytes", PAGE_SIZES)
def test_what_the_log_holds_makes_a_copy_exact(make_log: Callable[..., Log], page_bytes: int) -> None:
    """At any commit, once more at a later one, and for a copy that has pages of later moments, or half of one."""
    log = make_log(page_bytes)
    log.write(40)
    first = log.commit()
    log.write(40, first=40)
    log.bring_in(first)
    assert log.rows() == list(range(40))
    log.application.execute("PRAGMA wal_checkpoint(PASSIVE)")
    before, later = log.copy_path.read_bytes(), log.real.read_bytes()
    torn = bytearray(later)
    for at in range(0, len(before), 1024):
        torn[at : at + 512] = before[at : at + 512]
    log.copy_path.write_bytes(torn)
    log.bring_in(first)
    assert log.rows() == list(range(40))
    log.bring_in()
    assert log.rows() == list(range(80))


def test_a_database_that_became_smaller_is_smaller_in_the_copy(make_log: Callable[..., Log]) -> None:
    """The log still holds pages that are not part of the database any more."""
    log = make_log()
    log.write(200)
    large = log.commit()
    log.bring_in()
    log.application.execute("DELETE FROM t WHERE n > 10")
    small = log.commit()
    assert small.pages < large.pages
    log.bring_in()
    assert log.copy_path.stat().st_size == small.pages * 4096
    assert log.rows() == list(range(11))


def test_an_empty_log_brings_nothing(make_log: Callable[..., Log]) -> None:
    log = make_log()
    log.application.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    commit = log.commit()
    assert (commit.frames, commit.log_bytes) == (0, 0)
    log.bring_in()
    assert log.rows() == []


def test_time_passes_while_a_log_is_brought_in(make_log: Callable[..., Log]) -> None:
    log = make_log()
    log.write(3000)
    looks: list[int] = []
    log.bring_in(between=lambda: looks.append(1))
    assert len(looks) >= 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda commit: replace(commit, salt="00" * 8), "was restarted while it was being copied"),
        (lambda commit: replace(commit, frames=commit.frames + 1), "is shorter than its index says"),
        (lambda commit: replace(commit, frames=commit.frames - 1), "does not end where its index says"),
        (lambda commit: replace(commit, checksum=(1, 2)), "does not end where its index says"),
    ],
)
def test_a_log_that_is_not_the_one_of_the_commit_is_refused(
    make_log: Callable[..., Log], change: Callable[[Commit], Commit], complaint: str
) -> None:
    log = make_log()
    log.write(5)
    before = log.copy_path.read_bytes()
    with pytest.raises(AttemptFailedError, match=complaint):
        log.bring_in(change(log.commit()))
    assert log.copy_path.read_bytes() == before


@pytest.mark.parametrize("place", [0, 8, 12, 16, 20, 24, 32, 40, 48, 95], ids=lambda place: f"byte {place}")
def test_an_index_that_is_being_changed_or_unknown_tells_nothing(
    make_log: Callable[..., Log], tmp_path: Path, place: int
) -> None:
    log = make_log()
    log.write(2)
    content = bytearray(Path(f"{log.real}-shm").read_bytes()[:136])
    content[place] ^= 0x10
    (tmp_path / "index").write_bytes(content)
    index = os.open(tmp_path / "index", os.O_RDONLY)
    assert last_commit(index) is None
    content[(place + 48) % 96] ^= 0x10  # both copies alike: the checksum tells
    os.pwrite(os.open(tmp_path / "index", os.O_WRONLY), content, 0)
    assert last_commit(index) is None
    os.truncate(tmp_path / "index", 50)
    assert last_commit(index) is None
    os.close(index)
