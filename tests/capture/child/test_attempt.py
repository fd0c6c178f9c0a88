"""What an attempt must find out, one thing at a time and each without luck."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child import attempt as attempts
from owui_vault.capture.child.attempt import Attempt
from owui_vault.capture.child.classify import Database, classify
from owui_vault.capture.child.copies import link_file
from owui_vault.capture.child.errors import AttemptFailedError, NoRoomError, SourceChangedError
from owui_vault.capture.child.fences import Fences
from owui_vault.capture.child.main import Helper, job_from
from owui_vault.capture.child.marks import Mark, Walk
from owui_vault.capture.child.prepare import _bytes_needed
from owui_vault.capture.child.sqlite import pinned_copy as pinning
from owui_vault.capture.child.sqlite.pin_process import Pinner
from owui_vault.capture.child.sqlite.pinned_copy import PinnedCopies
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.capture.child.watch import WritersFound
from owui_vault.model import Proof

PREPARE = {"do": "prepare", "seconds": 10, "pin": True, "copy_seconds": 10}
ATTEMPT = {"do": "attempt", "seconds": 2.0, "frozen": False, "held": True, "patience_seconds": 0.0, "pin": True}
FROZEN = {**ATTEMPT, "frozen": True}
FINISH = {"do": "finish", "seconds": 10}
INDEX = "vector_db/segment/level0.bin"


@pytest.fixture
def make_helper(site: Any) -> Iterator[Callable[..., Helper]]:
    def make(**changes: object) -> Helper:
        job: dict[str, object] = {
            "data_dir": str(site.data),
            "work_dir": str(site.work),
            "databases": ["webui.db", "vector_db/chroma.sqlite3"],
            "write_once": ["uploads"],
            "reserve_bytes": 0,
            "wal_growth_bytes": 1 << 30,
        }
        empty: dict[str, object] = {key: [] for key in ("links", "mounted", "exclude", "include", "processes")}
        helper = Helper(job_from({"job": {**empty, **job, **changes}}))
        made.callback(helper.pinned.end)
        helper.obey(PREPARE)
        return helper

    with ExitStack() as made:
        yield make


def after(monkeypatch: pytest.MonkeyPatch, step: str, deed: Callable[[], object]) -> None:
    """Have something done right after a step of every attempt."""
    original = getattr(Attempt, step)

    def wrapped(self: Attempt, *arguments: Any) -> Any:
        answer = original(self, *arguments)
        deed()
        return answer

    monkeypatch.setattr(Attempt, step, wrapped)


def append_to(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


ONE_LARGE_WRITE = """
import os, sys
data = bytes([int(sys.argv[2])]) * int(sys.argv[3])
descriptor = os.open(sys.argv[1], os.O_WRONLY)
print("ready", flush=True)
sys.stdin.readline()
os.pwrite(descriptor, data, 0)
"""


def tail(path: Path, size: int) -> int:
    """The last byte as the page cache has it: no lock is taken, so a write on its way is seen as it is."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as view:
        return view[-1]


