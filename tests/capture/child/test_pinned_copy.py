"""Copies of databases: how far they may go, and what is done to them in the stage."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture import result
from owui_vault.capture.child.classify import Database
from owui_vault.capture.child.errors import AttemptFailedError, NoRoomError
from owui_vault.capture.child.main import Helper, job_from
from owui_vault.capture.child.sqlite import pinned_copy as pinning
from owui_vault.capture.child.sqlite import recovery
from owui_vault.capture.child.sqlite import recovery as copies
from owui_vault.capture.child.sqlite.pin_process import Pinner
from owui_vault.capture.result import lost_warnings, read_contents
from owui_vault.errors import CancelledError, CaptureError, NoSpaceError
from owui_vault.model import NEVER
from owui_vault.system.filesystem import copy_beside_others

PREPARE = {"do": "prepare", "seconds": 10, "pin": True, "copy_seconds": 10}
ATTEMPT = {"do": "attempt", "seconds": 2.0, "frozen": False, "held": True, "patience_seconds": 0.0, "pin": True}
Copy = Callable[[str, str, float], str]


@pytest.fixture
def pinned(site: Any) -> Iterator[Helper]:
    """The child's deeds, in this process, with `webui.db` pinned."""
    site.build("wal")
    site.run(rest_seconds=-1)
    nothing: dict[str, object] = {key: [] for key in ("write_once", "links", "exclude", "include")}
    places = {"data_dir": str(site.data), "work_dir": str(site.work), "databases": ["webui.db"]}
    helper = Helper(job_from({"job": {**nothing, **places, "reserve_bytes": 0, "wal_growth_bytes": 1 << 30}}))
    yield helper
    helper.pinned.end()


def test_a_pinned_database_is_not_copied_beyond_the_time_given(pinned: Helper) -> None:
    """The pin makes the application's log grow, so it goes too."""
    assert pinned.obey({**PREPARE, "copy_seconds": -1.0})["obstacles"] == (
        "webui.db could not be copied: it took too long",
    )
    assert not Path(pinned.writer.place("webui.db")).exists()
    assert pinned.pinned.ahead == {}
    with pytest.raises(AttemptFailedError, match=r"webui\.db no longer matches the copy taken beforehand"):
        pinned.obey(ATTEMPT)


def test_a_log_is_not_brought_in_beyond_the_time_given(pinned: Helper) -> None:
    pinned.obey(PREPARE)
    pinned.obey(ATTEMPT)
    with pytest.raises(AttemptFailedError, match=r"webui\.db could not be copied: it took too long"):
        pinned.obey({"do": "finish", "seconds": -1.0})
    assert not Path(pinned.writer.place("webui.db")).exists()
    assert pinned.pinned.process() is None


