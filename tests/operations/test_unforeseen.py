"""What nobody foresaw at one repository is that repository's result, and neither the others' nor the caller's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from owui_vault import (
    CancelledError,
    DataDirectory,
    Engine,
    Outcome,
    Repository,
    ResumeError,
    RetentionPolicy,
    Secret,
    Snapshot,
    SnapshotReport,
    UnforeseenError,
    Vault,
)
from owui_vault.model import Event
from owui_vault.ports import Call
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance

SECRET = "correct horse"


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


class House:
    """An instance with two repositories; the first raises what it is told to."""

    def __init__(self, folder: Path) -> None:
        make_small_instance(folder / "data")
        use_small_instance(folder / "data", "precious")
        self.faults: dict[str, BaseException] = {}
        self.engines: list[Engine] = [
            FaultyEngine(DirectoryEngine(folder / "one", Secret("x")), self.fault),
            DirectoryEngine(folder / "two", Secret("x")),
        ]
        self.heard = Heard()
        self.vault = Vault(
            DataDirectory(folder / "data"),
            [
                Repository(name, engine, RetentionPolicy(last=1))
                for name, engine in zip(("one", "two"), self.engines, strict=True)
            ],
            state_dir=folder / "state",
            notifiers=[self.heard],
        )

    def fault(self, operation: str, moment: str) -> None:
        if moment == "before" and operation in self.faults:
            raise self.faults[operation]


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.vault.initialize()
    return house


@pytest.mark.parametrize("operation", ["store", "snapshots"])
def test_it_is_one_repositorys_result_and_the_others_are_stored(house: House, operation: str) -> None:
    house.faults[operation] = ValueError(SECRET)
    report = house.vault.snapshot()
    one, two = report.repositories
    assert isinstance(one.error, UnforeseenError)
    assert isinstance(one.error.__cause__, ValueError)
    assert (one.error.message, one.error.exit_code) == ("unexpected ValueError", 1)
    assert "report" in one.error.hint.lower()
    assert two.snapshot
    assert report.outcome is Outcome.COMPLETE
    assert not any(SECRET in event.detail for event in house.heard.events)
    assert [event.kind for event in house.heard.events] == ["failure"]


def test_of_a_file_that_could_not_be_used_the_name_is_told(house: House) -> None:
    house.faults["store"] = OSError(5, "Input/output error", "/somewhere")
    one, _ = house.vault.snapshot().repositories
    assert one.error
    assert one.error.message == "unexpected OSError: Input/output error: /somewhere"


def test_where_it_was_the_only_repository_the_report_is_made_all_the_same(house: House) -> None:
    house.faults["store"] = ValueError(SECRET)
    with pytest.raises(UnforeseenError) as caught:
        house.vault.snapshot(to="one")
    report = caught.value.report
    assert isinstance(report, SnapshotReport)
    assert report.outcome is Outcome.FAILED
    assert report.manifest


def test_what_was_left_to_be_looked_after_keeps_nobody_from_a_snapshot(house: House) -> None:
    house.faults["store"] = KeyboardInterrupt()  # the note that the snapshot is not to be believed stays
    with pytest.raises(KeyboardInterrupt):
        house.vault.snapshot()
    house.faults = {"inspect": ValueError(SECRET)}
    assert house.vault.snapshot().repositories[1].snapshot


@pytest.mark.parametrize("error", [ResumeError("down"), KeyboardInterrupt()])
@pytest.mark.parametrize("operation", ["store", "snapshots"])
def test_what_concerns_the_instance_or_the_caller_is_nobodys_result(
    house: House, operation: str, error: BaseException
) -> None:
    house.faults[operation] = error
    with pytest.raises(type(error)):
        house.vault.snapshot()


def test_a_repository_is_created_though_another_fails_in_a_way_nobody_foresaw(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.faults["initialize"] = ValueError(SECRET)
    one, two = house.vault.initialize().repositories
    assert isinstance(one.error, UnforeseenError)
    assert two.created


def test_another_repository_is_pruned(house: House) -> None:
    for _ in range(2):
        house.vault.snapshot()
    plan = house.vault.plan_prune()
    house.faults["remove"] = ValueError(SECRET)
    one, two = house.vault.prune(plan).repositories
    assert isinstance(one.error, UnforeseenError)
    assert (len(two.removed), two.error) == (1, None)


def test_another_repository_is_looked_into(house: House, tmp_path: Path) -> None:
    house.vault.snapshot()
    house.faults["snapshots"] = ValueError(SECRET)
    restored = house.vault.restore("latest", tmp_path / "copy")
    assert restored.snapshot.repository == "two"
    assert any("unexpected ValueError" in warning for warning in restored.warnings)


@pytest.mark.parametrize("failing", [lambda: ValueError(SECRET), KeyboardInterrupt])
def test_the_callers_own_event_is_never_set(house: House, failing: Callable[[], BaseException]) -> None:
    cancel = threading.Event()
    house.faults["snapshots"] = failing()
    with suppress(KeyboardInterrupt):
        house.vault.snapshot(cancel=cancel)
    assert not cancel.is_set()
    house.faults.clear()
    assert house.vault.snapshot(cancel=cancel).outcome is Outcome.COMPLETE


class Waiting(DirectoryEngine):
    """An engine whose listing takes until it is cancelled."""

    def __init__(self, folder: Path, cancel: threading.Event) -> None:
        super().__init__(folder, Secret("x"))
        self.cancel = cancel

    def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
        assert not call.cancel.wait(0.01)
        self.cancel.set()
        assert call.cancel.wait(10)
        raise ValueError("interrupted")


def test_an_engine_hears_the_callers_event_while_it_is_asked_what_there_is(house: House, tmp_path: Path) -> None:
    cancel = threading.Event()
    repository = Repository("one", Waiting(tmp_path / "one", cancel))
    vault = Vault(DataDirectory(tmp_path / "data"), [repository], state_dir=tmp_path / "state")
    with pytest.raises(CancelledError):
        vault.snapshot(cancel=cancel)
