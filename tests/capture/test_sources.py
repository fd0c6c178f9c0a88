"""What a data directory may hold besides what everybody expects."""

from __future__ import annotations

import ctypes
import os
import socket
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture import clear_stage, verify_stage
from owui_vault.errors import CaptureError, UnsupportedInstanceError
from owui_vault.model import Captured, Proof, Quiesce

DIES_IN_A_TRANSACTION = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")
connection.execute("PRAGMA cache_spill=1")
connection.execute("BEGIN")
connection.execute("UPDATE first SET n = 99")
connection.execute("UPDATE filling SET b = zeroblob(3000)")
os.kill(os.getpid(), 9)
"""

GOES_DOWN = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(int(sys.argv[3])):
    os.mkdir(sys.argv[2])
    os.chdir(sys.argv[2])
"""


def names(captured: Captured) -> set[str]:
    tree = captured.stage / "data"
    return {str(path.relative_to(tree)) for path in tree.rglob("*")}


def test_a_crashed_transaction_is_rolled_back_on_the_copy_only(site: Any) -> None:
    """The spilled pages are in the live file; its journal goes along, is applied to the copy, and stays as it was."""
    site.build()
    live = site.data / "vector_db" / "chroma.sqlite3"
    subprocess.run([sys.executable, "-c", DIES_IN_A_TRANSACTION, str(live)], check=False)
    journal = Path(f"{live}-journal")
    before = (live.read_bytes(), journal.read_bytes())
    captured = site.take()
    assert captured.proof.mode is Proof.LIVE
    assert site.rows(captured, "vector_db/chroma.sqlite3", "SELECT n FROM first") == [0]
    assert site.rows(captured, "vector_db/chroma.sqlite3", "SELECT count(*) FROM filling WHERE b = zeroblob(3000)") == [
        0
    ]
    assert (live.read_bytes(), journal.read_bytes()) == before
    assert "vector_db/chroma.sqlite3-journal" not in names(captured)


def test_a_journal_over_several_databases_is_refused(site: Any) -> None:
    """It would be dropped, not rolled back, where the super-journal it names does not exist."""
    site.build()
    live = site.data / "vector_db" / "chroma.sqlite3"
    subprocess.run([sys.executable, "-c", DIES_IN_A_TRANSACTION, str(live)], check=False)
    with Path(f"{live}-journal").open("ab") as journal:
        journal.write(b"/somewhere/super-journal" + bytes(8) + bytes.fromhex("d9d505f920a163d7"))
    captured = site.take()
    assert captured.proof.mode is Proof.UNPROVEN
    assert any("several databases" in reason for reason in captured.proof.weaker)


@pytest.mark.parametrize("webui", ["wal", "delete"])
def test_components_that_are_symlinks_are_followed(site: Any, tmp_path: Path, webui: str) -> None:
    """The log of a linked `webui.db` lies beside its target, not beside the link."""
    site.build(webui)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    links = []
    for name in ("webui.db", "vector_db", "uploads"):
        (site.data / name).rename(elsewhere / name)
        (site.data / name).symlink_to(elsewhere / name)
        links.append((name, elsewhere / name))
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            (site.data / f"webui.db{suffix}").rename(elsewhere / f"webui.db{suffix}")
    site.run(rest_seconds=-1)  # it has written through the links and keeps all open; between its rounds is luck
    captured = site.take(plan=site.plan(links=tuple(links)))
    assert captured.proof.mode is Proof.LIVE, captured.proof
    assert captured.problems == ()
    tree = captured.stage / "data"
    assert not [path for path in tree.rglob("*") if path.is_symlink()]
    number = site.rows(captured, "webui.db", "SELECT n FROM counter")[0]
    assert number == 1
    assert (tree / "uploads" / "1.txt").read_bytes() == b"1" * 1000
    assert site.rows(captured, "webui.db", "SELECT n FROM document") == [1]
    assert site.rows(captured, "vector_db/chroma.sqlite3", "SELECT first.n, second.n FROM first, second") == [(1, 1)]


def test_links_inside_are_stored_as_links_and_those_that_leave_are_told(site: Any) -> None:
    site.build()
    (site.data / "cache" / "inside").symlink_to("../config.json")
    (site.data / "cache" / "outside").symlink_to("/etc/hostname")
    (site.data / "uploads" / "up").symlink_to("../../secret")
    captured = site.take()
    tree = captured.stage / "data"
    assert (tree / "cache" / "inside").readlink() == Path("../config.json")
    assert (tree / "cache" / "outside").readlink() == Path("/etc/hostname")
    assert [problem.split(" ")[0] for problem in captured.problems] == ["cache/outside", "uploads/up"]
    assert len(captured.warnings) == 2


