"""The child's steps one by one, in this process, and the small parts they are made of."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child import attempt as attempts
from owui_vault.capture.child import classify as classifying
from owui_vault.capture.child import copies, fences
from owui_vault.capture.child import prepare as preparing
from owui_vault.capture.child.classify import Database
from owui_vault.capture.child.content_times import content_time_ns
from owui_vault.capture.child.copies import unique_time_ns
from owui_vault.capture.child.errors import AttemptFailedError, SourceChangedError
from owui_vault.capture.child.fences import Fences, Probe, clock_offset, tick
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.main import Helper, job_from
from owui_vault.capture.child.marks import Mark, Walk, mark_of
from owui_vault.capture.child.messages import items, number, part, texts, whole
from owui_vault.capture.child.sqlite import pinned_copy as pinning
from owui_vault.capture.child.watch import WritersFound
from owui_vault.system import filesystem
from owui_vault.system.filesystem import copy_bytes, filesystem_type, overlay_layers
from owui_vault.system.patterns import Selection
from owui_vault.system.removal import remove_tree

ATTEMPT = {"do": "attempt", "seconds": 2.0, "frozen": False, "held": True, "patience_seconds": 0.0, "pin": True}


@pytest.fixture
def helper(site: Any) -> Iterator[Helper]:
    site.build("delete")
    made = Helper(job_from({"job": description(site)}))
    yield made
    made.pinned.end()


def description(site: Any, **changes: object) -> dict[str, object]:
    return {
        "data_dir": str(site.data),
        "work_dir": str(site.work),
        "databases": ["webui.db", "vector_db/chroma.sqlite3"],
        "write_once": ["uploads"],
        "links": [],
        "exclude": [],
        "include": [],
        "reserve_bytes": 0,
        "wal_growth_bytes": 1 << 30,
        **changes,
    }


BEGINS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")
connection.execute("BEGIN")
connection.execute("UPDATE filling SET b = zeroblob(3000)")
print("ready", flush=True)
sys.stdin.read()
"""


def prepare(helper: Helper) -> dict[str, Any]:
    return helper.obey({"do": "prepare", "seconds": 10, "pin": True, "copy_seconds": 10})


def test_the_steps_follow_each_other(helper: Helper) -> None:
    found = prepare(helper)
    assert (found["overlay"], found["obstacles"]) == ("", ())
    answer = helper.obey(ATTEMPT)
    assert answer["unsettled"] == 0
    finished: dict[str, Any] = helper.obey({"do": "finish", "seconds": 10})
    assert [each["name"] for each in finished["databases"]] == ["webui.db", "vector_db/chroma.sqlite3"]
    assert (finished["copied"], finished["linked"], finished["skipped"]) == (3, 1, [])
    helper.obey({"do": "seal", "seconds": 10})
    inventory = Path(helper.job.desk, "inventory.jsonl").read_text()
    assert inventory.count("\n") == 13  # the data directory itself is one of them


def test_what_lies_where_others_may_write_is_named_once_for_each_file_system(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch, mounted: Callable[[str], Path]
) -> None:
    assert prepare(helper)["shared"] == ()
    elsewhere = mounted("tmpfs") / site.data.parent.name
    elsewhere.mkdir()
    (elsewhere / "a.txt").write_text("a")
    monkeypatch.setattr(preparing, "filesystem_type", lambda path: "nfs" if "uploads" in str(path) else "ext4")
    subprocess.run(["mount", "--bind", elsewhere, site.data / "uploads"], check=True)
    try:
        found = prepare(helper)
        assert found["shared"] == ("uploads is on nfs",)
        assert found["obstacles"] == ("uploads is on a different file system from the stage",)
    finally:
        subprocess.run(["umount", site.data / "uploads"], check=True)
    monkeypatch.setattr(preparing, "filesystem_type", lambda _: "fuse")
    found = prepare(helper)
    assert found["shared"] == ("the data directory is on fuse",)
    assert found["obstacles"] == ("it is not possible to wait for pending writes on fuse",)


