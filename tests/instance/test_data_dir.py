"""Finding a data directory: a fitting hint for each mistake, and nothing live is disturbed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from owui_vault.errors import InstanceNotFoundError
from owui_vault.instance.data_dir import FACTS, directory_at, probe_instance


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """Names, bytes, modes, owners and mtimes, but for the shared memory every reader marks."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        mark = (status.st_mode, status.st_uid, status.st_gid, status.st_ino)
        changing = () if path.name.endswith("-shm") else (status.st_mtime_ns, status.st_size, content)
        found[str(path)] = (*mark, *changing)
    return found


def hint_of(path: Path) -> tuple[str, str]:
    with pytest.raises(InstanceNotFoundError) as caught:
        probe_instance(path)
    assert caught.value.exit_code == 2
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("depth", ["identity", "facts"])
def test_looking_at_a_stopped_instance_changes_nothing(left: Path, depth: str) -> None:
    before = everything(left.parent)
    probe = probe_instance(left, depth=depth)
    assert everything(left.parent) == before
    assert probe.data_dir == left
    assert len(probe.fingerprint) == 16
    assert probe.warnings == ()
    assert probe.damage == ""


def test_the_wal_is_seen(tmp_path: Path, left: Path) -> None:
    probe = probe_instance(left, depth=FACTS)
    assert probe.facts is not None
    assert probe.facts.tables["chat"] in (20, 23)
    assert probe.facts.tables["function"] == 1
    assert probe.store is not None
    assert sum(each.vectors for each in probe.store.collections) in (63, 65)


def test_a_wal_without_shared_memory_is_read_from_a_copy(left: Path) -> None:
    (left / "webui.db-shm").unlink(missing_ok=True)
    before = everything(left)
    probe = probe_instance(left, depth=FACTS)
    assert probe.facts is not None
    assert probe.facts.tables["function"] == 1
    assert everything(left) == before


def test_a_cold_wal_database_gets_no_side_files(newest: Path) -> None:
    before = everything(newest)
    assert probe_instance(newest).fingerprint
    assert everything(newest) == before
    assert not (newest / "webui.db-wal").exists()


def test_a_crashed_rollback_database_is_rolled_back_on_a_copy_only(tmp_path: Path, newest: Path) -> None:
    database = newest / "webui.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    crash = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('UPDATE chat SET title = hex(randomblob(2000))'); c.execute('DELETE FROM user')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", crash, str(database)], check=False)
    assert (newest / "webui.db-journal").stat().st_size > 0
    before = everything(newest)
    probe = probe_instance(newest, depth=FACTS)
    assert probe.facts is not None
    assert probe.facts.tables["user"] == 4
    assert everything(newest) == before


@contextmanager
def writer(database: Path) -> Iterator[None]:
    """A process that commits without a pause."""
    program = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)\n"
        "n = 0\n"
        "while True:\n"
        "    c.execute('UPDATE chat SET updated_at = updated_at + 1'); n += 1\n"
        "    if n == 3: print('ready', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(database)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline()
        yield
        assert child.poll() is None, "the writer failed while it was looked at"
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def test_a_busy_instance_is_read_or_said_not_to_be(left: Path, soak: Callable[[int], int]) -> None:
    with writer(left / "webui.db"):
        for _ in range(soak(20)):
            probe = probe_instance(left)
            assert probe.fingerprint or "written without pause" in probe.warnings[0]
            assert probe.damage == ""


def test_a_process_that_has_the_database_open_keeps_its_locks(left: Path) -> None:
    """The library may live in the very program that writes: a raw open in its process would drop its locks."""
    with closing(sqlite3.connect(left / "webui.db", isolation_level=None, timeout=0.1)) as ours:
        ours.execute("BEGIN IMMEDIATE")
        probe_instance(left)
        ask = "import sqlite3, sys\nsqlite3.connect(sys.argv[1], timeout=0.1).execute('BEGIN IMMEDIATE')"
        asked = subprocess.run(
            [sys.executable, "-c", ask, str(left / "webui.db")], capture_output=True, check=False, text=True
        )
        assert "database is locked" in asked.stderr
        ours.execute("ROLLBACK")


def test_missing(tmp_path: Path) -> None:
    message, hint = hint_of(tmp_path / "nothing")
    assert "does not exist" in message
    assert "mounted" in hint


def test_empty(tmp_path: Path) -> None:
    message, hint = hint_of(tmp_path)
    assert "is empty" in message
    assert "mounted" in hint


def test_empty_but_for_our_own_stage(tmp_path: Path) -> None:
    (tmp_path / ".owui-vault").mkdir()
    assert "is empty" in hint_of(tmp_path)[0]


