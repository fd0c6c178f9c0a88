"""Of the locks that killed runs leave, only what is proven ours and dead is removed; also under another host name."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from owui_vault.engines.borg.locks import Holder, belongs_to, clear_remains
from owui_vault.engines.common.run_records import Run, dead_runs, new_record
from owui_vault.errors import EngineError, RepositoryLockedError
from owui_vault.model import Progress
from owui_vault.testing.children import descendants
from owui_vault.testing.engines.bench import Bench, make_label

_NEW_HOST_NAMES = 0x04000000  # CLONE_NEWUTS
RUN = Run(record=Path("/r"), pid=7, host="3f2a1b", user=0, started=1_000_000.0)
HOLDER = Holder("3f2a1b@2485377892354", 7)


@pytest.mark.parametrize(
    ("holder", "written", "ours"),
    [
        (HOLDER, 1_000_000.5, True),
        (HOLDER, 1_000_300.0, True),  # it waited for the lock
        (Holder("3f2a1b.lan@2485377892354", 7), 1_000_000.5, True),
        (HOLDER, 999_990.0, False),  # older than our run
        (HOLDER, 1_009_000.0, False),
        (Holder("3f2a1b@2485377892354", 8), 1_000_000.5, False),
        (Holder("3f2a1bc@2485377892354", 7), 1_000_000.5, False),
        (Holder("other@2485377892354", 7), 1_000_000.5, False),
    ],
)
def test_a_lock_is_ours_when_it_can_be_nobody_elses(holder: Holder, written: float, ours: bool) -> None:
    assert belongs_to(holder, written, RUN) is ours


def a_dead_run(folder: Path, host: str = "3f2a1b", pid: int = 7) -> Path:
    record = new_record(folder)
    record.write_text(json.dumps({"pid": pid, "host": host, "user": 0, "started": 1_000_000.0}))
    return record


def test_a_list_of_readers_loses_only_the_dead(tmp_path: Path) -> None:
    place = tmp_path / "repository"
    place.mkdir()
    others = [["3f2a1b@1", 8, 0], ["other@1", 7, 0]]
    roster = place / "lock.roster"
    roster.write_text(json.dumps({"shared": [["3f2a1b@1", 7, 0], *others], "exclusive": []}))
    record = a_dead_run(tmp_path)
    clear_remains(tmp_path, [place])
    assert json.loads(roster.read_text()) == {"shared": others, "exclusive": []}
    assert not record.exists()
    assert sorted(path.name for path in place.iterdir()) == ["lock.roster"]


def test_a_list_is_left_alone_while_somebody_works_there(tmp_path: Path) -> None:
    """And looked at by the next run."""
    place = tmp_path / "repository"
    (place / "lock.exclusive").mkdir(parents=True)
    (place / "lock.exclusive/other@1.9-0").touch()
    roster = place / "lock.roster"
    roster.write_text(json.dumps({"shared": [["3f2a1b@1", 7, 0]]}))
    record = a_dead_run(tmp_path)
    clear_remains(tmp_path, [place])
    assert json.loads(roster.read_text()) == {"shared": [["3f2a1b@1", 7, 0]]}
    assert record.exists()
    assert [path.name for path in (place / "lock.exclusive").iterdir()] == ["other@1.9-0"]
    assert list(place.glob("lock.exclusive.*")) == []


@pytest.mark.parametrize("text", ['{"shared": [["3f2a1b@1", 7', '["shared"]', '{"shared": 7}'])
def test_a_list_that_cannot_be_read_is_not_one_of_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    place = tmp_path / "repository"
    place.mkdir()
    (place / "lock.roster").write_text(text)
    record = a_dead_run(tmp_path)
    clear_remains(tmp_path, [place])
    assert record.exists()
    assert "could not look" in caplog.text


def test_whoever_dies_while_he_clears_a_list_leaves_it_whole_and_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is replaced in one step, and the next run knows the lock for its own dead's."""
    place = tmp_path / "repository"
    place.mkdir()
    roster = place / "lock.roster"
    text = json.dumps({"shared": [["3f2a1b@1", 7, 0]]})
    roster.write_text(text)
    record = a_dead_run(tmp_path)
    child = os.fork()
    if child == 0:

        def die(*_arguments: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        rename = Path.rename
        monkeypatch.setattr(Path, "rename", lambda path, to: die() if path.is_file() else rename(path, to))
        clear_remains(tmp_path, [place])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert roster.read_text() == text
    assert (place / "lock.exclusive").is_dir()
    clear_remains(tmp_path, [place])
    assert json.loads(roster.read_text()) == {"shared": []}
    assert not (place / "lock.exclusive").exists()
    assert not record.exists()


def test_a_number_that_is_somebodys_now_is_left_to_borg(tmp_path: Path) -> None:
    place = tmp_path / "repository"
    place.mkdir()
    text = json.dumps({"shared": [[f"{os.uname().nodename}@1", os.getpid(), 0]]})
    (place / "lock.roster").write_text(text)
    a_dead_run(tmp_path, os.uname().nodename, os.getpid())
    clear_remains(tmp_path, [place])
    assert (place / "lock.roster").read_text() == text


@pytest.mark.slow
def test_a_borg_that_was_killed_leaves_nothing_even_while_we_live(bench: Bench) -> None:
    """Another machine, on a share, cannot know that it is dead, and would wait for it until our next run."""
    bench.big(100_000_000)

    def kill(event: Progress) -> None:
        if event.done_bytes:
            for pid in bench.left_running():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(EngineError):
        bench.engine.store(bench.tree, make_label(), bench.call(progress=kill))
    assert list(bench.folder.rglob("lock.exclusive")) == []
    assert [json.loads(roster.read_text()) for roster in bench.folder.rglob("lock.roster")] == [{"exclusive": []}] * 2
    assert list((bench.folder / "state/runs").iterdir()) == []


def killed_in_a_container(bench: Bench, *, forget: bool = False) -> None:
    """borg and we die at one moment in the midst of a store, on a host whose name nobody will ever have again."""
    child = os.fork()
    if child == 0:

        def kill(event: Progress) -> None:
            if event.done_bytes:
                for pid in descendants(os.getpid()):
                    os.kill(pid, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            ctypes.CDLL(None).unshare(_NEW_HOST_NAMES)
            socket.sethostname("3f2a1b7c9d0e")
            bench.engine.store(bench.tree, make_label(1), bench.call(progress=kill))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    until = time.monotonic() + 60  # a process that is killed in the midst of writing takes its time to die
    while not list(dead_runs(bench.folder / "state")):
        assert time.monotonic() < until
        time.sleep(0.05)
    if forget:
        for record in (bench.folder / "state/runs").iterdir():
            record.unlink()


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.doubled
@pytest.mark.thorough
def test_a_run_killed_under_another_host_name_is_in_nobodys_way(bench: Bench) -> None:
    bench.big(100_000_000)
    killed_in_a_container(bench)
    assert [path.name.partition("@")[0] for path in (bench.repository / "lock.exclusive").iterdir()] == ["3f2a1b7c9d0e"]
    assert bench.engine.snapshots(bench.call(timeout=12)) == ()
    stored = bench.engine.store(bench.tree, make_label(2), bench.call(timeout=12)).snapshot
    bench.engine.remove([stored.engine_id], bench.call(timeout=12))
    assert not (bench.repository / "lock.exclusive").exists()
    assert list((bench.folder / "state/runs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.thorough
@pytest.mark.doubled
def test_a_lock_that_is_not_proven_ours_stays(bench: Bench) -> None:
    bench.big(100_000_000)
    killed_in_a_container(bench, forget=True)
    (lock,) = (bench.repository / "lock.exclusive").iterdir()
    with pytest.raises(RepositoryLockedError):
        bench.engine.snapshots(bench.call(timeout=8))
    assert list((bench.repository / "lock.exclusive").iterdir()) == [lock]
