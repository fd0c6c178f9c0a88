"""Conformance of engines: what cannot be read is never skipped silently, whatever happens in between."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from owui_vault.errors import CancelledError, EngineError
from owui_vault.model import Outcome, Progress
from owui_vault.testing.children import mounted
from owui_vault.testing.engines.bench import Bench, EngineBench, make_label

_BIG = 150_000_000


class CompletenessTests(EngineBench):
    """Nothing is listed COMPLETE that is not, and what is complete is."""

    @pytest.fixture
    def moments(self) -> Sequence[float]:
        """When a store is stopped, as shares of the time it takes; override to draw fewer or more."""
        return [number / 6 for number in range(2, 7)]

    def test_a_tree_with_nothing_in_it_stores_nothing(self, bench: Bench) -> None:
        """Nor does one that is not there: something above went wrong, and a snapshot of it would be the newest."""
        bench.tree.mkdir()
        for tree in (bench.folder / "no-such-tree", bench.tree):
            with pytest.raises(EngineError, match="nothing to store"):
                bench.engine.store(tree, make_label(), bench.call())
        assert bench.engine.snapshots(bench.call()) == ()

    def test_an_unreadable_file_makes_it_incomplete(self, bench: Bench) -> None:
        """In the repository itself, and the file is named; the rest is stored."""
        bench.build()
        unreadable = {"data/uploads/deep/er/still/b.txt", "data/closed"}
        for path in unreadable:
            (bench.tree / path).chmod(0)
        stored, listed = self.as_other_user(bench, lambda: (bench.store(), bench.engine.snapshots(bench.call())))
        assert unreadable <= {skipped.path for skipped in stored.skipped}
        assert all(skipped.reason for skipped in stored.skipped)
        assert stored.snapshot.outcome is Outcome.INCOMPLETE
        assert [each.outcome for each in listed] == [Outcome.INCOMPLETE]
        assert (bench.fetch(listed[0]) / "data/webui.db").read_bytes() == (bench.tree / "data/webui.db").read_bytes()

    @pytest.mark.root
    @pytest.mark.parametrize("fate", ["killed", "cancelled"])
    def test_a_file_that_cannot_be_read_is_never_forgotten_on_the_way(
        self, bench: Bench, fate: str, moments: Sequence[float]
    ) -> None:
        """It opens, and reading it fails: whenever we are stopped after that, nothing is listed as complete."""
        tree = bench.build()
        (tree / "broken").write_bytes(b"x")
        with mounted("--bind", Path("/proc/self/mem"), tree / "broken", "rw"):
            started = time.monotonic()
            stored = bench.store(1)
            took = time.monotonic() - started
            assert [skipped.path for skipped in stored.skipped] == ["broken"]
            for number, moment in enumerate(moments, 2):
                _stopped(bench, number, took * moment, fate)
                assert [each for each in bench.listed().values() if each.is_restore_point] == []
        (tree / "broken").unlink()
        last = bench.store(len(moments) + 2).snapshot
        assert [each.id for each in bench.listed().values() if each.is_restore_point] == [last.id]

    def test_another_name_that_goes_while_a_file_is_read_is_no_change(self, bench: Bench) -> None:
        """A user deletes an upload: its link in the stage has another ctime then, and all its bytes."""
        bench.big(_BIG)
        live = bench.folder / "live"
        live.mkdir()
        for path in bench.tree.iterdir():
            (live / path.name).hardlink_to(path)

        def delete(event: Progress) -> None:
            if event.done_bytes and live.exists():
                for path in list(live.iterdir()):
                    path.unlink()
                live.rmdir()

        stored = bench.engine.store(bench.tree, make_label(), bench.call(progress=delete))
        assert not live.exists()
        assert (stored.skipped, stored.snapshot.outcome) == ((), Outcome.COMPLETE)


def _stopped(bench: Bench, number: int, after: float, fate: str) -> None:
    """Store, and be stopped after so many seconds."""
    if fate == "cancelled":
        cancel = threading.Event()
        timer = threading.Timer(after, cancel.set)
        timer.start()
        with suppress(CancelledError):
            bench.engine.store(bench.tree, make_label(number), bench.call(cancel=cancel))
        timer.cancel()
        return
    child = os.fork()
    if child == 0:
        try:
            bench.store(number)
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