def test_not_open_webuis(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    message, hint = hint_of(tmp_path)
    assert "is not a data directory of Open WebUI" in message
    assert "docker inspect" in hint


@pytest.mark.parametrize("below", ["data", "_data", "backend/data", "open_webui/data"])
def test_one_level_too_high(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / below / "webui.db").touch()
    assert hint_of(tmp_path)[1] == f"Did you mean {tmp_path / below}?"


def test_the_file_instead_of_its_directory(newest: Path) -> None:
    message, hint = hint_of(newest / "webui.db")
    assert "is not a directory" in message
    assert str(newest) in hint


def test_the_database_is_missing(newest: Path) -> None:
    (newest / "webui.db").unlink()
    message, hint = hint_of(newest)
    assert "webui.db is missing" in message
    assert "DATABASE_URL" in hint


def test_the_database_is_a_dangling_link(newest: Path) -> None:
    (newest / "webui.db").unlink()
    (newest / "webui.db").symlink_to("/nowhere/webui.db")
    message, _hint = hint_of(newest)
    assert "symlink to /nowhere/webui.db" in message


def test_the_database_is_a_directory(newest: Path) -> None:
    (newest / "webui.db").unlink()
    (newest / "webui.db").mkdir()
    assert "not a file" in hint_of(newest)[0]


def test_the_database_is_a_fifo_and_nobody_waits(newest: Path) -> None:
    (newest / "webui.db").unlink()
    os.mkfifo(newest / "webui.db")
    assert "not a file" in hint_of(newest)[0]


def ruin_of(path: Path) -> str:
    """What is said of a ruined database: damage where there is content to save, an error where there is none."""
    probe = probe_instance(path)
    assert probe.facts is None
    shutil.rmtree(path / "uploads")
    shutil.rmtree(path / "vector_db")
    assert hint_of(path)[0] == probe.damage
    return probe.damage


@pytest.mark.parametrize("content", [b"hello", b"x" * 5000, b"SQLite format 3\0", b"SQLite format 3\0" + bytes(50)])
def test_the_database_is_not_sqlite(newest: Path, content: bytes) -> None:
    (newest / "webui.db").write_bytes(content)
    assert "is not a SQLite database" in ruin_of(newest)


def test_the_database_is_empty(newest: Path) -> None:
    (newest / "webui.db").write_bytes(b"")
    assert "webui.db is empty" in ruin_of(newest)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_the_database_is_cut_short(newest: Path, share: float) -> None:
    whole = (newest / "webui.db").read_bytes()
    (newest / "webui.db").write_bytes(whole[: int(len(whole) * share)])
    assert "is cut short" in ruin_of(newest)


def test_a_database_damaged_inside_is_found_but_said_to_be_damaged(newest: Path) -> None:
    whole = bytearray((newest / "webui.db").read_bytes())
    whole[100:4096] = b"\xff" * (4096 - 100)
    (newest / "webui.db").write_bytes(whole)
    probe = probe_instance(newest)
    assert "webui.db is damaged" in probe.damage
    assert probe.fingerprint == ""


def test_somebody_elses_sqlite(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "webui.db")) as connection:
        connection.execute("CREATE TABLE feed (id)")
        connection.commit()
    assert "not Open WebUI's" in hint_of(tmp_path)[0]


def test_no_vector_store_is_a_warning(newest: Path) -> None:
    shutil.rmtree(newest / "vector_db")
    shutil.rmtree(newest / "uploads")
    probe = probe_instance(newest)
    assert "there is no vector store" in probe.no_store
    assert "no directory uploads" in probe.warnings[0]


def test_a_vector_store_that_is_not_sqlite_is_a_warning(newest: Path) -> None:
    (newest / "vector_db" / "chroma.sqlite3").write_bytes(b"x" * 500)
    assert "chroma.sqlite3 is not a SQLite database" in probe_instance(newest).warnings[0]


def test_symlinks_to_the_data_are_followed(newest: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("webui.db", "vector_db", "uploads"):
        (newest / name).rename(tmp_path / "elsewhere" / name)
        (newest / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "link").symlink_to(newest)
    probe = probe_instance(tmp_path / "link", depth=FACTS)
    assert probe.data_dir == newest
    assert probe.warnings == ()
    assert probe.store is not None
    assert probe.store.collections


@pytest.mark.parametrize(
    "name", ["a b", "q?x=1", "100%", "#1", "{a,b}", "new\nline", "it's", "ü", os.fsdecode(b"raw-\xff")]
)
def test_every_name_a_directory_can_have(newest: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    newest.rename(place)
    assert probe_instance(place, depth=FACTS).fingerprint == "813212dd48070fcb"


def test_a_directory_is_found_by_its_names_alone(newest: Path) -> None:
    """What recovers a killed run must work on a damaged instance too."""
    (newest / "webui.db").write_bytes(b"damaged")
    assert directory_at(newest) == newest


LOCATE = """
import sys
from pathlib import Path
from owui_vault.errors import VaultError
from owui_vault.instance.data_dir import probe_instance
try:
    print(probe_instance(Path(sys.argv[1])))
except VaultError as error:
    print(error.message, "|", error.hint)
"""


@pytest.mark.root
def test_without_rights_the_message_says_so(newest: Path, as_nobody: Callable[[str, Path], str]) -> None:
    newest.chmod(0o700)
    text = as_nobody(LOCATE, newest)
    assert "cannot be read by user 65534" in text
    assert "Run as root" in text


@pytest.mark.root
def test_a_database_that_may_not_be_read_is_told(newest: Path, as_nobody: Callable[[str, Path], str]) -> None:
    (newest / "webui.db").chmod(0o600)
    assert "webui.db cannot be read: Permission denied" in as_nobody(LOCATE, newest)


@pytest.mark.root
def test_another_user_reads_what_may_be_read_and_leaves_no_trace(
    left: Path, as_nobody: Callable[[str, Path], str]
) -> None:
    before = everything(left)
    text = as_nobody(LOCATE, left)
    assert "fingerprint=''" not in text
    assert "facts=None" not in text
    assert everything(left) == before