@pytest.mark.parametrize(("number", "error"), [(errno.EDQUOT, NoRoomError), (errno.EIO, AttemptFailedError)])
def test_what_the_disk_says_while_a_database_is_copied_ahead(
    pinned: Helper, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """A quota may be used up before the file system's numbers say so."""
    with monkeypatch.context() as patched:
        patched.setattr(pinning, "copy_beside_others", failing(number))
        if error is NoRoomError:
            with pytest.raises(NoRoomError, match=r"not enough space for a copy of webui\.db"):
                pinned.obey(PREPARE)
        else:
            obstacles = pinned.obey(PREPARE)["obstacles"]
            assert obstacles == ("webui.db could not be copied: Input/output error",)
    assert not Path(pinned.writer.place("webui.db")).exists()
    assert pinned.pinned.ahead == {}


@pytest.mark.parametrize(("number", "error"), [(errno.EDQUOT, NoRoomError), (errno.EIO, OSError)])
def test_what_the_disk_says_while_a_log_is_brought_in(
    pinned: Helper, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    pinned.obey(PREPARE)
    pinned.obey(ATTEMPT)
    monkeypatch.setattr(pinning, "bring_in", failing(number))
    with pytest.raises(error):
        pinned.obey({"do": "finish", "seconds": 10})
    assert not Path(pinned.writer.place("webui.db")).exists()


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_pinned_database_that_vanished_is_not_copied(pinned: Helper, site: Any) -> None:
    database = Database(name="gone.db", real=str(site.data / "gone.db"), mode="wal")
    with pytest.raises(AttemptFailedError):
        pinned.pinned.begin(database, time.monotonic() + 10, lambda *_: None)
    assert pinned.pinned.ahead == {}


@pytest.mark.parametrize("failures", [2, 3])
def test_somebody_in_the_way_of_a_pin_is_waited_for(
    pinned: Helper, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """Whoever opens the database after a crash locks everybody out for a moment."""
    pin = Pinner.pin
    left = [failures]

    def busy(self: Pinner, name: str, real: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise AttemptFailedError("webui.db cannot be pinned: database is locked")
        pin(self, name, real)

    monkeypatch.setattr(Pinner, "pin", busy)
    obstacles = pinned.obey(PREPARE)["obstacles"]
    assert obstacles == (("webui.db cannot be pinned: database is locked",) if failures == 3 else ())


def test_a_process_with_the_pins_that_is_gone_costs_one_attempt(pinned: Helper) -> None:
    """Nothing is known of the log any more, so nothing is brought to a moment by it: the copies are made anew."""
    pinned.obey(PREPARE)
    pinner = pinned.pinned.process()
    assert pinner is not None
    os.kill(pinner, signal.SIGKILL)
    with pytest.raises(AttemptFailedError, match="the process pinning the databases is gone"):
        pinned.obey(ATTEMPT)
    with pytest.raises(AttemptFailedError, match="no longer matches the copy taken beforehand"):
        pinned.obey(ATTEMPT)
    assert not Path(pinned.job.tree, "webui.db").exists()
    assert pinned.obey(PREPARE)["obstacles"] == ()
    pinned.obey(ATTEMPT)
    assert pinned.pinned.process() not in (None, pinner)


@pytest.mark.root
def test_a_copy_shares_no_blocks_with_a_database_that_is_written_to(mounted: Callable[[str], Path]) -> None:
    """The writer would pay for each page with a new place on the disk, for as long as the copy is there."""
    folder = mounted("xfs")
    (folder / "live.db").write_bytes(os.urandom(4 << 20))
    with (folder / "live.db").open("rb") as source, (folder / "copy.db").open("wb") as target:
        copy_beside_others(source.fileno(), target.fileno(), 4 << 20, lambda _: None)
    assert not shares_blocks(folder / "copy.db")
    subprocess.run(["cp", "--reflink=always", folder / "live.db", folder / "clone.db"], check=True)
    assert shares_blocks(folder / "clone.db")


def shares_blocks(path: Path) -> bool:
    subprocess.run(["sync", path], check=True)
    return "shared" in subprocess.run(["filefrag", "-v", path], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A database in the old journal mode."""
    with closing(sqlite3.connect(tmp_path / "live.db")) as connection:
        connection.execute("CREATE TABLE t(n)")
        connection.executemany("INSERT INTO t VALUES (?)", [(each,) for each in range(1000)])
        connection.commit()
    (tmp_path / "copy.db").touch()
    return tmp_path / "live.db"


@pytest.fixture(params=[copies.copy_under_lock, copies._copy_under_lock], ids=["apart", "here"])
def copy(request: pytest.FixtureRequest) -> Copy:
    """In a short process of its own, and what that process does."""
    found: Copy = request.param
    return found


def test_a_copy_in_a_read_transaction_is_whole(live: Path, tmp_path: Path, copy: Copy) -> None:
    assert copy(str(live), str(tmp_path / "copy.db"), 2.0) == ""
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT count(*), sum(n) FROM t").fetchone() == (1000, 499_500)
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "live.db"]


def test_a_copy_in_a_read_transaction_lets_the_writer_go_in_time(live: Path, tmp_path: Path, copy: Copy) -> None:
    assert copy(str(live), str(tmp_path / "copy.db"), 0.0) == "it took too long"
    with closing(sqlite3.connect(live, timeout=0)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()


def test_a_copy_in_a_read_transaction_does_not_wait_for_ever(live: Path, tmp_path: Path, copy: Copy) -> None:
    with closing(sqlite3.connect(live, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert copy(str(live), str(tmp_path / "copy.db"), 0.05) == "database is locked"


def test_a_short_process_that_dies_is_a_copy_that_failed(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_copy_under_lock", lambda *_: os._exit(9))
    assert "could not be examined" in copies.copy_under_lock(str(live), str(tmp_path / "copy.db"), 1.0)


def attributes(mode: int, user: int, group: int) -> list[dict[str, object]]:
    """Those of a live database, as the child tells them."""
    return [{"mode": mode, "user": user, "group": group, "extended": []}]


def answer(**changes: object) -> dict[str, object]:
    """What the child tells of one raw copy of `webui.db`."""
    database = {"name": "webui.db", "mode": "delete", "pinned": False, "holder": "", "changed_ns": 7_000_000_000}
    nothing: dict[str, object] = {key: [] for key in ("vectors", "unreadable", "leaving", "strays", "skipped")}
    told = {"filesystem": "ext4", "coarse": False, "reread": False, "copied": 0, "linked": 0}
    return {**nothing, **told, "databases": [{**database, "attributes": [], **changes}]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "webui.db")) as connection:
        connection.execute("CREATE TABLE chat(n)")
    (tmp_path / "webui.db").chmod(0o600)
    return tmp_path


def test_a_cancelled_capture_says_so_and_not_that_a_copy_is_damaged(tree: Path) -> None:
    """The check is interrupted by the same event, and complains."""
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        read_contents(answer(), tree, ["webui.db"], cancel)


def test_a_copy_that_cannot_be_recovered_is_kept_with_the_complaint(tree: Path) -> None:
    (tree / "webui.db").write_bytes(b"nonsense" * 1000)
    (tree / "webui.db-wal").write_bytes(b"x")
    (record,) = read_contents(answer(), tree, ["webui.db"], NEVER).databases
    assert record.check == "file is not a database"
    assert (record.size_bytes, record.tables) == (8000, {})


def test_no_room_for_recovering_a_copy_is_no_damage(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(result, "recover_copy", fail)
    with pytest.raises(NoSpaceError, match=r"recover the copy of webui\.db"):
        read_contents(answer(), tree, ["webui.db"], NEVER)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL])
def test_a_copy_gets_the_mode_of_its_source_also_where_it_cannot_be_given_its_owner(
    tree: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fchown", failing(number))
    found = read_contents(answer(attributes=attributes(0o640, 7, 8)), tree, ["webui.db"], NEVER)
    assert stat.S_IMODE((tree / "webui.db").stat().st_mode) == 0o640
    assert found.lost == {"webui.db": ("owner",)}
    assert lost_warnings(found.lost) == (
        "the owner of webui.db could not be kept in the snapshot: files cannot be given to that owner here (no right to"
        " do so, or an owner that this user namespace does not know)",
    )


def test_a_link_put_in_place_of_a_copy_while_it_is_checked_gives_nothing_away(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage may lie in a directory that the application can write to; we are root, and it need not be."""
    foreign = tmp_path / "shadow"
    foreign.write_bytes((tree / "webui.db").read_bytes())
    foreign.chmod(0o600)
    before = foreign.stat()
    check = recovery.check_copy

    def check_and_be_robbed(place: str, cancel: threading.Event) -> str:
        said = check(place, cancel)
        (tmp_path / "link").symlink_to(foreign)
        (tmp_path / "link").rename(place)
        return said

    monkeypatch.setattr(result, "check_copy", check_and_be_robbed)
    with pytest.raises(CaptureError, match=r"webui\.db was replaced"):
        read_contents(answer(attributes=attributes(0o666, 65534, 65534)), tree, ["webui.db"], NEVER)
    after = foreign.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


def test_a_copy_of_what_is_gone_by_now_stays_private(tree: Path) -> None:
    """Nobody can tell any more who was allowed to read it."""
    read_contents(answer(), tree, ["webui.db"], NEVER)
    found = (tree / "webui.db").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns // 1_000_000_000) == (0o600, 7)
