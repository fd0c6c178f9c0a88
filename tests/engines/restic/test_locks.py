"""Of what killed runs leave behind, only what is proven ours and dead is removed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from owui_vault.engines.common.run_records import Run, dead_runs
from owui_vault.engines.restic import locks as restic_locks
from owui_vault.engines.restic.locks import Lock, belongs_to
from owui_vault.errors import EngineError, RepositoryLockedError
from owui_vault.model import Progress
from owui_vault.testing.engines.bench import Bench, make_label
from tests.engines.restic.conftest import engine_at

BIG = 100_000_000
Elsewhere = Callable[[Bench, Path], AbstractContextManager[subprocess.Popen[bytes]]]
RUN = Run(record=Path("/r"), pid=7, host="box", user=0, started=1_000_000.0)
LOCK = Lock(id="a", pid=7, host="box", user=0, time=1_000_000.6)


@pytest.mark.parametrize(
    ("changes", "now", "ours"),
    [
        ({}, 1_000_001.0, True),
        ({"time": 1_000_600.0}, 1_002_000.0, True),  # refreshed while it lived, and then no more
        ({"time": 1_000_600.0}, 1_000_700.0, False),  # too fresh to be sure: another container's may look like this
        ({"time": 999_000.0}, 1_000_001.0, False),  # older than our run
        ({"pid": 8}, 1_000_001.0, False),
        ({"host": "other"}, 1_000_001.0, False),
        ({"user": 1000}, 1_000_001.0, False),
    ],
)
def test_a_lock_is_ours_when_it_can_be_nobody_elses(changes: dict[str, object], now: float, ours: bool) -> None:
    assert belongs_to(replace(LOCK, **changes), RUN, now) is ours  # type: ignore[arg-type]  # each fits its field


def test_a_run_is_dead_when_the_kernel_says_so(tmp_path: Path) -> None:
    record = tmp_path / "runs/1"
    record.parent.mkdir()
    record.write_text(json.dumps({"pid": 1, "host": "box", "user": 0, "started": 5.0}))
    (tmp_path / "runs/2").write_text("half")
    with record.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert list(dead_runs(tmp_path)) == []
    (dead,) = dead_runs(tmp_path)
    assert (dead.pid, dead.host, dead.started) == (1, "box", 5.0)
    assert (tmp_path / "runs/2").exists()  # perhaps it is being written right now
    os.utime(tmp_path / "runs/2", (1, 1))
    assert len(list(dead_runs(tmp_path))) == 1
    assert not (tmp_path / "runs/2").exists()


def locks(bench: Bench) -> list[Path]:
    return list((bench.repository / "locks").iterdir())


def half_written(bench: Bench) -> list[Path]:
    return list(bench.repository.rglob("*-tmp-*"))


def kill_engine(bench: Bench) -> None:
    for pid in bench.left_running():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_restic_that_was_killed_leaves_nothing_even_while_we_live(bench: Bench) -> None:
    bench.big(BIG)

    def kill(event: Progress) -> None:
        if event.done_bytes:
            kill_engine(bench)

    with pytest.raises(EngineError):
        bench.engine.store(bench.tree, make_label(), bench.call(progress=kill))
    assert locks(bench) == []
    assert half_written(bench) == []
    assert list((bench.folder / "state/runs").iterdir()) == []


def killed_both(bench: Bench) -> None:
    """restic and we die at the same moment, in the midst of a store: nobody is left to clear up."""
    child = os.fork()
    if child == 0:

        def kill(event: Progress) -> None:
            if event.done_bytes:
                kill_engine(bench)
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            bench.engine.store(bench.tree, make_label(99), bench.call(progress=kill))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.slow
def test_the_next_run_clears_what_a_killed_one_left(bench: Bench) -> None:
    bench.store(1)
    shutil.rmtree(bench.tree)
    bench.big(BIG)
    killed_both(bench)
    assert len(locks(bench)) == 1
    (kept,) = bench.engine.snapshots(bench.call())
    bench.engine.remove([kept.engine_id], bench.call())  # needs the repository for itself
    assert locks(bench) == []
    assert half_written(bench) == []
    assert list((bench.folder / "state/runs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.thorough
def test_a_lock_that_was_written_anew_is_removed_once_it_is_old(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """At first it may be a living run's in another container. The dead run is remembered until that is known."""
    bench.big(BIG)
    killed_both(bench)
    (record,) = (bench.folder / "state/runs").iterdir()
    run = json.loads(record.read_text())
    record.write_text(json.dumps(run | {"started": run["started"] - 3600}))
    stored = bench.store(2).snapshot
    assert len(locks(bench)) == 1
    later = datetime.now(UTC) + timedelta(seconds=400)
    monkeypatch.setattr(restic_locks, "SystemClock", lambda: SimpleNamespace(now=lambda: later))
    bench.engine.remove([stored.engine_id], bench.call())
    assert locks(bench) == []
    assert half_written(bench) == []
    assert list((bench.folder / "state/runs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.thorough
def test_half_written_files_stay_while_anybody_writes(
    bench: Bench, restic_program: Path, somebody_else: Elsewhere
) -> None:
    bench.big(BIG)
    killed_both(bench)
    with somebody_else(bench, restic_program):
        bench.store(2)
        assert len(locks(bench)) == 1
        young = bench.repository / "data/00" / f"{'0' * 64}-tmp-123"
        young.parent.mkdir(exist_ok=True)
        young.write_bytes(b"being written")
    assert young.exists()


@pytest.mark.slow
@pytest.mark.parametrize("fate", ["alive", "dead"])
def test_somebody_elses_lock_is_left_alone(
    bench: Bench, restic_program: Path, somebody_else: Elsewhere, fate: str
) -> None:
    stored = bench.store(1).snapshot
    with somebody_else(bench, restic_program) as child:
        if fate == "dead":
            child.kill()
            child.wait()
        before = locks(bench)
        remove = partial(bench.engine.remove, [stored.engine_id], bench.call())
        for deed in (remove, partial(bench.engine.compact, bench.call())):
            with pytest.raises(RepositoryLockedError) as caught:
                deed()
            assert str(child.pid) in caught.value.stderr_tail
        assert locks(bench) == before
        assert set(bench.listed()) == {stored.id}
        bench.store(2)  # a lock of another store is in nobody's way


@pytest.mark.slow
@pytest.mark.doubled
@pytest.mark.thorough
def test_a_living_run_of_ours_is_left_alone(bench: Bench, restic_program: Path) -> None:
    """It is held still while we look, and goes on to its end afterwards."""
    bench.big(BIG)
    script = bench.folder / "slow-restic"  # else a fast machine is done before it is held
    script.write_text(f'#!/bin/sh\nexec {restic_program} --limit-upload 10000 "$@"\n')
    script.chmod(0o755)
    slow = engine_at(bench.folder, script)
    begun = threading.Event()
    held: list[int] = []

    def hold(event: Progress) -> None:
        if event.done_bytes and not begun.is_set():
            held.extend(bench.left_running())
            for pid in held:
                os.kill(pid, signal.SIGSTOP)
            begun.set()

    results: list[object] = []
    thread = threading.Thread(
        target=lambda: results.append(slow.store(bench.tree, make_label(1), bench.call(progress=hold)))
    )
    thread.start()
    assert begun.wait(60)
    try:
        (lock,) = locks(bench)
        with pytest.raises(RepositoryLockedError):
            bench.engine.compact(bench.call())
        assert bench.engine.snapshots(bench.call()) == ()  # readers never wait
        assert locks(bench) == [lock]
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
        thread.join()
    assert len(results) == 1
    assert bench.engine.verify(bench.call(), read_data=1.0) == ()


@pytest.mark.slow
def test_what_killed_checks_and_questions_left_is_removed(bench: Bench) -> None:
    """A check keeps a copy of all indexes in a cache of its own, and cannot remove it when it is killed."""
    bench.store(1)
    state = bench.folder / "state"
    left = [state / "cache/restic-check-cache-123", state / "asking/old", state / "asking/young"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "index").write_bytes(b"x")
    os.utime(left[1], (1, 1))
    living = state / "runs/living"
    for fate in ("alive", "dead"):
        for record in (living, state / "runs/dead"):
            record.write_text(json.dumps({"pid": 1, "host": "box", "user": 0, "started": 5.0}))
        with living.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX if fate == "alive" else fcntl.LOCK_UN)
            bench.engine.verify(bench.call())
        assert [folder.exists() for folder in left] == [fate == "alive", False, True]


@pytest.mark.slow
def test_a_launcher_that_was_killed_is_remembered(bench: Bench) -> None:
    """restic may have died with it, and left a lock that is ours only by its record."""
    program = bench.folder / "dies-with-its-launcher"
    program.write_text("#!/bin/sh\nkill -9 $PPID $$\n")
    program.chmod(0o755)
    with pytest.raises(EngineError):
        engine_at(bench.folder, program).inspect(bench.call())
    assert len(list((bench.folder / "state/runs").iterdir())) == 1