def test_sockets_fifos_and_devices_are_left_out_and_listed(site: Any) -> None:
    site.build()
    os.mkfifo(site.data / "fifo")
    with closing(socket.socket(socket.AF_UNIX)) as server:
        here = Path.cwd()
        os.chdir(site.data / "cache")  # the address of a socket must be short
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        captured = site.take()
    assert captured.skipped == ("cache/socket", "fifo")
    assert captured.problems == ()
    assert not {"fifo", "cache/socket"} & names(captured)


def test_any_name_is_captured(site: Any) -> None:
    site.build()
    strange = [b"new\nline", b"\xff\xfe", b"'quote\"", b"{a,b}", b"-rf", b" ", b"\xc3\xbc", b"*", b"a" * 255]
    for name in strange:
        Path(os.fsdecode(os.fsencode(site.data) + b"/uploads/" + name)).write_bytes(name)
    captured = site.take()
    tree = os.fsencode(captured.stage / "data" / "uploads")
    assert {name for name in os.listdir(tree) if name != b"0.txt"} == set(strange)
    assert verify_stage(captured) == ()


@pytest.mark.parametrize(("name", "levels"), [("d", 700), ("d" * 200, 30)], ids=["deep", "long"])
def test_directories_without_end_are_named_and_the_rest_is_captured(site: Any, name: str, levels: int) -> None:
    """Whoever may write to the data could otherwise see to it that there are no snapshots any more."""
    site.build()
    subprocess.run([sys.executable, "-c", GOES_DOWN, site.data / "uploads", name, str(levels)], check=True)
    try:
        captured = site.take(Quiesce.AUTO)
        assert captured.proof.mode is Proof.LIVE
        (problem,) = captured.problems
        assert problem.startswith(f"uploads/{name}/{name}/")
        assert problem.endswith("cannot be read")
        assert (captured.stage / "data" / "uploads" / "0.txt").exists()
        assert verify_stage(captured) == ()
    finally:
        subprocess.run(["rm", "-rf", site.data / "uploads" / name], check=True)


def test_what_is_excluded_is_not_there_and_what_is_included_again_is(site: Any) -> None:
    site.build()
    for name in ("cache/whisper/model.bin", "cache/whisper/keep/model.bin", "audit.log", "audit.1.log", "deep/a/b.tmp"):
        path = site.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    plan = site.plan(exclude=("cache", "audit*", "*.tmp"), include=("cache/whisper/keep", "audit.1.log"))
    found = names(site.take(plan=plan))
    assert {"cache/whisper/keep/model.bin", "audit.1.log", "deep/a", "uploads/0.txt"} <= found
    assert not {"cache/whisper/model.bin", "cache/functions", "audit.log", "deep/a/b.tmp"} & found


@contextmanager
def without_rights() -> Iterator[None]:
    """Take from programs started later what lets root read and link the files of others. In a forked test only."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2, 3):  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
        assert libc.prctl(24, capability, 0, 0, 0) == 0
    yield


def in_fork(claims: Callable[[], None]) -> None:
    """Run claims in a process of its own; a failed one fails the test."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            claims()
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.root
def test_files_that_cannot_be_read_are_named_and_foreign_ones_copied(site: Any) -> None:
    """A user who is neither root nor the owner: no links under `fs.protected_hardlinks`, no look at private files."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to others")
    site.build()
    (site.data / "uploads" / "secret.txt").write_text("x")
    (site.data / "cache" / "locked").mkdir()
    for path in [site.data, *site.data.rglob("*")]:
        os.chown(path, 65534, 65534)
    (site.data / "cache" / "listed").mkdir(0o744)  # names, but nothing of what they name
    (site.data / "cache" / "listed" / "file").write_text("x")
    os.chown(site.data / "cache" / "listed", 65534, 65534)
    (site.data / "uploads" / "secret.txt").chmod(0o600)
    (site.data / "cache" / "locked").chmod(0o700)

    def claims() -> None:
        with without_rights():
            captured = site.take()
        unreadable = ("cache/listed/file", "cache/locked", "uploads/secret.txt")
        wanted = tuple(f"{name} cannot be read" for name in unreadable)
        assert captured.problems == wanted, captured.problems
        assert captured.proof.mode is Proof.LIVE
        protected = Path("/proc/sys/fs/protected_hardlinks").read_text().strip() == "1"
        assert captured.proof.linked_files == (0 if protected else 1)
        assert (captured.stage / "data" / "uploads" / "0.txt").read_bytes() == b"0" * 1000

    in_fork(claims)


@pytest.mark.root
def test_a_vector_database_that_cannot_be_read_is_named(site: Any) -> None:
    """At the second attempt as well as at the first: the copy that failed is not tried again."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to others")
    site.build()
    chroma = site.data / "vector_db" / "chroma.sqlite3"
    chroma.chmod(0o600)
    os.chown(chroma, 65534, 65534)

    def claims() -> None:
        with without_rights():
            captured = site.take()
        problems = [each for each in captured.problems if each.startswith("vector_db/chroma.sqlite3 ")]
        assert problems[0] == "vector_db/chroma.sqlite3 cannot be read", captured.problems
        assert [record.path for record in captured.databases] == ["webui.db"]

    in_fork(claims)