def test_an_instant_is_never_taken_inside_a_large_write(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write has begun and set its time before the first mark is read: nothing but the fence can tell."""
    size = 200 << 20
    site.build("delete")
    path = site.data / INDEX
    path.write_bytes(b"\1" * size)
    helper = make_helper()
    rested: list[int] = []
    after(monkeypatch, "_rest", lambda: rested.append(tail(path, size)))
    caught = 0
    for value in (2, 3, 4, 5):
        before = path.stat().st_mtime_ns
        command = [sys.executable, "-c", ONE_LARGE_WRITE, str(path), str(value), str(size)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdout.readline()
            child.stdin.write(b"\n")
            child.stdin.flush()
            while path.stat().st_mtime_ns == before:
                pass
            caught += tail(path, size) != value
            with suppress(AttemptFailedError):
                helper.obey({**ATTEMPT, "seconds": 20.0})
                assert rested[-1] == value, "the moment lies inside the write"
                copy = Path(helper.job.tree, INDEX).read_bytes()
                assert copy.count(bytes([value])) == size
    assert caught, "no attempt began inside a write, so nothing was proven"
    assert rested, "no attempt came to rest"


def test_databases_are_waited_for_with_all_that_lies_beside_them(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that keeps no journal, or its journal in memory, is in the middle of a write without any other sign."""
    site.build("delete")
    beside = [site.data / f"webui.db{suffix}" for suffix in ("-wal", "-journal")]
    for path in beside:
        path.write_bytes(bytes(100))
    helper = make_helper()
    waited: list[str] = []
    wait = Fences.wait

    def noted(self: Fences, path: str, mark: Mark, name: str) -> None:
        waited.append(path)
        wait(self, path, mark, name)

    monkeypatch.setattr(Fences, "wait", noted)
    helper.obey(ATTEMPT)
    assert {str(path) for path in (*beside, site.data / "webui.db", site.data / "vector_db/chroma.sqlite3")} <= {
        *waited
    }


@pytest.mark.parametrize("asked", [ATTEMPT, FROZEN], ids=["live", "frozen"])
def test_what_moves_between_the_marks_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch, asked: dict[str, object]
) -> None:
    """In a freeze as well, and also when everybody was seen to be frozen."""
    site.build("delete")
    helper = make_helper()
    monkeypatch.setattr(attempts, "find_writers", lambda *_, **__: WritersFound(writers=(), complete=True))
    for name in (INDEX, "vector_db/chroma.sqlite3", "uploads/0.txt"):
        with monkeypatch.context() as patch:
            after(patch, "_take", partial(append_to, site.data / name))
            with pytest.raises(SourceChangedError, match=name):
                helper.obey(asked)
    helper.obey(asked)


