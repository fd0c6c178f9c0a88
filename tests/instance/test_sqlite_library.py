"""Which SQLite a program has loaded is read from what it has mapped, and nobody is led elsewhere by that."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from owui_vault.instance import sqlite_library
from owui_vault.instance.sqlite_library import has_wal_reset_bug, loaded_libraries, notes_on, version_in
from owui_vault.model import SqliteLibrary

SOURCE = b"2024-08-13 09:16:08 c9c2ab54ba1f5f46360f1b4f35d849cd3f080e6fc2b6c60e91b16c63f69a1e33"


@pytest.fixture
def application() -> Iterator[subprocess.Popen[bytes]]:
    """A Python that has its SQLite loaded, as Open WebUI is one."""
    program = "import sqlite3, sys; print(sqlite3.sqlite_version, flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline().decode().strip() == sqlite3.sqlite_version
    yield child
    child.communicate()


def test_the_library_of_a_running_program_tells_its_version(application: subprocess.Popen[bytes]) -> None:
    (library,) = loaded_libraries([application.pid])
    assert library.version == sqlite3.sqlite_version
    assert "sqlite3" in library.path or "python3" in library.path


def test_several_processes_of_one_application_have_one_library(application: subprocess.Popen[bytes]) -> None:
    assert len(loaded_libraries([application.pid, application.pid, os.getpid()])) == 1


def test_a_program_without_sqlite_or_one_that_is_gone_tells_nothing() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert loaded_libraries([child.pid]) == ()
    finally:
        child.kill()
        child.wait()
    assert loaded_libraries([child.pid]) == ()


def test_a_library_that_was_replaced_is_not_mistaken_for_the_one_that_runs(tmp_path: Path) -> None:
    """An upgrade puts another file under the same name; the process still runs the old one."""
    (old,) = loaded_libraries([os.getpid()])
    copy = tmp_path / Path(old.path).name
    shutil.copy(old.path, copy)
    program = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", program, str(copy)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    fresh = tmp_path / "fresh"
    fresh.write_bytes(SOURCE + b"\0" + b"3.99.9\0")
    os.replace(fresh, copy)
    try:
        found = {each.path: each.version for each in loaded_libraries([child.pid])}
        assert found.get(str(copy)) in (None, old.version)
        assert "3.99.9" not in found.values()
    finally:
        child.communicate()


def test_what_lies_at_a_mapped_name_is_opened_only_if_it_is_that_file(tmp_path: Path) -> None:
    fake = tmp_path / "libsqlite3.so.0"
    fake.write_bytes(SOURCE + b"\0" + b"3.99.9\0")
    link, pipe = tmp_path / "link.so", tmp_path / "pipe.so"
    link.symlink_to(fake)
    os.mkfifo(pipe)
    inode = fake.stat().st_ino
    assert sqlite_library._version_in(fake, inode, follow=False) == "3.99.9"
    assert sqlite_library._version_in(fake, inode + 1, follow=False) == ""
    assert sqlite_library._version_in(link, inode, follow=False) == ""
    assert sqlite_library._version_in(pipe, pipe.stat().st_ino, follow=False) == ""


@pytest.mark.parametrize("before", [0, 5, (1 << 20) - 3, (1 << 20) - 100, 3 << 20])
def test_version_and_source_are_found_wherever_they_lie(before: int) -> None:
    text = b"x" * before + b"\0" + b"3.46.1\0" + b"3.12.4\0" + SOURCE + b"\0"
    assert version_in(io.BytesIO(text)) == "3.46.1"
    assert version_in(io.BytesIO(SOURCE + text[:-100] + b"\0" + b"3.46.1\0")) == "3.46.1"


def test_the_number_of_a_python_or_of_anything_else_is_not_taken_for_sqlites() -> None:
    assert version_in(io.BytesIO(b"\0" + b"3.46.1\0")) == ""
    assert version_in(io.BytesIO(SOURCE + b"\0" + b"3.12.4\0" + b"13.46.1\0" + b"3.46.1-rc\0")) == ""


@pytest.mark.parametrize(
    ("version", "is_bad"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.44.7", False),
        ("3.45.0", True),
        ("3.46.1", True),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51.0", True),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.54.1", False),
        ("", False),
        ("3.x", False),
    ],
)
def test_versions_with_the_fault_are_told_from_others(version: str, is_bad: bool) -> None:
    assert has_wal_reset_bug(version) is is_bad
    notes = notes_on([SqliteLibrary(path="/usr/lib/libsqlite3.so.0", version=version)])
    assert bool(notes) is is_bad
    assert all(version in note and "by its version" in note for note in notes)
