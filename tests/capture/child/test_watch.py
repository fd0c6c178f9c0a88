"""Who is not frozen and could write is found out by asking the kernel, not by believing whoever froze them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child import watch as watching
from owui_vault.capture.child.classify import Database, lock_holders, mappings
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.main import job_from
from owui_vault.capture.child.watch import WritersFound, at_rest, find_writers
from owui_vault.guardian.bounded_hold import Hold
from owui_vault.guardian.journal import Journal
from owui_vault.model import CaptureLimits, Proof, Quiesce
from owui_vault.quiesce.process import ProcessQuiescer
from owui_vault.system.clock import SystemClock

OPENS = """
import os, sys
descriptor = os.open(sys.argv[1], getattr(os, sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
"""
LOCKS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
"""
MAPS = """
import mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
view = mmap.mmap(descriptor, 0)
os.closerange(3, 100)  # also the one that Python keeps
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(program: str, *arguments: object) -> Iterator[int]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child.pid
        finally:
            child.kill()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "data").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x" * 5000)
    nothing: dict[str, object] = {key: [] for key in ("databases", "write_once", "links", "exclude", "include")}
    places = {"data_dir": str(tmp_path / "data"), "work_dir": str(tmp_path / "work")}
    return job_from({"job": {**nothing, **places, "reserve_bytes": 0, "wal_growth_bytes": 0}})


def look(job: Job, *databases: Database, mappers: dict[int, str] | None = None) -> WritersFound:
    status = os.lstat(f"{job.data_dir}/file")
    return find_writers(job, {(status.st_dev, status.st_ino): "file"}, databases, mappers or {})


def test_whoever_has_a_file_open_for_writing_is_named(job: Job, tmp_path: Path) -> None:
    assert look(job).writers == ()
    with running(OPENS, tmp_path / "data" / "file", "O_RDONLY"):
        assert look(job).writers == ()
    for mode in ("O_WRONLY", "O_RDWR"):
        with running(OPENS, tmp_path / "data" / "file", mode) as pid:
            (named,) = look(job).writers
            assert named.startswith(f"process {pid} (")
            assert named.endswith("is not frozen and has file open for writing")


def test_a_file_that_nobody_listed_counts_and_one_of_ours_does_not(job: Job, tmp_path: Path) -> None:
    for folder, count in (("data", 1), ("work", 0)):
        (tmp_path / folder / "new").write_text("")
        with running(OPENS, tmp_path / folder / "new", "O_RDWR"):
            assert len(look(job).writers) == count


def test_the_frozen_are_no_writers(job: Job, tmp_path: Path) -> None:
    with running(OPENS, tmp_path / "data" / "file", "O_RDWR") as pid:
        assert at_rest(pid) is False
        os.kill(pid, signal.SIGSTOP)
        while at_rest(pid) is not True:
            time.sleep(0.001)
        assert look(job).writers == ()
        os.kill(pid, signal.SIGCONT)
        while at_rest(pid):
            time.sleep(0.001)
        assert len(look(job).writers) == 1
    assert at_rest(pid) is True  # it is gone


@contextmanager
def frozen_group(pid: int) -> Iterator[None]:
    """The process in a control group of its own that is frozen: as an engine does it with a container."""
    freezer = Path("/sys/fs/cgroup/freezer")
    first = freezer.is_dir()
    group = (freezer if first else Path("/sys/fs/cgroup")) / f"owui-vault-test-{pid}"
    switch, on, off = (group / "freezer.state", "FROZEN", "THAWED") if first else (group / "cgroup.freeze", "1", "0")
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        switch.write_text(on)
        yield
    finally:
        switch.write_text(off)
        (group.parent / "cgroup.procs").write_text(str(pid))
        while (group / "cgroup.procs").read_text():
            time.sleep(0.001)
        group.rmdir()


@pytest.mark.root
def test_a_frozen_control_group_is_at_rest(job: Job, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make control groups")
    with running(OPENS, tmp_path / "data" / "file", "O_RDWR") as pid:
        with frozen_group(pid):
            until = time.monotonic() + 5
            while at_rest(pid) is not True and time.monotonic() < until:
                time.sleep(0.001)
            assert at_rest(pid) is True
            assert look(job).writers == ()
        assert len(look(job).writers) == 1


def test_who_may_not_be_looked_at_is_still_named_by_his_locks(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(watching, "_written_by", refuse)
    path = tmp_path / "data" / "webui.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE one(n)")
    database = Database(name="webui.db", real=str(path), mode="delete")
    assert look(job, database) == WritersFound(writers=(), complete=False)
    with running(LOCKS, path) as pid:
        (named,) = look(job, database).writers
        assert named.startswith(f"process {pid} (")
        assert named.endswith("holds a lock on webui.db")


def test_who_has_a_file_mapped_is_named(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "data" / "file"
    with running(MAPS, path) as pid:
        status = path.stat()
        files = {(status.st_dev, status.st_ino): "file"}
        assert mappings(files) == {"file": pid}
        # The same number on another device is another file.
        assert mappings({(os.makedev(7, 250), status.st_ino): "file"}) == {}
        (named,) = look(job, mappers={pid: "file"}).writers
        assert named.endswith("has file mapped")


@pytest.mark.root
def test_a_mapping_is_found_on_every_file_system(any_filesystem: Path) -> None:
    """btrfs tells another device in /proc/PID/maps than to stat."""
    path = any_filesystem / "mapped"
    path.write_bytes(b"x" * 5000)
    with running(MAPS, path) as pid:
        status = path.stat()
        assert mappings({(status.st_dev, status.st_ino): "vector_db/mapped"}) == {"vector_db/mapped": pid}


KEEPS_OPEN = """
import os, sys
descriptors = [os.open(path, os.O_RDWR) for path in sys.argv[1:]]
print("ready", flush=True)
number = 0
while True:
    number += 1
    for each in descriptors:
        os.pwrite(each, b"%08d" % number * 4096, 0)
"""
OPENS_ANEW = """
import os, sys
print("ready", flush=True)
number = 0
while True:
    number += 1
    for path in sys.argv[1:]:
        descriptor = os.open(path, os.O_RDWR)
        os.pwrite(descriptor, b"%08d" % number * 4096, 0)
        os.close(descriptor)
"""


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("program", [KEEPS_OPEN, OPENS_ANEW], ids=["kept open", "opened anew"])
@pytest.mark.parametrize("kind", ["ext4", "ext4-128"])
def test_an_instance_that_only_its_missing_pid_file_calls_stopped_is_never_mixed(
    mounted: Callable[[str], Path], make_site: Callable[[Path], Any], tmp_path: Path, program: str, kind: str
) -> None:
    """It runs, and on whole seconds the marks see nothing of it; nobody was frozen, so marks must settle."""
    base = mounted(kind) / tmp_path.name
    base.mkdir()
    site = make_site(base).build(filling=10)
    hold = Hold(ProcessQuiescer(tmp_path / "nowhere.pid"), Journal(tmp_path / "journal"), None, SystemClock())
    segments = sorted((site.data / "vector_db" / "segment").iterdir())
    limits = CaptureLimits(reserve_bytes=0, live_seconds=0.3, freezes=1, freeze_seconds=1.5)
    with running(program, *segments):
        for _ in range(3):
            captured = site.take(Quiesce.AUTO, quiet=hold, limits=limits)
            copies = [captured.stage / "data" / path.relative_to(site.data) for path in segments]
            numbers = [{path.read_bytes()[at : at + 8] for at in range(0, 32768, 8)} for path in copies]
            mixed = any(len(each) > 1 for each in numbers) or len({int(min(each)) for each in numbers}) > 2
            assert captured.proof.mode is Proof.UNPROVEN or not mixed, captured.proof
            if program is KEEPS_OPEN and captured.proof.mode is not Proof.LIVE:
                assert captured.proof.mode is Proof.UNPROVEN
                assert "is not frozen and has vector_db/segment/" in captured.proof.weaker[-1]


def test_a_look_that_fails_has_seen_nobody_and_says_so(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody seen is not nobody there."""

    def fail(_: str) -> None:
        raise ValueError

    monkeypatch.setattr(watching, "lock_holders", fail)
    database = Database(name="webui.db", real=f"{job.data_dir}/webui.db", mode="delete")
    assert look(job, database) == WritersFound(writers=(), complete=False)


def test_who_is_not_root_has_not_seen_everybody(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with running(OPENS, tmp_path / "data" / "file", "O_RDWR") as pid:
        watched = look(job)
        assert not watched.complete
        assert [each.split(" (")[0] for each in watched.writers] == [f"process {pid}"]


def test_a_process_that_may_not_be_looked_at_is_neither_at_rest_nor_a_writer(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("print(flush=True); input()") as pid:
        monkeypatch.setattr(os, "listdir", hidden(f"/proc/{pid}/task"))
        assert at_rest(pid) is None
        watched = look(job, mappers={pid: "file"})
        assert watched == WritersFound(writers=(), complete=False)


def hidden(path: str) -> Callable[[str], list[str]]:
    listdir = os.listdir

    def refuse(folder: str) -> list[str]:
        if folder == path:
            raise PermissionError
        return listdir(folder)

    return refuse


def test_a_control_group_that_is_not_seen_from_here_is_not_called_running() -> None:
    """Inside a container the path in /proc leads nowhere below its own /sys."""
    assert watching._frozen("0::/no/such/group") is None
    assert watching._frozen("7:freezer:/no/such/group") is None
    assert watching._frozen("7:cpu:/no/such/group") is False
    assert watching._frozen("0::/") is False


def test_a_process_that_ends_while_it_is_named_is_called_gone() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert watching._name_of(child.pid) == "gone"
    assert watching._name_of(os.getpid()) != "gone"


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_lock_of_ours_hides_nobody_elses(tmp_path: Path, mode: str) -> None:
    """The kernel names one holder for each file, which may be our own; all are in its list."""
    path = tmp_path / "webui.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode={mode}; CREATE TABLE t(n)")
    with ExitStack() as opened:
        readers = [opened.enter_context(reading(path)) for _ in range(2)]
        for us, other in (readers, readers[::-1]):
            assert set(lock_holders(str(path), frozenset({us}))) == {other}
        assert lock_holders(str(path), frozenset(readers)) == []


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """A process in a read transaction."""
    command = [sys.executable, "-c", READS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.kill()


READS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT * FROM t").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""
