"""A vault through any history of writing, snapshots, pruning, faults and kills: the promises hold after each step.

The engine and the quiescer are fakes that pass the conformance suites; the data directory, the capture, the journal and
the guardian are real, and a kill is a SIGKILL of a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from owui_vault import ContentMismatchError, Outcome, Quiesce, RepositoryUnreachableError
from owui_vault.model import SnapshotReport
from tests.machines.vault_machine import VaultMachine


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_promises_hold_through_any_history(soak: Callable[[int], int]) -> None:
    run_state_machine_as_test(
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


@pytest.fixture
def machine() -> Iterator[VaultMachine]:
    machine = VaultMachine()
    machine.set_up()
    yield machine
    machine.teardown()


def test_a_crowd_of_faults_leaves_the_first_error_with_its_report(machine: VaultMachine) -> None:
    for name, engine in machine.engines.items():
        engine.fault = machine.away(name, "store", "before")
    with pytest.raises(RepositoryUnreachableError, match="one is away") as caught:
        machine.vault.snapshot()
    assert isinstance(caught.value.report, SnapshotReport)
    assert [each.repository for each in caught.value.report.repositories if each.error] == ["one", "two"]
    assert caught.value.report.manifest


@pytest.mark.parametrize("relabel", ["works", "before", "after"])
def test_the_machine_can_tear_a_snapshot(machine: VaultMachine, relabel: str) -> None:
    """What its rule is worth hangs on uploads being linked: here the change is seen, in both repositories."""
    machine.write("first")
    machine.snapshot(Quiesce.LIVE)
    machine.snapshot_while_an_upload_changes("one", relabel)
    newest = machine.vault.snapshots()[0].id
    outcomes = {each.repository: each.outcome for each in machine.vault.snapshots() if each.id == newest}
    assert outcomes.pop("two") is Outcome.INCOMPLETE
    assert outcomes == ({} if relabel == "before" else {"one": Outcome.INCOMPLETE})
    machine.what_was_incomplete_never_becomes_complete()
    (torn,) = [each for each in machine.vault.snapshots("two") if each.id == newest]
    with pytest.raises(ContentMismatchError):
        machine.vault.restore(torn, machine.a_target())


def test_the_machine_can_damage_what_it_stores(machine: VaultMachine) -> None:
    machine.damage()
    machine.snapshot(Quiesce.LIVE)
    assert {each.outcome for each in machine.vault.snapshots()} == {Outcome.INCOMPLETE}
    machine.repair()
    machine.lose_the_state()
    machine.snapshot(Quiesce.LIVE)
    assert [each.label.sequence for each in machine.vault.snapshots("one") if each.label] == [2, 1]
