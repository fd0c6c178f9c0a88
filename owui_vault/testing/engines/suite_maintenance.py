"""Conformance of engines: remove, relabel, compact, verify."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace

import pytest

from owui_vault.errors import RepositoryDamagedError, SnapshotMissingError
from owui_vault.model import Outcome, Snapshot
from owui_vault.testing.children import left_after
from owui_vault.testing.engines.bench import Bench, EngineBench, make_label
from owui_vault.testing.trees import assert_same, size_of

_PATIENCE = 60.0


class KeepingTests(EngineBench):
    """What is done with snapshots once they are there."""

    def test_remove_drops_exactly_these(self, bench: Bench) -> None:
        """The others still come back."""
        stored = {number: bench.store(number).snapshot for number in range(1, 5)}
        bench.engine.remove([stored[1].engine_id, stored[3].engine_id], bench.call())
        assert set(bench.listed()) == {stored[2].id, stored[4].id}
        assert_same(bench.tree, bench.fetch(stored[4]))

    def test_remove_touches_none_that_is_not_named_whole(self, bench: Bench) -> None:
        """Nor any of a plan made on another state of the repository; an empty list never means all.

        A prefix or `latest` is no id: whoever chooses, chooses above the engine.
        """
        stored = bench.store().snapshot
        for missing in ("0123456789abcdef" * 4, "nothing-of-that-name"):
            with pytest.raises(SnapshotMissingError):
                bench.engine.remove([stored.engine_id, missing], bench.call())
        for inexact in (stored.engine_id[:8], "latest", "", "*"):
            with pytest.raises(SnapshotMissingError):
                bench.engine.remove([inexact], bench.call())
        bench.engine.remove([], bench.call())
        assert set(bench.listed()) == {stored.id}

    def test_relabel_replaces_the_label_and_keeps_the_data(self, bench: Bench) -> None:
        """Our id stays, the engine's may not; there is one of it as before."""
        stored = bench.store(tags=("old",)).snapshot
        assert stored.label is not None
        wanted = replace(stored.label, outcome=Outcome.INCOMPLETE, tags=("new", "tags"), pinned=True)
        changed = bench.engine.relabel(stored.engine_id, wanted, bench.call())
        assert changed.label == wanted
        (listed,) = bench.engine.snapshots(bench.call())
        assert (listed.engine_id, listed.label, listed.time) == (changed.engine_id, wanted, stored.time)
        assert_same(bench.tree, bench.fetch(listed))

    def test_relabel_with_the_same_label_changes_nothing(self, bench: Bench) -> None:
        """It may be asked for twice."""
        stored = bench.store().snapshot
        assert stored.label is not None
        assert bench.engine.relabel(stored.engine_id, stored.label, bench.call()).label == stored.label
        assert set(bench.listed()) == {stored.id}

    def test_relabel_names_a_missing_snapshot(self, bench: Bench) -> None:
        """And invents none."""
        with pytest.raises(SnapshotMissingError):
            bench.engine.relabel("0123456789abcdef" * 4, make_label(), bench.call())
        assert bench.engine.snapshots(bench.call()) == ()

    def test_compact_frees_what_was_removed(self, bench: Bench) -> None:
        """And nothing else."""
        kept = bench.store(1).snapshot
        (bench.tree / "big").write_bytes(os.urandom(20_000_000))
        dropped = bench.store(2).snapshot
        (bench.tree / "big").unlink()
        bench.engine.remove([dropped.engine_id], bench.call())
        before = size_of(bench.repository)
        freed = bench.engine.compact(bench.call())
        assert before - size_of(bench.repository) > 15_000_000
        assert freed is None or freed > 15_000_000
        assert bench.engine.verify(bench.call(), read_data=1.0) == ()
        assert set(bench.listed()) == {kept.id}

    def test_a_healthy_repository_has_nothing_to_say(self, bench: Bench) -> None:
        """Read or not read, empty or not."""
        assert bench.engine.verify(bench.call()) == ()
        bench.store()
        for read_data in (0.0, 0.3, 1.0):
            assert bench.engine.verify(bench.call(), read_data=read_data) == ()

    def test_a_flipped_byte_is_found_when_data_are_read(self, bench: Bench) -> None:
        """The answer is text for a person; nothing is raised."""
        bench.store()
        self.damage(bench)
        problems = bench.engine.verify(bench.call(), read_data=1.0)
        assert problems
        assert all(problem and "\n" not in problem for problem in problems)

    def test_damaged_data_are_not_handed_out_silently(self, bench: Bench) -> None:
        """The restore says so, whatever it has written until then."""
        stored = bench.store()
        self.damage(bench)
        with pytest.raises(RepositoryDamagedError):
            bench.fetch(stored.snapshot)

    def test_foreign_snapshots_are_listed_and_left_alone(self, bench: Bench) -> None:
        """They have no label, are never a restore point, and outlive what we remove."""
        self.store_foreign(bench, bench.build())
        ours = bench.store().snapshot
        (foreign,) = [each for each in bench.engine.snapshots(bench.call()) if each.label is None]
        assert not foreign.is_restore_point
        assert foreign.id == foreign.engine_id
        bench.engine.remove([ours.engine_id], bench.call())
        bench.engine.compact(bench.call())
        assert [each.engine_id for each in bench.engine.snapshots(bench.call())] == [foreign.engine_id]
        assert bench.engine.verify(bench.call(), read_data=1.0) == ()

    def test_killed_while_tidying_up_harms_nothing_and_is_in_nobodys_way(self, bench: Bench) -> None:
        """SIGKILL of our process at some moment of each: nothing else is lost, and no lock is left."""
        moments = random.Random(os.environ.get("OWUI_VAULT_SEED"))
        os.utime(bench.build(), (1, 1))
        kept = bench.store(1).snapshot
        for number, operation in enumerate(("remove", "compact", "verify", "relabel"), 2):
            passing = bench.tree / "passing"
            passing.write_bytes(os.urandom(3_000_000))
            stored = bench.store(number).snapshot
            passing.unlink()
            os.utime(bench.tree, (1, 1))
            _begin_and_be_killed(bench, operation, stored, moments.uniform(0.1, 1.0))
            assert left_after(bench.left_running, _PATIENCE) == set()
            assert kept.id in bench.listed()
        others = [each.engine_id for each in bench.engine.snapshots(bench.call()) if each.id != kept.id]
        bench.engine.remove(others, bench.call())
        bench.engine.compact(bench.call())
        assert bench.engine.verify(bench.call(), read_data=1.0) == ()
        assert set(bench.listed()) == {kept.id}
        assert_same(bench.tree, bench.fetch(kept))


def _begin_and_be_killed(bench: Bench, operation: str, snapshot: Snapshot, after: float) -> None:
    child = os.fork()
    if child == 0:
        try:
            match operation:
                case "remove":
                    bench.engine.remove([snapshot.engine_id], bench.call())
                case "compact":
                    bench.engine.compact(bench.call())
                case "verify":
                    bench.engine.verify(bench.call(), read_data=1.0)
                case "relabel":
                    bench.engine.relabel(snapshot.engine_id, make_label(9, id=snapshot.id), bench.call())
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