def test_two_uploads_that_are_one_file_are_captured(site: Any) -> None:
    """Linking the second name moves the ctime of the first."""
    site.build()
    (site.data / "uploads" / "one").write_text("the same")
    os.link(site.data / "uploads" / "one", site.data / "uploads" / "other")
    captured = site.take()
    assert (captured.proof.mode, captured.problems) == (Proof.LIVE, ())
    assert captured.proof.attempts == 1
    uploads = captured.stage / "data" / "uploads"
    assert (uploads / "one").samefile(uploads / "other")


@pytest.mark.parametrize("damage", ["page", "truncated", "not a database", "empty"])
def test_a_damaged_database_is_stored_as_it_is(site: Any, damage: str) -> None:
    site.build("delete")
    live = site.data / "webui.db"
    content = live.read_bytes()
    live.write_bytes(
        {
            "page": content[:8192] + os.urandom(40000) + content[48192:],
            "truncated": content[: len(content) // 2 + 100],
            "not a database": b"hello" * 1000,
            "empty": b"",
        }[damage]
    )
    captured = site.take()
    record = captured.databases[0]
    assert captured.proof.mode is Proof.LIVE
    if damage == "empty":
        assert (record.check, captured.problems) == ("ok", ())
    else:
        assert record.check != "ok"
        assert [problem for problem in captured.problems if problem.startswith("webui.db is damaged")]
    assert (captured.stage / "data" / "webui.db").read_bytes() == live.read_bytes()
    assert captured.databases[1].check == "ok"


def test_a_damaged_page_of_a_pinned_database_is_told_and_copied(site: Any) -> None:
    site.build("wal", filling=400)
    live = site.data / "webui.db"
    with live.open("r+b") as file:
        file.seek(live.stat().st_size // 4096 // 2 * 4096)
        file.write(os.urandom(4096 * 3))
    site.run(rest_seconds=-1)
    captured = site.take()
    assert captured.proof.mode is Proof.LIVE, captured.proof
    assert captured.proof.pinned == ("webui.db",)
    assert captured.problems
    assert captured.problems[0].startswith("webui.db is damaged")


def test_a_missing_vector_store_is_simply_not_there(site: Any) -> None:
    site.build()
    (site.data / "vector_db" / "chroma.sqlite3").unlink()
    captured = site.take()
    assert [record.path for record in captured.databases] == ["webui.db"]
    assert captured.proof.mode is Proof.LIVE


def test_a_second_name_of_a_database_forbids_the_pin(site: Any) -> None:
    """Reading that name in the process with the pin would drop the pin."""
    site.build()
    os.link(site.data / "webui.db", site.data / "uploads" / "backup.db")
    site.run(rest_seconds=-1)
    captured = site.take()
    assert captured.proof.pinned == ()
    assert captured.proof.mode is Proof.LIVE
    assert site.rows(captured, "webui.db", "SELECT n FROM counter") == [1]


@pytest.mark.root
def test_a_layer_of_an_overlay_is_refused(site: Any, tmp_path: Path) -> None:
    """Pinned through the upper directory, the application's checkpoints would not see the pin."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount an overlay")
    for name in ("lower", "upper, odd", "work", "merged"):
        (tmp_path / name).mkdir()
    options = ",".join(
        f"{key}={tmp_path / name}".replace(", ", "\\, ")
        for key, name in (("lowerdir", "lower"), ("upperdir", "upper, odd"), ("workdir", "work"))
    )
    merged = tmp_path / "merged"
    done = subprocess.run(
        ["mount", "-t", "overlay", "-o", options, "o", merged], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no overlay here: {done.stderr}")
    try:
        site.data = merged / "data"
        site.build()
        site.run(rest_seconds=-1)
        plan = site.plan(data_dir=tmp_path / "upper, odd" / "data")
        with pytest.raises(UnsupportedInstanceError, match="layer"):
            site.take(plan=plan)
        assert not site.work.joinpath("stage").exists()
        # Through the mount itself it is only a file system that nothing is known about.
        assert site.take().proof.mode is Proof.UNPROVEN
        assert site.take(Quiesce.PAUSE, quiet=site.quiet()).proof.mode is Proof.PAUSE
    finally:
        site.end()
        subprocess.run(["umount", "-l", merged], check=True)


def test_a_disk_mounted_below_a_layer_is_no_part_of_it(site: Any, tmp_path: Path) -> None:
    """As on a host whose /opt is an overlay over itself, with the data on a disk mounted below it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount an overlay")
    opt = tmp_path / "opt"
    for folder in (opt / "inside", tmp_path / "upper", tmp_path / "work"):
        folder.mkdir(parents=True)
    options = f"lowerdir={opt},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    done = subprocess.run(
        ["mount", "-t", "overlay", "-o", options, "o", opt], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no overlay here: {done.stderr}")
    try:
        (opt / "disk").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", opt / "disk"], check=True)
        site.data = opt / "disk" / "data"
        site.build()
        assert site.take(plan=site.plan(work_dir=opt / "disk" / "work")).proof.mode is Proof.LIVE
        site.data = opt / "inside" / "data"  # in the mount itself: only a file system that nothing is known about
        site.build()
        assert site.take().proof.mode is Proof.UNPROVEN
    finally:
        site.end()
        subprocess.run(["umount", "-l", opt / "disk"], check=False)
        subprocess.run(["umount", "-l", opt], check=True)


def test_a_stage_that_is_a_symlink_is_refused(site: Any, tmp_path: Path) -> None:
    site.build()
    """Also by `recover`, which only clears: whoever may write to the data can plant such a link for root."""
    precious = [tmp_path / "real" / name for name in ("precious", "stage/precious", "capture/precious")]
    for path in precious:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    site.work.symlink_to(tmp_path / "real")
    with pytest.raises(CaptureError, match="is a link"):
        site.take()
    clear_stage(site.work)
    assert [path.read_text() for path in precious] == ["x", "x", "x"]


def test_an_unknown_database_goes_along_with_its_journal(site: Any) -> None:
    site.build()
    with closing(sqlite3.connect(site.data / "cache" / "plugin.db", isolation_level=None)) as plugin:
        plugin.execute("CREATE TABLE first(n)")
        plugin.execute("INSERT INTO first VALUES (1)")
        captured = site.take()
    tree = captured.stage / "data"
    assert (tree / "cache" / "plugin.db").read_bytes() == (site.data / "cache" / "plugin.db").read_bytes()


HOLDS_A_LOG = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("CREATE TABLE first(n)")
connection.execute("INSERT INTO first VALUES (7)")
print("ready", flush=True)
sys.stdin.read()
"""


def test_an_unknown_database_with_a_log_leaves_live_possible(site: Any) -> None:
    """Its shared memory is mapped by whoever has it open, and belongs to nobody else; a file of that name may not."""
    site.build()
    plugin = site.data / "cache" / "plugin.db"
    (site.data / "cache" / "notes").write_text("no database")
    (site.data / "cache" / "notes-shm").write_text("the user's own")
    command = [sys.executable, "-c", HOLDS_A_LOG, str(plugin)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            captured = site.take()
        finally:
            child.kill()
    assert captured.proof.mode is Proof.LIVE, captured.proof
    found = {name for name in names(captured) if name.startswith(("cache/plugin.db", "cache/notes"))}
    assert found == {"cache/plugin.db", "cache/plugin.db-wal", "cache/notes", "cache/notes-shm"}
    assert site.rows(captured, "webui.db", "SELECT n FROM counter") == [0]
    with closing(sqlite3.connect(captured.stage / "data" / "cache" / "plugin.db")) as copy:
        assert copy.execute("SELECT n FROM first").fetchall() == [(7,)]
