"""A snapshot that restic labelled COMPLETE, and that is not, is believed by nobody here, whatever comes in between."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from owui_vault.engines.restic import store
from owui_vault.engines.restic.output import BackupReader
from owui_vault.engines.restic.tree_check import trust_tree
from owui_vault.engines.restic.unconfirmed import (
    confirm,
    is_abandoned,
    is_being_stored,
    mark_unconfirmed,
    storing_unconfirmed,
    unconfirmed_ids,
)
from owui_vault.errors import EngineError, RepositoryLockedError
from owui_vault.model import Outcome
from owui_vault.ports import Call
from owui_vault.testing.children import mounted
from owui_vault.testing.engines.bench import Bench, make_label

Elsewhere = Callable[[Bench, Path], AbstractContextManager[subprocess.Popen[bytes]]]
INCOMPLETE, COMPLETE = Outcome.INCOMPLETE, Outcome.COMPLETE


def test_a_doubt_lasts_until_it_is_settled(tmp_path: Path) -> None:
    assert unconfirmed_ids(tmp_path) == frozenset()
    mark_unconfirmed(tmp_path, "00000001")
    mark_unconfirmed(tmp_path, "00000001")
    assert unconfirmed_ids(tmp_path) == {"00000001"}
    assert not is_abandoned(tmp_path, "00000001")
    os.utime(tmp_path / "doubts/00000001", (1, 1))
    assert is_abandoned(tmp_path, "00000001")
    confirm(tmp_path, "00000001")
    assert unconfirmed_ids(tmp_path) == frozenset()
    assert not is_abandoned(tmp_path, "00000001")


def test_a_doubt_tells_whether_somebody_is_at_work_on_it(tmp_path: Path) -> None:
    with storing_unconfirmed(tmp_path, "00000001"):
        assert is_being_stored(tmp_path, "00000001")
    assert not is_being_stored(tmp_path, "00000001")
    assert unconfirmed_ids(tmp_path) == {"00000001"}
    assert not is_being_stored(tmp_path, "00000002")


@contextmanager
def unreadable(bench: Bench) -> Iterator[Path]:
    """A tree with a file that opens and cannot be read: restic finds that out only while it stores."""
    tree = bench.build()
    (tree / "broken").write_bytes(b"x")
    with mounted("--bind", Path("/proc/self/mem"), tree / "broken", "rw"):
        yield tree


def outcomes(bench: Bench, folder: str = "state") -> list[tuple[str, Outcome]]:
    """What is listed with this memory."""
    place = bench.folder / folder
    place.mkdir(mode=0o700, exist_ok=True)
    return [(each.id, each.outcome) for each in bench.engine.snapshots(Call(folder=place))]


def kept_in(bench: Bench) -> list[Path]:
    """The snapshots that are written down."""
    return [path for path in (bench.repository / "snapshots").iterdir() if "-tmp-" not in path.name]


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.doubled
@pytest.mark.thorough
def test_a_lock_between_storing_and_marking_leaves_nothing_that_is_believed(
    bench: Bench, restic_program: Path, somebody_else: Elsewhere
) -> None:
    with unreadable(bench) as tree, somebody_else(bench, restic_program):
        with pytest.raises(EngineError, match="could not be marked INCOMPLETE") as caught:
            bench.engine.store(tree, make_label(1), bench.call(timeout=5))
        assert not isinstance(caught.value, RepositoryLockedError)  # that would mean: store all of it again
        assert outcomes(bench) == [("00000001", INCOMPLETE)]
    for lock in (bench.repository / "locks").iterdir():  # as its owner does at his end
        lock.unlink()
    (tree / "broken").unlink()
    bench.store(2)
    expected = [("00000001", INCOMPLETE), ("00000002", COMPLETE)]
    assert outcomes(bench) == expected
    assert outcomes(bench, "another machine") == expected
    assert unconfirmed_ids(bench.folder / "state") == frozenset()


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.doubled
@pytest.mark.thorough
def test_a_lock_that_goes_away_is_waited_for(bench: Bench, restic_program: Path, somebody_else: Elsewhere) -> None:
    with unreadable(bench) as tree, somebody_else(bench, restic_program) as child:
        # what a killed restic leaves is somebody else's lock, so it goes as its owner would take it
        lock = next((bench.repository / "locks").iterdir())
        child.send_signal(signal.SIGSTOP)
        threading.Timer(8, lock.unlink).start()
        stored = bench.engine.store(tree, make_label(1), bench.call(timeout=60)).snapshot
    assert stored.outcome is INCOMPLETE
    assert outcomes(bench, "another machine") == [("00000001", INCOMPLETE)]


@pytest.mark.slow
@pytest.mark.root
def test_cancel_between_storing_and_marking_comes_too_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = threading.Event()
    trust = trust_tree

    def stop(*arguments: object) -> None:
        trust(*arguments)  # type: ignore[arg-type]  # what it was called with
        cancel.set()

    monkeypatch.setattr(store, "trust_tree", stop)
    with unreadable(bench) as tree:
        stored = bench.engine.store(tree, make_label(1), bench.call(cancel=cancel)).snapshot
    assert cancel.is_set()
    assert stored.outcome is INCOMPLETE
    assert outcomes(bench, "another machine") == [("00000001", INCOMPLETE)]


@pytest.mark.slow
@pytest.mark.root
def test_killed_between_storing_and_marking_leaves_nothing_that_is_believed(bench: Bench) -> None:
    with unreadable(bench) as tree:
        child = os.fork()
        if child == 0:
            try:
                bench.engine.store(tree, make_label(1), bench.call())
            finally:
                os._exit(1)
        until = time.monotonic() + 60
        while not kept_in(bench):
            assert time.monotonic() < until
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert outcomes(bench) == [("00000001", INCOMPLETE)]
    (tree / "broken").unlink()
    bench.store(2)
    assert outcomes(bench, "another machine") == [("00000001", INCOMPLETE), ("00000002", COMPLETE)]


@pytest.mark.slow
@pytest.mark.root
def test_killed_before_a_complaint_is_heard_leaves_nothing_that_is_believed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restic has complained and the snapshot is there, and whoever should have read a word of it dies."""

    def die_when_it_is_there(_reader: object, _line: str) -> None:
        while not kept_in(bench):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

    with unreadable(bench) as tree:
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(BackupReader, "stdout", die_when_it_is_there)
            monkeypatch.setattr(BackupReader, "stderr", die_when_it_is_there)
            try:
                bench.engine.store(tree, make_label(1), bench.call())
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert outcomes(bench) == [("00000001", INCOMPLETE)]


