"""Whose locks are seen: the application's own, or only those of somebody else who has the database open."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.capture.child import classify as classifying
from owui_vault.capture.child.classify import Database, classify, in_short_process
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.sharing import describe, holders_in, judged
from owui_vault.system.filesystem import open_to_read

OPENER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM t").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "webui.db")) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t(n)")
    return tmp_path / "webui.db"


@pytest.fixture
def opener(database: Path) -> Iterator[Callable[[], int]]:
    """`opener()`: the pid of a program that has the database open."""
    children: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        argv = [sys.executable, "-c", OPENER, str(database)]
        children.append(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert children[-1].stdout is not None
        assert children[-1].stdout.readline()
        return children[-1].pid

    yield start
    for each in children:
        each.communicate()


def looked_at(database: Path, *processes: int) -> Database:
    job = Job(
        data_dir=str(database.parent),
        work_dir=str(database.parent / "work"),
        databases=(database.name,),
        write_once=(),
        links=(),
        exclude=(),
        include=(),
        reserve_bytes=0,
        wal_growth_bytes=0,
        processes=processes,
    )
    (found,) = classify(job)
    return found


def test_a_lock_of_the_applications_own_is_enough(database: Path, opener: Callable[[], int]) -> None:
    application = opener()
    found = looked_at(database, application)
    assert found.pinnable
    assert f"process {application}" in found.holder


def test_a_lock_of_somebody_else_is_none(database: Path, opener: Callable[[], int]) -> None:
    """The application may run in a virtual machine, where no lock of it is seen from here."""
    stranger = opener()
    found = looked_at(database, os.getpid())
    assert not found.pinnable
    assert f"process {stranger}" in found.obstacle
    assert "not by Open WebUI" in found.obstacle


@pytest.mark.parametrize("first", [True, False])
def test_among_several_the_applications_own_is_found(database: Path, opener: Callable[[], int], first: bool) -> None:
    """The kernel names only one of them to whoever asks."""
    application, stranger = opener(), opener()
    if not first:
        application, stranger = stranger, application
    found = looked_at(database, application)
    assert found.pinnable, found.obstacle
    assert f"process {application}" in found.holder


def test_where_the_applications_processes_are_not_known_whoever_holds_it_is_believed(
    database: Path, opener: Callable[[], int]
) -> None:
    assert looked_at(database).obstacle == "no process has it open"
    holder = opener()
    assert f"process {holder}" in looked_at(database).holder


def test_the_kernels_list_is_read() -> None:
    locks = (
        "1: POSIX  ADVISORY  READ 812 fd:00:131 128 128\n"
        "2: POSIX  ADVISORY  WRITE 813 08:01:131 0 EOF\n"
        "2: -> POSIX  ADVISORY  WRITE 814 08:01:131 100 200\n"
        "3: FLOCK  ADVISORY  WRITE 815 08:01:131 0 EOF\n"
        "4: POSIX  ADVISORY  READ 816 08:01:131 120 127\n"
        "5: POSIX  ADVISORY  READ 817 08:01:132 128 128\n"
    )
    assert holders_in(locks, 131, 128) == [812, 813, 814]


def test_where_the_kernels_list_cannot_be_read_somebody_elses_lock_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without /proc/locks: nothing then says that the application is among the holders."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refuse)
    found = judged(812, 131, 128, (813,))
    assert found == {"obstacle": "its locks are shared by process 812, but not by Open WebUI"}


def test_a_holder_that_is_gone_or_cannot_be_named_is_still_told() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert describe(child.pid) == f"process {child.pid}"
    assert describe(0) == "a process of another namespace"
    assert describe(os.getpid()).startswith(f"process {os.getpid()} (")


def test_a_log_index_that_cannot_be_opened_forbids_the_pin(
    database: Path, opener: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    opener()
    opened = open_to_read

    def refuse(path: str) -> int:
        if path.endswith("-shm"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path)

    monkeypatch.setattr(classifying, "open_to_read", refuse)
    assert looked_at(database).obstacle == "its -shm cannot be opened: Permission denied"


def test_a_log_index_that_cannot_be_written_forbids_the_pin(
    database: Path, opener: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite marks its place in it; on a mount that is read-only here a reader is not seen by the application."""
    opener()
    monkeypatch.setattr(os, "access", lambda path, mode: not (path.endswith("-shm") and mode == os.W_OK))
    assert looked_at(database).obstacle == "its -shm is not writable here"


def test_a_directory_or_a_pipe_in_place_of_a_database_is_told_and_not_waited_for(tmp_path: Path) -> None:
    for make in (Path.mkdir, os.mkfifo):
        make(tmp_path / "webui.db")
        found = looked_at(tmp_path / "webui.db")
        assert (found.mode, found.obstacle, found.pinnable) == ("none", "is not a file", False)
        (tmp_path / "webui.db").rmdir() if make is Path.mkdir else (tmp_path / "webui.db").unlink()


def test_a_short_process_that_fails_is_no_empty_answer() -> None:
    def fail() -> list[int]:
        raise ValueError

    assert in_short_process(lambda: [1, 2]) == [1, 2]
    with pytest.raises(RuntimeError, match="could not be examined"):
        in_short_process(fail)
