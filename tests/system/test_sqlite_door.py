"""Databases at rest are opened where nobody can lead SQLite elsewhere."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.system import sqlite_door
from owui_vault.system.sqlite_door import open_database, others_may_move

pytestmark = pytest.mark.root
READ = "mode=ro&immutable=1"
# Confined in one of its ways, then the folder is renamed, and a link to the victim stands in its place.
PROGRAM = """
import os, sqlite3, sys
from pathlib import Path
from owui_vault.system import sqlite_main as program
way, folder, victim = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
os.chdir(folder)
if way == "chroot":
    assert program.confine()
    place = "/x.db"
else:
    place = f"{folder}/x.db"
    if way == "landlock":
        assert program.restrict()
print("ready", flush=True)
sys.stdin.readline()
try:
    db = program.connect(place, "mode=rw", confined=way != "look")
    print(db.execute("SELECT a FROM t").fetchall(), db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    db.close()
except (sqlite3.Error, OSError) as error:
    print(type(error).__name__, flush=True)
"""


def make(folder: Path, text: str, *, wal: bool = False) -> sqlite3.Connection:
    folder.mkdir(exist_ok=True)
    connection = sqlite3.connect(folder / "x.db", isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t VALUES (?)", [(text,)] * 2500)
    connection.execute("COMMIT")
    return connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in one that is somebody else's."""
    outer = tmp_path / "outer"
    outer.mkdir()
    make(outer / "ours", "ours").close()
    os.chown(outer, 1000, 1000)
    return outer / "ours"


def test_only_where_others_may_rename_another_process_is_asked(folder: Path, tmp_path: Path) -> None:
    make(tmp_path / "safe", "safe").close()
    assert others_may_move(folder)
    assert not others_may_move(tmp_path / "safe")
    (tmp_path / "safe").chmod(0o775)
    assert others_may_move(tmp_path / "safe")
    (tmp_path / "safe").chmod(0o1777)
    assert not others_may_move(tmp_path / "safe")
    with (
        closing(open_database(folder / "x.db", READ)) as far,
        closing(open_database(tmp_path / "safe/x.db", READ)) as near,
    ):
        assert isinstance(far, sqlite_door._Confined)
        assert not isinstance(near, sqlite_door._Confined)


def test_a_connection_from_afar_is_like_any_other(folder: Path) -> None:
    with closing(open_database(folder / "x.db", "mode=rw")) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2500,)
        assert len(connection.execute("SELECT a FROM t WHERE a = ?", ("ours",)).fetchall()) == 2500
        assert sum(1 for _ in connection.execute("SELECT a FROM t")) == 2500
        rows = connection.execute("SELECT a FROM t")
        connection.execute("UPDATE t SET a = CAST(x'ff' AS TEXT) WHERE rowid = 1")  # beside one that is still read
        assert next(rows) == ("ours",)
        rows.close()
        assert connection.execute("SELECT a FROM t WHERE rowid = 1").fetchone() == ("\udcff",)
        assert connection.execute("SELECT a FROM t WHERE rowid = 0").fetchone() is None
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            connection.execute("SELECT a FROM nowhere")
        with pytest.raises(sqlite3.NotSupportedError):
            connection.executemany("INSERT INTO t VALUES (?)", [(1,)])
    assert [path.name for path in folder.iterdir()] == ["x.db"]
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        open_database(folder / "missing.db", READ)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        open_database(folder / "nowhere" / "x.db", READ)
    (folder / "x.db").write_bytes(b"no database" * 1000)
    with closing(open_database(folder / "x.db", READ)) as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute("SELECT a FROM t")


def test_a_statement_can_be_interrupted(folder: Path) -> None:
    with closing(open_database(folder / "x.db", READ)) as connection:
        connection.set_progress_handler(lambda: True, 1)
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(endless)


def test_a_process_that_dies_is_an_error(folder: Path) -> None:
    with closing(open_database(folder / "x.db", READ)) as connection:
        assert isinstance(connection, sqlite_door._Confined)
        connection._child.kill()
        connection._child.wait()
        with pytest.raises(sqlite3.OperationalError, match="ended"):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("way", ["chroot", "landlock", "look"])
@pytest.mark.parametrize("planted", [False, True])
def test_a_link_that_is_planted_before_it_is_opened_leads_nowhere(
    folder: Path, tmp_path: Path, way: str, *, planted: bool
) -> None:
    """However this user is confined. One who merely looks has opened the other, but it is not believed."""
    victim = make(tmp_path / "victim", "victim", wal=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "victim").iterdir()}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, way, str(folder), str(tmp_path / "victim")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        if planted:
            folder.rename(folder.with_name("hidden"))
            folder.symlink_to(tmp_path / "victim")
        told = process.communicate("\n")[0]
    assert "victim" not in told
    assert told.startswith("[('ours',)") or (planted and way != "chroot"), told
    assert {path.name: path.read_bytes() for path in (tmp_path / "victim").iterdir()} == before
    victim.close()
