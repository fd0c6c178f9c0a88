"""A vault through any history of writing, snapshots, pruning, faults and kills: the promises hold after each step.

The engine and the quiescer are fakes that pass the conformance suites; the data directory, the capture, the journal and
the guardian are real, and a kill is a SIGKILL of a process of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from owui_vault import (
    DataDirectory,
    InstanceState,
    Outcome,
    Quiesce,
    Repository,
    RetentionPolicy,
    Secret,
    Vault,
    VaultError,
)
from owui_vault.errors import RepositoryUnreachableError, StalePlanError
from owui_vault.testing.directory_engine import DirectoryEngine
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.faulty_engine import FaultyEngine
from owui_vault.testing.small_instance import (
    State,
    make_small_instance,
    state_of_small_instance,
    use_small_instance,
)

KEEP = RetentionPolicy(last=2)
CALLS = ("snapshots", "store", "fetch", "remove", "compact", "contents")


class VaultMachine(RuleBasedStateMachine):
    """The history of one instance and its two repositories."""

    @initialize()
    def set_up(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.data_dir = self.folder / "data"
        make_small_instance(self.data_dir)
        self.engines = {name: FaultyEngine(DirectoryEngine(self.folder / name, Secret("x"))) for name in ("one", "two")}
        self.quiescer = FakeQuiescer(self.folder)
        self.vault = self.a_vault()
        self.vault.initialize()
        self.states: dict[str, State] = {}  # by our id, of everything that was ever reported or found
        self.removed: set[str] = set()

    def a_vault(self) -> Vault:
        return Vault(
            DataDirectory(self.data_dir),
            [Repository(name, engine, KEEP) for name, engine in self.engines.items()],
            quiescer=self.quiescer,
            state_dir=self.folder / "state",
        )

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(text=st.text(max_size=20))
    def write(self, text: str) -> None:
        """The instance is used: a chat, and an upload with its row."""
        use_small_instance(self.data_dir, text.encode(errors="replace").decode())

    @rule(mode=st.sampled_from([Quiesce.AUTO, Quiesce.LIVE, Quiesce.PAUSE, Quiesce.STOP]))
    def snapshot(self, mode: Quiesce) -> None:
        report = self.vault.snapshot(quiesce=mode)
        assert report.outcome is Outcome.COMPLETE, report.problems
        assert all(each.error is None for each in report.repositories)
        self.states[report.id] = state_of_small_instance(self.data_dir)

    @rule(name=st.sampled_from(["one", "two"]), call=st.sampled_from(CALLS), when=st.sampled_from(["before", "after"]))
    def snapshot_with_a_fault(self, name: str, call: str, when: str) -> None:
        """One repository fails: the other has the snapshot all the same, and the report says so."""
        self.fail(name, call, when)
        report = self.vault.snapshot()
        self.states[report.id] = state_of_small_instance(self.data_dir)
        failed = [each.repository for each in report.repositories if each.error]
        assert failed == ([name] if call in ("snapshots", "store") else [])
        self.engines[name].fault = lambda _call, _when: None

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

    @rule()
    def prune(self) -> None:
        plan = self.vault.plan_prune()
        report = self.vault.prune(plan)
        for planned, result in zip(plan.repositories, report.repositories, strict=True):
            assert result.removed == planned.removed
            left = self.vault.snapshots(planned.repository)
            assert {each.id for each in left} == {kept.snapshot.id for kept in planned.kept}
            self.removed |= {each.id for each in planned.removed}

    @precondition(lambda self: self.states)
    @rule()
    def prune_by_a_stale_plan(self) -> None:
        plan = self.vault.plan_prune()
        self.snapshot(Quiesce.LIVE)
        with pytest.raises(StalePlanError):
            self.vault.prune(plan)

    @precondition(lambda self: self.listed())
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.listed()))
        target = self.folder / f"out-{uuid.uuid4()}"
        restored = self.vault.restore(chosen, target)
        assert state_of_small_instance(restored.data_dir) == self.states[chosen.id]
        shutil.rmtree(target)

    @precondition(lambda self: self.listed())
    @rule(name=st.sampled_from(["one", "two"]), when=st.sampled_from(["before", "after"]))
    def failed_restore(self, name: str, when: str) -> None:
        """A restore that fails says so in its target, and harms nothing."""
        if not self.vault.snapshots(name):
            return
        self.fail(name, "fetch", when)
        target = self.folder / f"out-{uuid.uuid4()}"
        with pytest.raises(VaultError):
            self.vault.restore("latest", target, repository=name)
        self.engines[name].fault = lambda _call, _when: None
        shutil.rmtree(target, ignore_errors=True)

    @precondition(lambda self: self.listed())
    @rule()
    def verify(self) -> None:
        assert self.vault.verify("latest").ok

    def listed(self):  # type: ignore[no-untyped-def]
        return [each for each in self.vault.snapshots() if each.outcome is Outcome.COMPLETE]

    def fail(self, name: str, call: str, when: str) -> None:
        def fault(called: str, at: str) -> None:
            if (called, at) == (call, when):
                raise RepositoryUnreachableError(f"{name} is away")

        self.engines[name].fault = fault

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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_promises_hold_through_any_history(soak: Callable[[int], int]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        VaultMachine,
        settings=settings(
            max_examples=soak(100),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            print_blob=True,
        ),
    )


def test_a_crowd_of_faults_leaves_the_first_error_with_its_report() -> None:
    machine = VaultMachine()
    machine.set_up()
    try:
        for name in machine.engines:
            machine.fail(name, "store", "before")
        with pytest.raises(RepositoryUnreachableError, match="one is away") as caught:
            machine.vault.snapshot()
        assert caught.value.report
        assert [each.repository for each in caught.value.report.repositories if each.error] == ["one", "two"]
        assert caught.value.report.manifest
    finally:
        machine.teardown()