@pytest.mark.slow
def test_another_run_leaves_a_doubt_to_the_run_that_stores(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and still doubted: whoever demoted it now would make a lie of the receipt."""

    def prune(*_arguments: object) -> None:
        another = threading.Thread(target=bench.engine.compact, args=(bench.call(),))
        another.start()
        another.join()

    monkeypatch.setattr(store, "trust_tree", prune)
    stored = bench.store(1).snapshot
    assert bench.engine.snapshots(bench.call())[0].engine_id == stored.engine_id
    assert outcomes(bench, "another machine") == [("00000001", COMPLETE)]


@pytest.mark.slow
@pytest.mark.thorough
def test_what_is_doubted_can_be_named_as_it_was_listed(bench: Bench) -> None:
    """Settling the doubt first would give it another id."""
    bench.store(1)
    mark_unconfirmed(bench.folder / "state", "00000001")
    (listed,) = bench.engine.snapshots(bench.call())
    assert listed.label is not None
    changed = bench.engine.relabel(listed.engine_id, listed.label, bench.call())
    assert outcomes(bench, "another machine") == [("00000001", INCOMPLETE)]
    bench.engine.remove([changed.engine_id], bench.call())
    assert outcomes(bench) == []


@pytest.mark.slow
def test_what_is_doubted_keeps_its_id_while_the_repository_is_verified(bench: Bench) -> None:
    """An operation names it afterwards, to fetch it."""
    bench.store(1)
    mark_unconfirmed(bench.folder / "state", "00000001")
    (listed,) = bench.engine.snapshots(bench.call())
    assert bench.engine.verify(bench.call()) == ()
    assert [each.engine_id for each in bench.engine.snapshots(bench.call())] == [listed.engine_id]
    bench.fetch(listed)


@pytest.mark.slow
def test_what_cannot_be_deleted_is_not_marked_once_more_by_each_run(bench: Bench) -> None:
    """An append-only server keeps the old entry; the new one beside it says what is to be said."""
    stored = bench.store(1).snapshot
    (old,) = kept_in(bench)
    content = old.read_bytes()
    bench.engine.relabel(stored.engine_id, make_label(1, outcome=INCOMPLETE), bench.call())
    old.write_bytes(content)
    both = [("00000001", COMPLETE), ("00000001", INCOMPLETE)]
    assert sorted(outcomes(bench), key=str) == sorted(both, key=str)
    mark_unconfirmed(bench.call().folder, "00000001")
    bench.store(2)
    assert unconfirmed_ids(bench.call().folder) == frozenset()
    assert sorted(outcomes(bench), key=str) == sorted([*both, ("00000002", COMPLETE)], key=str)
