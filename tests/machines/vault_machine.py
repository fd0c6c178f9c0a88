"""The machine: one instance, another series beside it, two repositories, and everything that may happen to them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from owui_vault import (
    Component,
    ContentMismatchError,
    DataDirectory,
    InstanceState,
    Outcome,
    Quiesce,
    Repository,
    RepositoryUnreachableError,
    RetentionPolicy,
    Secret,
    Snapshot,
    SnapshotReport,
    StalePlanError,
    TargetError,
    Vault,
)
from owui_vault.testing import DirectoryEngine, FakeQuiescer, FaultyEngine
from owui_vault.testing.engines.faulty import Fault, no_fault
from owui_vault.testing.instances.small import (
    State,
    make_small_instance,
    state_of_small_instance,
    use_small_instance,
)

KEEP = RetentionPolicy(last=2)
CALLS = ("snapshots", "store", "fetch", "remove", "compact", "contents")
NAMES = st.sampled_from(["one", "two"])
MOMENTS = st.sampled_from(["before", "after"])


class VaultMachine(RuleBasedStateMachine):
    """The history of one instance and its two repositories, which another instance uses as well."""

    @initialize()
    def set_up(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.data_dir, self.other_dir = self.folder / "data", self.folder / "other"
        for each in (self.data_dir, self.other_dir):
            make_small_instance(each)
        self.engines = {name: FaultyEngine(DirectoryEngine(self.folder / name, Secret("x"))) for name in ("one", "two")}
        self.quiescer = FakeQuiescer(self.folder)
        self.vault = self.a_vault()
        other = DataDirectory(self.other_dir, name="other")
        self.other = Vault(other, self.repositories(), state_dir=self.folder / "state")
        self.vault.initialize()
        self.states: dict[str, State] = {}  # by our id, of everything that was ever reported or found
        self.removed: set[str] = set()
        self.others: set[tuple[str, str]] = set()  # repository and our id, of what the other series must hold
        self.incomplete: set[tuple[str, str]] = set()  # repository and our id
        self.torn: set[tuple[str, str]] = set()  # likewise: its bytes changed while they were read
        self.had_a_restore_point: set[str] = set()  # repositories

    def repositories(self) -> list[Repository]:
        return [Repository(name, engine, KEEP) for name, engine in self.engines.items()]

    def a_vault(self) -> Vault:
        state = self.folder / "state"
        return Vault(DataDirectory(self.data_dir), self.repositories(), quiescer=self.quiescer, state_dir=state)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    # What the instance does

    @rule(text=st.text(max_size=20))
    def write(self, text: str) -> None:
        """The instance is used: a chat, and an upload with its row."""
        use_small_instance(self.data_dir, text.encode(errors="replace").decode())

    @rule()
    def damage(self) -> None:
        """A database that is none: what is stored from now on is INCOMPLETE."""
        (self.data_dir / "vector_db" / "chroma.sqlite3").write_bytes(b"hello" * 1000)

    @rule()
    def repair(self) -> None:
        (self.data_dir / "vector_db" / "chroma.sqlite3").unlink(missing_ok=True)

    def expected(self) -> Outcome:
        damaged = (self.data_dir / "vector_db" / "chroma.sqlite3").exists()
        return Outcome.INCOMPLETE if damaged else Outcome.COMPLETE

    # What the operator does

    @rule(mode=st.sampled_from([Quiesce.AUTO, Quiesce.LIVE, Quiesce.PAUSE, Quiesce.STOP]))
    def snapshot(self, mode: Quiesce) -> None:
        report = self.vault.snapshot(quiesce=mode)
        assert report.outcome is self.expected(), report.problems
        assert bool(report.problems) is (report.outcome is Outcome.INCOMPLETE)
        assert all(each.error is None for each in report.repositories)
        self.note(report, state_of_small_instance(self.data_dir))

    @rule()
    def snapshot_of_the_other(self) -> None:
        report = self.other.snapshot()
        assert report.outcome is Outcome.COMPLETE, report.problems
        self.others |= {(name, report.id) for name in self.engines}

    @rule()
    def prune(self) -> None:
        plan = self.vault.plan_prune()
        report = self.vault.prune(plan)
        for planned, result in zip(plan.repositories, report.repositories, strict=True):
            assert result.removed == planned.removed
            left = self.vault.snapshots(planned.repository)
            assert {each.id for each in left} == {kept.snapshot.id for kept in planned.kept}
            self.removed |= {each.id for each in planned.removed}

    @rule()
    def prune_the_other(self) -> None:
        plan = self.other.plan_prune()
        self.other.prune(plan)
        self.others -= {(planned.repository, each.id) for planned in plan.repositories for each in planned.removed}

    @precondition(lambda self: self.states)
    @rule()
    def prune_by_a_stale_plan(self) -> None:
        plan = self.vault.plan_prune()
        self.snapshot(Quiesce.LIVE)
        with pytest.raises(StalePlanError):
            self.vault.prune(plan)

    @precondition(lambda self: self.listed(Outcome.COMPLETE))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.listed(Outcome.COMPLETE)))
        restored = self.vault.restore(chosen, self.a_target())
        assert state_of_small_instance(restored.data_dir) == self.states[chosen.id]
        assert not [each for each in restored.warnings if "INCOMPLETE" in each]
        shutil.rmtree(restored.target)

    @precondition(lambda self: self.listed(Outcome.COMPLETE))
    @rule()
    def verify(self) -> None:
        assert self.vault.verify("latest").ok

    @rule()
    def lose_the_state(self) -> None:
        """The state directory is gone: a new machine, or somebody who tidied up."""
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    # What goes wrong

    @rule(name=NAMES, call=st.sampled_from(CALLS), when=MOMENTS)
    def snapshot_with_a_fault(self, name: str, call: str, when: str) -> None:
        """One repository fails: the other has the snapshot all the same, and the report says so."""
        self.engines[name].fault = self.away(name, call, when)
        report = self.vault.snapshot()
        self.engines[name].fault = no_fault
        failed = [each.repository for each in report.repositories if each.error]
        assert failed == ([name] if call in ("snapshots", "store") else [])
        self.note(report, state_of_small_instance(self.data_dir))

    @precondition(lambda self: self.uploads())
    @rule(name=NAMES, relabel=st.sampled_from(["works", "before", "after"]))
    def snapshot_while_an_upload_changes(self, name: str, relabel: str) -> None:
        """A file that should never change does while an engine reads it: INCOMPLETE there, or not there at all."""
        before, upload = state_of_small_instance(self.data_dir), self.uploads()[0]
        relabelling = self.away(name, "relabel", relabel)
        changed = threading.Event()

        def fault(called: str, at: str) -> None:
            if (called, at) == ("store", "before"):
                upload.write_bytes(b"changed " + upload.read_bytes())
                changed.set()
            relabelling(called, at)

        def not_before_it(called: str, at: str) -> None:
            """Both are stored to at once, and one that was quicker would have read what was still whole."""
            if (called, at) == ("store", "before"):
                changed.wait(60)

        for each, engine in self.engines.items():
            engine.fault = fault if each == name else not_before_it
        report = self.vault.snapshot()
        for engine in self.engines.values():
            engine.fault = no_fault
        for result in report.repositories:
            found = self.found(result.repository, report.id)
            if result.error:
                assert result.repository == name
                assert found is None or found.outcome is Outcome.INCOMPLETE
            else:
                assert found
                assert found.outcome is (Outcome.INCOMPLETE if result.changed else self.expected())
            if found and (result.changed or result.error):
                self.torn.add((result.repository, report.id))
        self.note(report, before)

    @rule(mode=st.sampled_from([Quiesce.LIVE, Quiesce.PAUSE, Quiesce.STOP]), delay=st.floats(0, 0.6))
    def killed_snapshot(self, mode: Quiesce, delay: float) -> None:
        """SIGKILL of the whole program somewhere on its way."""
        before = state_of_small_instance(self.data_dir)
        self.run_and_kill(lambda: self.a_vault().snapshot(quiesce=mode), delay)
        self.wait_until_running()
        self.vault.recover()
        for each in self.vault.snapshots():
            self.states.setdefault(each.id, before)

    @rule(delay=st.floats(0, 0.1))
    def killed_prune(self, delay: float) -> None:
        plan = self.vault.plan_prune()
        self.run_and_kill(lambda: self.a_vault().prune(plan), delay)
        self.removed |= {each.id for planned in plan.repositories for each in planned.removed}

    @precondition(lambda self: self.listed(Outcome.COMPLETE))
    @rule(data=st.data(), alone=st.booleans(), when=MOMENTS)
    def failed_restore(self, data: st.DataObject, alone: bool, when: str) -> None:
        """Where anything was written it says that it is incomplete, and why; it harms nothing."""
        chosen = data.draw(st.sampled_from(self.listed(Outcome.COMPLETE)))
        engine, target = self.engines[chosen.repository], self.a_target()
        components = [Component.DATABASE] if alone else None
        engine.fault = self.away(chosen.repository, "fetch", when, 1)
        with pytest.raises(RepositoryUnreachableError):
            self.vault.restore(chosen, target, components=components, repository=chosen.repository)
        engine.fault = no_fault
        if alone:  # the manifest was asked for, and nothing was begun
            assert not target.exists()
            return
        assert f"{chosen.repository} is away" in (target / "RESTORE-INCOMPLETE").read_text(encoding="utf-8")
        with pytest.raises(TargetError):
            self.vault.restore(chosen, target)
        shutil.rmtree(target)

    @precondition(lambda self: self.listed(Outcome.INCOMPLETE))
    @rule(data=st.data())
    def restore_an_incomplete_one(self, data: st.DataObject) -> None:
        """By its id it comes back as it was, with its problems; one whose bytes changed meanwhile says so."""
        chosen = data.draw(st.sampled_from(self.listed(Outcome.INCOMPLETE)))
        target = self.a_target()
        if (chosen.repository, chosen.id) in self.torn:
            with pytest.raises(ContentMismatchError):
                self.vault.restore(chosen, target)
            assert "differ" in (target / "RESTORE-INCOMPLETE").read_text(encoding="utf-8")
        else:
            restored = self.vault.restore(chosen, target)
            problems = self.vault.manifest(chosen).problems
            assert [each for each in restored.warnings if "INCOMPLETE" in each] == [
                f"this snapshot is INCOMPLETE: {each}" for each in problems
            ]
            assert state_of_small_instance(restored.data_dir) == self.states[chosen.id]
        shutil.rmtree(target)

    # What always holds

    @invariant()
    def the_instance_runs_and_its_directory_holds_nothing_of_ours(self) -> None:
        assert self.quiescer.observe().state is InstanceState.RUNNING
        assert {path.name for path in self.data_dir.iterdir()} == {"webui.db", "uploads", "vector_db"}

    @invariant()
    def nothing_disappears_but_by_a_plan(self) -> None:
        found = {each.id for each in self.vault.snapshots()}
        assert set(self.states) - self.removed <= found

    @invariant()
    def numbers_of_the_series_never_repeat(self) -> None:
        for name in self.engines:
            numbers = [each.label.sequence for each in self.vault.snapshots(name) if each.label]
            assert len(set(numbers)) == len(numbers)

    @invariant()
    def what_was_incomplete_never_becomes_complete(self) -> None:
        found = {(each.repository, each.id) for each in self.listed(Outcome.COMPLETE)}
        assert not found & self.incomplete

    @invariant()
    def a_repository_that_had_a_restore_point_has_one(self) -> None:
        now = {each.repository for each in self.listed(Outcome.COMPLETE)}
        assert self.had_a_restore_point <= now
        self.had_a_restore_point |= now

    @invariant()
    def another_series_is_never_touched(self) -> None:
        found = {(each.repository, each.id) for name in self.engines for each in self.other.snapshots(name)}
        assert found == self.others

    # Helpers

    def note(self, report: SnapshotReport, state: State) -> None:
        self.states[report.id] = state
        for name in self.engines:
            found = self.found(name, report.id)
            if found and found.outcome is Outcome.INCOMPLETE:
                self.incomplete.add((name, report.id))

    def listed(self, outcome: Outcome) -> list[Snapshot]:
        return [each for each in self.vault.snapshots() if each.outcome is outcome]

    def found(self, name: str, snapshot_id: str) -> Snapshot | None:
        return next((each for each in self.vault.snapshots(name) if each.id == snapshot_id), None)

    def uploads(self) -> list[Path]:
        return sorted((self.data_dir / "uploads").iterdir())

    def a_target(self) -> Path:
        return self.folder / f"out-{uuid.uuid4()}"

    def away(self, name: str, call: str, when: str, number: int = 1) -> Fault:
        """Fails at the n-th of these calls, and at all later ones."""
        left = number

        def fault(called: str, at: str) -> None:
            nonlocal left
            if (called, at) == (call, when):
                left -= 1
                if left <= 0:
                    raise RepositoryUnreachableError(f"{name} is away")

        return fault

    def run_and_kill(self, operation: Callable[[], object], delay: float) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                operation()
            finally:
                os._exit(0)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def wait_until_running(self) -> None:
        until = time.monotonic() + 5
        while self.quiescer.observe().state is not InstanceState.RUNNING:
            assert time.monotonic() < until, "the instance was not brought back"
            time.sleep(0.01)