def write_and_set_back(path: Path) -> None:
    """Other bytes of the same size and, as some tools do it, with the same time of modification."""
    status = path.stat()
    path.write_bytes(b"\xff" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_change_that_only_the_inode_tells_of_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is forgiven to what we link ourselves, and to nothing else."""
    site.build("delete")
    helper = make_helper()
    with monkeypatch.context() as patch:
        after(patch, "_take", lambda: write_and_set_back(site.data / INDEX))
        with pytest.raises(SourceChangedError, match=INDEX):
            helper.obey(ATTEMPT)
    helper.obey(ATTEMPT)


def test_a_component_that_is_led_elsewhere_meanwhile_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marks are those of the place it led to: nothing moved there."""
    site.build("delete")
    places = [site.data.parent / name for name in ("here", "there")]
    (site.data / "vector_db").rename(places[0])
    shutil.copytree(*places)
    (site.data / "vector_db").symlink_to(places[0])
    helper = make_helper(links=[{"name": "vector_db", "real": str(places[0])}])

    def lead_elsewhere() -> None:
        (site.data / "vector_db").unlink()
        (site.data / "vector_db").symlink_to(places[1])

    with monkeypatch.context() as patch:
        after(patch, "_take", lead_elsewhere)
        with pytest.raises(AttemptFailedError, match="vector_db now points somewhere else"):
            helper.obey(ATTEMPT)


def test_a_second_name_that_a_database_gets_before_its_pin_costs_no_lock(
    site: Any, make_helper: Callable[..., Helper]
) -> None:
    """With any descriptor of a database all locks of a process on it are closed, so another process holds them."""
    site.build()
    site.run(rest_seconds=-1)
    helper = make_helper()
    (site.data / "uploads" / "second").hardlink_to(site.data / "webui.db")
    helper.obey({**ATTEMPT, "seconds": 10.0})
    with closing(sqlite3.connect(site.data / "webui.db", timeout=0, isolation_level=None)) as application:
        application.execute("UPDATE counter SET n = 77")
        assert application.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 1  # somebody reads


def test_a_store_into_a_mapped_database_is_told_by_its_header(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first one into a page moves a time: SQLite's change counter moves with each transaction."""
    site.build("delete")
    helper = make_helper()
    with (site.data / "webui.db").open("r+b") as file, mmap.mmap(file.fileno(), 4096) as view:
        view[27] = 7

        def commit() -> None:
            view[27] = 8

        with monkeypatch.context() as patch:
            after(patch, "_take", commit)
            with pytest.raises(SourceChangedError, match=r"webui\.db"):
                helper.obey(ATTEMPT)


def test_a_database_that_somebody_opens_meanwhile_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody had open is copied raw; whoever opens it makes its shared memory first."""
    site.build("wal")
    helper = make_helper()
    with monkeypatch.context() as patch:
        after(patch, "_take", (site.data / "webui.db-shm").touch)
        with pytest.raises(SourceChangedError, match=r"webui\.db"):
            helper.obey(ATTEMPT)


def test_an_index_that_is_made_at_the_instant_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build("delete")
    helper = make_helper()
    folder = site.data / "vector_db" / "another"

    def make() -> None:
        folder.mkdir()
        (folder / "header.bin").write_bytes(b"x")

    with monkeypatch.context() as patch:
        after(patch, "_take", make)
        with pytest.raises(SourceChangedError):
            helper.obey(ATTEMPT)
    helper.obey(ATTEMPT)
    assert Path(helper.job.tree, "vector_db", "another", "header.bin").read_bytes() == b"x"


def test_a_clock_that_is_set_meanwhile_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks are compared with it."""
    site.build("delete")
    helper = make_helper()
    offsets = iter((0.0, 0.02, 1.0, 1.009))
    monkeypatch.setattr(attempts, "clock_offset", lambda: next(offsets))
    with pytest.raises(AttemptFailedError, match="clock"):
        helper.obey(ATTEMPT)
    helper.obey(ATTEMPT)


def test_another_journal_mode_than_was_classified_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build("delete")
    helper = make_helper()

    def otherwise(job: Any, *, but: frozenset[str]) -> tuple[Database, ...]:
        webui, chroma = classify(job, but=but)
        return replace(webui, mode="wal", obstacle="for this test"), chroma

    with monkeypatch.context() as patch:
        patch.setattr(pinning, "classify", otherwise)
        with pytest.raises(AttemptFailedError, match=r"webui\.db changed its journal mode"):
            helper.obey(ATTEMPT)
    helper.obey(ATTEMPT)


def test_a_pinned_database_that_was_replaced_by_another_file_is_noticed(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction would go on with the old one, or be of the new one beside marks of the old."""
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()

    def replace() -> None:
        shutil.copy(site.data / "webui.db", site.data.parent / "new")
        (site.data.parent / "new").rename(site.data / "webui.db")

    moment = Pinner.at_one_moment

    def then_replace(self: Pinner, names: list[str]) -> Any:
        found = moment(self, names)
        replace()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Pinner, "at_one_moment", then_replace)
        with pytest.raises(SourceChangedError, match=r"webui\.db was replaced"):
            helper.obey(ATTEMPT)
    with pytest.raises(AttemptFailedError, match=r"was written to|no longer matches the copy"):
        helper.obey({**ATTEMPT, "seconds": 0.2})
    assert helper.pinned.ahead == {}


@pytest.mark.parametrize("place", ["stage", "data"])
def test_room_is_looked_after_while_a_pinned_database_is_copied(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The stage grows, and as long as the pin is held the log beside the live database does too."""
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()
    helper.pinned.forget("webui.db")
    require = StageWriter.require_room

    def full(self: StageWriter, size_bytes: int, where: str = "") -> None:
        if size_bytes == 0 and (where == "") == (place == "stage"):
            raise NoRoomError("full")
        require(self, size_bytes, where)

    monkeypatch.setattr(StageWriter, "require_room", full)
    with pytest.raises(NoRoomError):
        helper.obey(PREPARE)
    assert not Path(helper.job.tree, "webui.db").exists()
    assert helper.pinned.ahead == {}


def test_a_copy_with_other_rows_than_the_pin_is_refused(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever went wrong: what SQLite itself said at the moment decides."""
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()
    helper.obey(ATTEMPT)

    def lose_a_row(*_: object) -> None:
        with closing(sqlite3.connect(helper.writer.place("webui.db"))) as copy:
            copy.execute("PRAGMA journal_mode=DELETE")
            copy.execute("DELETE FROM filling WHERE rowid = (SELECT max(rowid) FROM filling)")
            copy.commit()

    monkeypatch.setattr(PinnedCopies, "_bring_in", lose_a_row)
    with pytest.raises(AttemptFailedError, match=r"webui\.db could not be copied: .* differs from what was pinned"):
        helper.obey(FINISH)
    assert not Path(helper.job.tree, "webui.db").exists()


def test_uploads_that_cannot_be_linked_need_room(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same device is not enough: other mounts of it and foreign owners are copied."""
    site.build("delete")
    (site.data / "uploads" / "large").write_bytes(b"x" * 1_000_000)
    helper = make_helper()
    tree = helper.raw.writer, dict(Walk(helper.job))
    linked = _bytes_needed(tree[0], tree[1], (), shared=False)
    monkeypatch.setattr("owui_vault.capture.child.prepare.link_file", lambda *_: None)
    copied = _bytes_needed(tree[0], tree[1], (), shared=False)
    assert copied - linked == 1_001_000
    assert not Path(helper.job.desk, "link-probe").exists()
    assert link_file is not None


def test_a_log_beside_a_link_is_left_alone_and_told(site: Any, tmp_path: Path) -> None:
    """SQLite looks beside the link's target. Taken along, it would be recovered into the copy."""
    site.build("delete")
    (tmp_path / "elsewhere").mkdir()
    (site.data / "webui.db").rename(tmp_path / "elsewhere" / "webui.db")
    (site.data / "webui.db").symlink_to(tmp_path / "elsewhere" / "webui.db")
    (site.data / "webui.db-wal").write_bytes(b"of another time")
    plan = site.plan(links=(("webui.db", tmp_path / "elsewhere" / "webui.db"),))
    captured = site.take(plan=plan)
    assert captured.proof.mode is Proof.LIVE
    assert [warning.split(" ")[0] for warning in captured.warnings] == ["webui.db-wal"]
    assert captured.problems == ()
    assert not (captured.stage / "data" / "webui.db-wal").exists()
    assert (site.data / "webui.db-wal").read_bytes() == b"of another time"


def test_a_raw_copy_goes_when_its_database_can_be_pinned_after_all(
    site: Any, make_helper: Callable[..., Helper]
) -> None:
    """The application was started meanwhile; its log would be recovered into the copy of the pin."""
    site.build("wal")
    helper = make_helper()
    assert "webui.db" in helper.raw.taken
    site.run(rest_seconds=-1)
    with pytest.raises(AttemptFailedError, match=r"webui\.db no longer matches the copy taken beforehand"):
        helper.obey(ATTEMPT)
    helper.obey(PREPARE)
    assert "webui.db" not in helper.raw.taken
    helper.obey(ATTEMPT)
    found = helper.obey(FINISH)["databases"]
    assert isinstance(found, list)
    assert found[0]["pinned"]
    assert sorted(path.name for path in Path(helper.job.tree).glob("webui.db*")) == ["webui.db"]


def test_what_comes_or_goes_at_the_top_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There no time of the directory tells: the stage may lie in it."""
    site.build("delete")
    (site.data / "old").write_text("x")
    helper = make_helper()
    with monkeypatch.context() as patch:
        after(patch, "_take", lambda: (site.data / "new").write_text("x"))
        with pytest.raises(SourceChangedError, match="new appeared"):
            helper.obey(ATTEMPT)
    with monkeypatch.context() as patch:
        after(patch, "_take", (site.data / "old").unlink)
        with pytest.raises(SourceChangedError, match="lost a file"):
            helper.obey(ATTEMPT)
    helper.obey(ATTEMPT)
    assert Path(helper.job.tree, "new").exists()
    assert not Path(helper.job.tree, "old").exists()


def test_a_directory_that_stops_being_readable_fails_the_attempt(
    site: Any, make_helper: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a breaking disk does it, without any change in a mark: an unseen change might be in it."""
    site.build("delete")
    helper = make_helper()
    scandir = os.scandir
    broken: list[bool] = []

    def fail(path: str) -> Any:
        if broken and str(path).startswith(str(site.data)) and str(path).endswith("/empty"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    with monkeypatch.context() as patch:
        after(patch, "_take", lambda: broken.append(True))
        with pytest.raises(SourceChangedError, match="changed who may read it"):
            helper.obey(ATTEMPT)
    helper.obey(ATTEMPT)
    assert helper.obey(FINISH)["unreadable"] == ["cache/functions/empty"]