def test_a_database_on_another_file_system_than_the_stage_is_no_live_one(
    site: Any, mounted: Callable[[str], Path]
) -> None:
    """Its times come from another clock than the one that is asked."""
    site.build("delete")
    elsewhere = mounted("tmpfs") / f"{site.data.parent.name}.db"
    shutil.move(site.data / "webui.db", elsewhere)
    (site.data / "webui.db").symlink_to(elsewhere)
    links = [{"name": "webui.db", "real": str(elsewhere)}]
    helper = Helper(job_from({"job": description(site, links=links)}))
    assert prepare(helper)["obstacles"] == ("webui.db is on a different file system from the stage",)


def test_who_maps_a_file_while_copies_are_made_ahead_is_seen(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may take minutes, and what is stored into a mapping then leaves no trace."""
    ahead = preparing._ahead
    views: list[mmap.mmap] = []

    def then_map(*arguments: Any) -> None:
        ahead(*arguments)
        with (site.data / "vector_db" / "segment" / "header.bin").open("r+b") as file:
            views.append(mmap.mmap(file.fileno(), 4096))

    monkeypatch.setattr(preparing, "_ahead", then_map)
    (obstacle,) = prepare(helper)["obstacles"]
    assert obstacle.startswith("vector_db/segment/header.bin is memory-mapped by a process")
    views[0].close()


def test_a_database_whose_application_went_meanwhile_is_not_opened(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the rest was copied ahead, which may take minutes: SQLite would make a log and an index, and leave them."""
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = Helper(job_from({"job": description(site)}))
    ahead = preparing._ahead
    left: set[str] = set()

    def then_end(*arguments: Any) -> None:
        ahead(*arguments)
        site.writers[0].end()
        left.update(path.name for path in site.data.iterdir())

    monkeypatch.setattr(preparing, "_ahead", then_end)
    found = prepare(helper)
    assert found["databases"][0]["obstacle"] in ("no process has it open", "no process is seen sharing its locks")
    assert helper.pinned.process() is None
    assert {path.name for path in site.data.iterdir()} == left
    helper.obey(ATTEMPT)


def test_nothing_can_be_finished_that_was_not_taken(helper: Helper) -> None:
    with pytest.raises(AttemptFailedError):
        helper.obey({"do": "finish", "seconds": 10})


def test_a_failed_attempt_keeps_what_did_not_move(helper: Helper, site: Any) -> None:
    """A journal over several databases can never be applied to the copy."""
    prepare(helper)
    kept = dict(helper.writer.copies)
    journal = site.data / "webui.db-journal"
    journal.write_bytes(b"\1" * 1000 + b"/super" + bytes(8) + bytes.fromhex("d9d505f920a163d7"))
    with pytest.raises(AttemptFailedError, match="several databases"):
        helper.obey(ATTEMPT)
    assert helper.writer.copies == kept
    assert helper.obey({"do": "gather", "seconds": 10, "patience_seconds": 0.5})["torn"] == ["webui.db"]
    journal.unlink()
    helper.obey(ATTEMPT)


def test_what_came_and_went_since_the_preparation_is_followed(helper: Helper, site: Any) -> None:
    prepare(helper)
    (site.data / "uploads" / "0.txt").unlink()
    (site.data / "uploads" / "new.txt").write_text("new")
    (site.data / "config.json").write_text("{}")
    (site.data / "link").symlink_to("config.json")
    helper.obey(ATTEMPT)
    tree = Path(helper.job.tree)
    assert sorted(path.name for path in (tree / "uploads").iterdir()) == ["new.txt"]
    assert (tree / "uploads" / "new.txt").samefile(site.data / "uploads" / "new.txt")
    # A file becomes a directory, a directory a file, a link something else.
    (site.data / "config.json").unlink()
    (site.data / "config.json").mkdir()
    (site.data / "cache" / "functions" / "empty").rmdir()
    (site.data / "cache" / "functions" / "empty").write_text("a file now")
    (site.data / "link").unlink()
    (site.data / "link").write_text("a file as well")
    helper.obey(ATTEMPT)
    assert (tree / "config.json").is_dir()
    assert (tree / "cache" / "functions" / "empty").read_text() == "a file now"
    assert (tree / "link").read_text() == "a file as well"


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds ahead is barely ahead: as if the file system's clock had not moved on."""
    monkeypatch.setattr(fences, "_NEAR_NS", 10_000_000_000)


@pytest.fixture
def all_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of every process, which it does not do everywhere that tests run."""
    monkeypatch.setattr(attempts, "find_writers", lambda *_, **__: WritersFound(writers=(), complete=True))


@pytest.mark.parametrize("change", [{"held": False}, {"frozen": False}])
def test_marks_must_settle_unless_we_froze_everybody(
    helper: Helper, site: Any, all_seen: None, near: None, change: dict[str, object]
) -> None:
    prepare(helper)
    path = site.data / "uploads" / "late.txt"
    path.write_text("late")
    soon = helper.writer.probe.now_ns() + 3_000_000_000
    os.utime(path, ns=(soon, soon))
    with pytest.raises(AttemptFailedError, match=r"late\.txt has a change time .* s ahead"):
        helper.obey({**ATTEMPT, "seconds": 0.3, "frozen": True, **change})


def test_marks_must_settle_where_somebody_may_be_unseen(
    helper: Helper, site: Any, near: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(helper)
    monkeypatch.setattr(attempts, "find_writers", lambda *_, **__: WritersFound(writers=(), complete=False))
    path = site.data / "uploads" / "late.txt"
    path.write_text("late")
    soon = helper.writer.probe.now_ns() + 3_000_000_000
    os.utime(path, ns=(soon, soon))
    with pytest.raises(AttemptFailedError, match=r"late\.txt has a change time .* s ahead"):
        helper.obey({**ATTEMPT, "seconds": 0.3, "frozen": True})


def test_a_transaction_of_somebody_we_do_not_hold_is_waited_for(helper: Helper, site: Any, all_seen: None) -> None:
    prepare(helper)
    command = [sys.executable, "-c", BEGINS, str(site.data / "vector_db" / "chroma.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            with pytest.raises(AttemptFailedError, match="is in a transaction"):
                helper.obey({**ATTEMPT, "seconds": 0.3, "frozen": True, "held": False})
            helper.obey({**ATTEMPT, "frozen": True})
        finally:
            child.kill()


def test_a_transaction_that_begins_after_the_databases_were_classified_is_waited_for(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a journal that was there then, with nobody at work, is one that a crash has left."""
    prepare(helper)
    classify = classifying.classify
    command = [sys.executable, "-c", BEGINS, str(site.data / "webui.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        os.kill(child.pid, signal.SIGSTOP)

        def then_begin(job: Job, *, but: frozenset[str]) -> tuple[Database, ...]:
            found = classify(job, but=but)
            os.kill(child.pid, signal.SIGCONT)
            assert child.stdout is not None
            child.stdout.readline()
            return found

        monkeypatch.setattr(pinning, "classify", then_begin)
        try:
            with pytest.raises(AttemptFailedError, match=r"webui\.db is in a transaction"):
                helper.obey({**ATTEMPT, "seconds": 0.5})
        finally:
            child.kill()


def test_an_unsettled_upload_is_copied_in_a_freeze_and_not_kept(
    helper: Helper, site: Any, all_seen: None, near: None
) -> None:
    prepare(helper)
    path = site.data / "uploads" / "late.txt"
    path.write_text("late")
    soon = helper.writer.probe.now_ns() + 3_000_000_000
    os.utime(path, ns=(soon, soon))
    answer = helper.obey({**ATTEMPT, "frozen": True, "patience_seconds": 0.0})
    copy = Path(helper.job.tree) / "uploads" / "late.txt"
    assert answer["unsettled"] == 1
    assert not copy.samefile(path)
    assert copy.stat().st_mtime_ns != path.stat().st_mtime_ns
    mark = mark_of(str(path))
    assert mark is not None
    assert not helper.writer.has("uploads/late.txt", mark)


def test_a_time_far_in_the_future_does_not_hold_us_up(helper: Helper, site: Any) -> None:
    path = site.data / "uploads" / "future.txt"
    path.write_text("from a machine with a wrong clock")
    os.utime(path, ns=(4 * 10**18, 4 * 10**18))
    prepare(helper)
    assert helper.obey(ATTEMPT)["unsettled"] == 0


def move_behind_a_link(site: Any) -> Path:
    """As an operator does who gives the vectors another disk; answers the live database."""
    (site.data / "vector_db").rename(site.data.parent / "elsewhere")
    (site.data / "vector_db").symlink_to(site.data.parent / "elsewhere")
    return Path(site.data.parent / "elsewhere" / "chroma.sqlite3")


def test_a_directory_that_became_a_link_never_leads_us_to_live_data(helper: Helper, site: Any) -> None:
    """What is written and removed in the stage would be written and removed through that link."""
    prepare(helper)
    live = move_behind_a_link(site)
    before = (live.read_bytes(), sorted(path.name for path in live.parent.rglob("*")))
    for deed in (ATTEMPT, ATTEMPT, {"do": "gather", "seconds": 10, "patience_seconds": 0.5}):
        with pytest.raises(AttemptFailedError, match="vector_db is no longer a directory"):
            helper.obey(deed)
    assert (live.read_bytes(), sorted(path.name for path in live.parent.rglob("*"))) == before
    assert not Path(helper.job.tree, "vector_db").is_symlink()


def test_no_link_in_the_stage_is_followed(helper: Helper, site: Any) -> None:
    """Whatever put it there."""
    prepare(helper)
    live = site.data / "vector_db"
    shutil.rmtree(Path(helper.job.tree, "vector_db"))
    Path(helper.job.tree, "vector_db").symlink_to(live)
    helper.writer.inside.forget()
    before = sorted(path.name for path in live.rglob("*"))
    helper.raw.forget("vector_db/chroma.sqlite3")
    helper.writer.forget("vector_db/segment/header.bin")
    helper.writer.forget_database("vector_db/chroma.sqlite3")
    assert sorted(path.name for path in live.rglob("*")) == before
    with pytest.raises(SourceChangedError):
        helper.writer.place_for_database("vector_db/chroma.sqlite3")
    mark = mark_of(str(live / "segment" / "header.bin"))
    assert mark is not None
    with pytest.raises(SourceChangedError):
        helper.writer.put("vector_db/segment/header.bin", mark, link=False)


def test_a_link_that_leads_elsewhere_by_now_fails_the_attempt(site: Any) -> None:
    site.build()
    live = move_behind_a_link(site)
    helper = Helper(job_from({"job": description(site, links=[{"name": "vector_db", "real": str(live.parent)}])}))
    prepare(helper)
    helper.obey(ATTEMPT)
    (site.data / "vector_db").unlink()
    shutil.copytree(live.parent, site.data / "vector_db")
    with pytest.raises(AttemptFailedError, match="vector_db now points somewhere else"):
        helper.obey(ATTEMPT)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_a_broken_disk_does_not_give_is_left_out_and_named(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (site.data / "config.json").write_text("{}")
    broken = (site.data / "config.json").stat().st_ino
    real = os.copy_file_range

    def copy(source: int, *arguments: Any, **more: Any) -> int:
        if os.fstat(source).st_ino == broken:
            raise OSError(number, os.strerror(number))
        return real(source, *arguments, **more)

    monkeypatch.setattr(os, "copy_file_range", copy)
    prepare(helper)
    helper.obey(ATTEMPT)
    assert helper.obey({"do": "finish", "seconds": 10})["unreadable"] == ["config.json"]
    assert not Path(helper.job.tree, "config.json").exists()


def test_gathering_takes_each_database_whole(helper: Helper) -> None:
    prepare(helper)
    assert helper.obey({"do": "gather", "seconds": 10, "patience_seconds": 1})["torn"] == []
    assert helper.obey({"do": "finish", "seconds": 10})["copied"] == 3


def test_what_never_holds_still_is_taken_as_it_is_met(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows at every look, and is shorter than it was when its copy ends."""
    path = site.data / "vector_db" / "segment" / "header.bin"
    path.write_bytes(b"x" * 1000)
    prepare(helper)
    through = Fences.through

    def grow(self: Fences, descriptor: int, name: str) -> None:
        through(self, descriptor, name)
        if name.endswith("header.bin"):
            with path.open("ab") as file:
                file.write(b"y")

    copy = filesystem.copy_bytes

    def shrink(source: int, target: int, size_bytes: int) -> int:
        if os.fstat(source).st_ino == path.stat().st_ino:
            os.truncate(path, 500)
        return copy(source, target, size_bytes)

    monkeypatch.setattr(Fences, "through", grow)
    monkeypatch.setattr(copies, "copy_bytes", shrink)
    path.write_bytes(b"x" * 1001)
    assert helper.obey({"do": "gather", "seconds": 10, "patience_seconds": 1})["torn"] == [
        "vector_db/segment/header.bin"
    ]
    assert Path(helper.job.tree, "vector_db/segment/header.bin").read_bytes() == b"x" * 500
    finished: dict[str, Any] = helper.obey({"do": "finish", "seconds": 10})
    vectors = finished["vectors"]
    assert {each["name"]: each["size"] for each in vectors}["vector_db/segment/header.bin"] == 500


def test_only_what_was_marked_is_opened(helper: Helper, site: Any) -> None:
    prepare(helper)
    path = site.data / "uploads" / "0.txt"
    mark = mark_of(str(path))
    assert mark is not None
    with pytest.raises(SourceChangedError, match="replaced"):
        Fences().open(str(path), mark._replace(inode=1), "uploads/0.txt")
    with pytest.raises(SourceChangedError, match="vanished"):
        Fences().open(str(path) + "x", mark, "uploads/0.txt")
    (site.data / "uploads" / "link").symlink_to("0.txt")
    with pytest.raises(SourceChangedError, match="cannot be opened"):
        Fences().open(str(site.data / "uploads" / "link"), mark, "uploads/link")


def test_a_link_of_ours_moves_one_time_only() -> None:
    mark = Mark(1, 2, stat.S_IFREG, 3, 100, 100, 0, 0)
    assert mark.but_for_ctime(mark._replace(ctime_ns=7))
    assert not mark.but_for_ctime(mark._replace(size=7))


def test_the_probe_moves_with_every_look(tmp_path: Path) -> None:
    probe = Probe(str(tmp_path / "probe"))
    assert probe.now_ns() <= probe.now_ns()
    assert not probe.is_coarse()
    probe.close()
    assert clock_offset() == pytest.approx(clock_offset(), abs=0.01)
    assert [tick(each) for each in (0, 1, 20)] == [0.002, 0.004, 0.25]


def test_having_to_wait_between_two_clocks_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = iter([0, 50_000_000, 60_000_000, 60_000_100])  # in the first pair it waited for 50 ms
    monkeypatch.setattr(fences, "steady_ns", lambda: next(steady))
    monkeypatch.setattr(fences, "wall_ns", iter([50_050_000_000, 50_060_000_050]).__next__)
    assert clock_offset() == pytest.approx(50, abs=0.001)


def test_clocks_that_are_never_read_together_are_compared_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = count(0, 50_000_000)
    monkeypatch.setattr(fences, "steady_ns", lambda: next(steady))
    monkeypatch.setattr(fences, "wall_ns", lambda: 0)
    assert clock_offset() < 0


def test_times_of_copies_say_which_bytes_they_are() -> None:
    one, other = "ab" * 32, "ac" * 32
    assert content_time_ns(one, 5_000_000_123, coarse=False) == content_time_ns(one, 5_999_999_999, coarse=False)
    assert content_time_ns(one, 5_000_000_123, coarse=False) != content_time_ns(other, 5_000_000_123, coarse=False)
    assert content_time_ns(one, 5, coarse=True) == content_time_ns(one, 10**18, coarse=True)
    assert content_time_ns(one, 5, coarse=True) % 1_000_000_000 == 0
    assert unique_time_ns(coarse=True) % 1_000_000_000 == 0
    assert unique_time_ns(coarse=False) != unique_time_ns(coarse=False)


def test_include_wins_over_exclude() -> None:
    selection = Selection(("cache", "*.tmp", "odd[1].txt"), ("cache/image",))
    assert selection.has("webui.db")
    assert selection.has("cache/image/generations/a.tmp")
    assert not selection.has("cache/whisper/model")
    assert not selection.has("deep/a.tmp")
    assert not selection.has("odd[1].txt")
    assert selection.may_have_below("cache")
    assert not selection.may_have_below("deep")
    assert Selection((), ()).has("anything")


def test_messages_of_another_shape_are_refused() -> None:
    message: dict[str, object] = {"number": 1.5, "texts": ["a"], "part": {}}
    assert (number(message, "number"), whole(message, "number"), texts(message, "texts")) == (1.5, 1, ("a",))
    assert part(message["part"]) == {}
    for call in (lambda: number(message, "texts"), lambda: items(message, "number"), lambda: part(1)):
        with pytest.raises(TypeError):
            call()


def test_overlay_layers_are_read_as_the_kernel_escapes_them() -> None:
    text = r"""36 35 0:40 / /merged rw,relatime - overlay o rw,lowerdir=/a\134:b:/c,upperdir=/u\040p\134\054x,workdir=/w
37 35 8:1 / / rw - ext4 /dev/sda1 rw
nonsense
38 35 0:41 / /m rw - overlay o rw,lowerdir+=/one,lowerdir+=/two,upperdir=/up2
"""
    assert overlay_layers(text) == (r"/a\:b", "/a:b", "/c", r"/u p\,x", "/u p,x", "/w", "/one", "/two", "/up2")


def test_trees_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (tmp_path / "ours" / "deep").mkdir(parents=True)
    (tmp_path / "ours" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "ours" / "deep").chmod(0o500)
    remove_tree(tmp_path / "ours")
    remove_tree(tmp_path / "ours")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious" / "file").exists()


def test_bytes_are_copied_whatever_the_kernel_can(tmp_path: Path) -> None:
    """From /proc the kernel copies nothing by itself; the rest is done by hand."""
    content = os.urandom(3 << 20)
    (tmp_path / "source").write_bytes(content)
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    assert copy_bytes(source, target, len(content)) == len(content)
    assert (tmp_path / "target").read_bytes() == content
    assert copy_bytes(source, target, len(content) + 5) == len(content)
    strange = os.open("/proc/self/status", os.O_RDONLY)
    assert copy_bytes(strange, target, 20) == 20
    for each in (source, target, strange):
        os.close(each)
    assert filesystem_type("/proc").startswith("0x")
    with pytest.raises(FileNotFoundError):
        filesystem_type("/nowhere")


@pytest.mark.parametrize("moving", [False, True])
def test_the_time_of_a_look_is_measured_where_there_is_much_to_look_at(
    helper: Helper, monkeypatch: pytest.MonkeyPatch, moving: bool
) -> None:
    """The limit of an attempt is stretched by it; an entry that goes meanwhile is no reason to fail."""
    assert prepare(helper)["look_seconds"] == 0.0
    monkeypatch.setattr(preparing, "_MANY_ENTRIES", 10)
    walks: list[list[str]] = []

    class Slow(Walk):
        def __iter__(self) -> Iterator[tuple[str, Mark]]:
            walks.append([])
            for each in super().__iter__():
                time.sleep(0.002)
                walks[-1].append(each[0])
                yield each
                if moving and len(walks) == 2:
                    raise SourceChangedError(each[0])

    monkeypatch.setattr(preparing, "Walk", Slow)
    seconds = prepare(helper)["look_seconds"]
    assert isinstance(seconds, float)
    first, second = walks
    assert len(first) > 10
    assert second == ([""] if moving else first)
    assert seconds >= 0.002 * len(second)
