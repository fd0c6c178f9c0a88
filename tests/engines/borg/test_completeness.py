"""Nothing is listed COMPLETE that is not, whenever somebody dies."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault.engines.borg import commit_gate_main
from owui_vault.engines.borg.store import _workplace
from owui_vault.model import Label, Outcome
from owui_vault.ports import Call
from owui_vault.testing.children import left_after
from owui_vault.testing.engines.bench import make_label
from tests.engines.borg.conftest import BorgBench

pytestmark = pytest.mark.slow

LINGERING = 'case "$1" in create) {borg} "$@"; status=$?; sleep 9; exit $status;; esac\nexec {borg} "$@"\n'
VANISHING = 'case "$1" in create) rm -f data/uploads/a.pdf;; esac\nexec {borg} "$@"\n'


def test_a_file_that_vanishes_while_it_is_stored_makes_it_incomplete(bench: BorgBench) -> None:
    bench.build()
    stored = bench.with_program(VANISHING).store()
    assert stored.snapshot.outcome is Outcome.INCOMPLETE
    (skipped,) = stored.skipped
    assert skipped.path == "data/uploads/a.pdf"
    assert "No such file" in skipped.reason
    assert [each.outcome for each in bench.engine.snapshots(bench.call())] == [Outcome.INCOMPLETE]


@pytest.mark.doubled
def test_killed_at_random_moments_while_a_file_vanishes(
    bench: BorgBench, seed: random.Random, soak: Callable[[int], int]
) -> None:
    """The file is always missing, so that any snapshot listed COMPLETE would be a lie."""
    tree = bench.build()
    victim = tree / "data/uploads/a.pdf"
    data, facts = victim.read_bytes(), victim.stat()
    engine = bench.with_program(VANISHING).engine
    for number in range(soak(60)):
        victim.write_bytes(data)
        os.utime(victim, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        _store_and_die(engine.store, tree, make_label(number + 1), bench.call(), seed.uniform(0.3, 2.5))
        assert not [each for each in bench.engine.snapshots(bench.call()) if each.is_restore_point]
    assert left_after(bench.left_running) == set()
    assert bench.engine.verify(bench.call()) == ()


def _store_and_die(
    store: Callable[[Path, Label, Call], object], tree: Path, label: Label, call: Call, after: float
) -> None:
    child = os.fork()
    if child == 0:
        try:
            store(tree, label, call)
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.doubled
@pytest.mark.thorough
def test_an_archive_that_is_being_written_down_is_waited_for(bench: BorgBench) -> None:
    """Past the bound of the whole store: ended now, it would have failed, and be there all the same."""
    bench.build()
    bound_seconds = 8.0
    call = replace(bench.call(), store_seconds=bound_seconds)
    started = time.monotonic()
    stored = bench.with_program(LINGERING).engine.store(bench.tree, make_label(), call)
    assert time.monotonic() - started > bound_seconds
    assert [each.engine_id for each in bench.engine.snapshots(bench.call())] == [stored.snapshot.engine_id]


def test_dying_before_the_word_is_a_no(tmp_path: Path) -> None:
    """All files are read and borg waits."""
    gate, paths = tmp_path / "gate", tmp_path / "paths"
    os.mkfifo(gate)
    paths.write_bytes(b"data\0.")
    writer = os.open(gate, os.O_RDWR)
    argv = [sys.executable, "-I", "-S", commit_gate_main.__file__, str(paths), str(gate)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        assert asking.stdout.read() == b"data\0."
        assert asking.poll() is None, "it must wait for the word"
        os.close(writer)  # what the kernel does for the dead
        assert asking.wait(timeout=10) != 0


@pytest.mark.parametrize(("word", "status"), [(b"+", 0), (b"-", 1)])
def test_the_gate_opens_for_one_word_only(tmp_path: Path, word: bytes, status: int) -> None:
    gate, paths = tmp_path / "gate", tmp_path / "paths"
    os.mkfifo(gate)
    paths.write_bytes(b"x\0" * 100_000)
    writer = os.open(gate, os.O_RDWR)
    os.write(writer, word)
    argv = [sys.executable, "-I", "-S", commit_gate_main.__file__, str(paths), str(gate)]
    done = subprocess.run(argv, capture_output=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stdout) == (status, paths.read_bytes())


def test_the_gate_does_not_wait_for_the_dead(tmp_path: Path) -> None:
    gate, paths = tmp_path / "gate", tmp_path / "paths"
    os.mkfifo(gate)
    paths.write_bytes(b".")
    argv = [sys.executable, "-I", "-S", commit_gate_main.__file__, str(paths), str(gate)]
    assert subprocess.run(argv, capture_output=True, check=False, timeout=10).returncode == 1


@pytest.mark.doubled
@pytest.mark.thorough
def test_killed_while_relabelling_leaves_one_snapshot_with_one_of_both_labels(
    bench: BorgBench, seed: random.Random, soak: Callable[[int], int]
) -> None:
    """borg makes the new archive beside the old one, and writes that down in between."""
    stored = bench.store().snapshot
    assert stored.label is not None
    labels = [stored.label]
    for number in range(soak(40)):
        (current,) = bench.engine.snapshots(bench.call())
        assert current.label in labels
        wanted = replace(stored.label, tags=(f"number-{number}",))
        labels = [label for label in (current.label, wanted) if label]
        child = os.fork()
        if child == 0:
            try:
                bench.engine.relabel(current.engine_id, wanted, bench.call())
            finally:
                os._exit(0)
        time.sleep(seed.uniform(0.3, 1.6))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    (current,) = bench.engine.snapshots(bench.call())
    bench.engine.relabel(current.engine_id, stored.label, bench.call())
    bench.engine.compact(bench.call())
    assert bench.listed()[stored.id].label == stored.label
    assert ".recreate" not in bench.bare("list", "--short")


@pytest.mark.thorough
@pytest.mark.doubled
def test_cancel_at_once_is_quick(bench: BorgBench) -> None:
    """borg alone would go on to the last file after an interrupt, and then wait for our word."""
    bench.big(200_000_000)
    cancel = threading.Event()
    started: list[float] = []

    def stop(event: object) -> None:
        if getattr(event, "done_bytes", 0) and not started:
            started.append(time.monotonic())
            cancel.set()

    with pytest.raises(Exception, match="request"):
        bench.engine.store(bench.tree, make_label(), bench.call(progress=stop, cancel=cancel))
    assert time.monotonic() - started[0] < 9


def test_the_folder_of_a_living_run_is_nobodys_to_remove(tmp_path: Path) -> None:
    """Whatever its process number means here; one that nobody lives in goes, whoever has the number now."""
    left = tmp_path / f"store-{os.getpid()}-left"
    left.mkdir()
    with _workplace(tmp_path) as first:
        (first / "paths").write_text("mine")
        with _workplace(tmp_path) as second:
            assert (first / "paths").read_text() == "mine"
        assert not second.exists()
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.doubled
def test_left_overs_of_killed_runs_are_cleared(bench: BorgBench) -> None:
    bench.build()
    _store_and_die(bench.engine.store, bench.tree, make_label(1), bench.call(), 0.6)
    bench.store(2)
    assert not list((bench.folder / "state" / "borg").glob("store-*"))
