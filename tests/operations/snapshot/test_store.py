"""What is stored is looked after: what changed meanwhile, or could not be read, is never taken for complete."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import (
    CancelledError,
    DataDirectory,
    Limits,
    Outcome,
    Progress,
    Repository,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryUnreachableError,
    RetentionPolicy,
    Secret,
    Snapshot,
    Step,
    Vault,
    VaultError,
)
from owui_vault.errors import UnforeseenError
from owui_vault.model import SkippedFile, SnapshotReport, StoreReceipt
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance


class House:
    """An instance with two repositories; `while_storing` happens when the first has been written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        make_small_instance(self.data_dir)
        use_small_instance(self.data_dir, "precious")
        (self.upload,) = (self.data_dir / "uploads").iterdir()
        self.engines = {
            name: FaultyEngine(DirectoryEngine(folder / name, Secret("x")), self.fault) for name in ("one", "two")
        }
        self.faults: dict[tuple[str, str], Callable[[], None]] = {}
        self.vault = self.a_vault()
        self.vault.initialize()

    def a_vault(self, *, parallel: int = 2) -> Vault:
        return Vault(
            DataDirectory(self.data_dir),
            [Repository(name, engine, RetentionPolicy(last=1)) for name, engine in self.engines.items()],
            state_dir=self.folder / "state",
            limits=Limits(lock_wait_seconds=0.3, parallel=parallel),
        )

    def fault(self, call: str, moment: str) -> None:
        self.faults.get((call, moment), lambda: None)()

    def on(self, call: str, moment: str, deed: Callable[[], None]) -> None:
        self.faults[call, moment] = deed

    def change_upload(self) -> None:
        """In place, through the same inode that the stage holds."""
        with self.upload.open("r+b") as file:
            file.write(b"PRECIOUS, and longer")

    def complete(self, repository: str = "one") -> list[Snapshot]:
        return [each for each in self.vault.snapshots(repository) if each.outcome is Outcome.COMPLETE]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def raising(error: VaultError) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


def test_an_upload_that_changes_while_it_is_stored_is_named(house: House) -> None:
    house.on("store", "before", house.change_upload)
    report = house.vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    assert [each.changed for each in report.repositories] == [(f"uploads/{house.upload.name}",)] * 2
    assert any("stored in one" in text and house.upload.name in text for text in report.problems)
    assert house.complete("one") == house.complete("two") == []


def test_an_upload_that_was_changed_in_place_once_is_copied_from_then_on(house: House) -> None:
    """A link would show the engine bytes of another moment each time."""

    def touch() -> None:
        with house.upload.open("r+b") as file:
            file.write(house.upload.read_bytes()[:1])

    house.on("store", "before", touch)
    report = house.vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    assert any("copied instead of linked from now on" in each for each in report.problems)
    other = house.data_dir / "uploads" / "other"
    other.write_text("never changed")
    again = house.a_vault().snapshot()
    assert (again.outcome, again.problems) == (Outcome.COMPLETE, ())
    assert again.proof.linked_files == 1


def test_what_the_engine_could_not_read_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = house.engines["one"].engine
    store = engine.store

    def store_with_a_gap(*arguments: object) -> StoreReceipt:
        receipt = store(*arguments)  # type: ignore[arg-type]
        label = replace(receipt.snapshot.label, outcome=Outcome.INCOMPLETE)  # type: ignore[type-var]
        gap = SkippedFile(path="data/uploads/a", reason="permission denied")
        snapshot = engine.relabel(receipt.snapshot.engine_id, label, arguments[2])  # type: ignore[arg-type]
        return replace(receipt, snapshot=snapshot, skipped=(gap,))

    monkeypatch.setattr(engine, "store", store_with_a_gap)
    report = house.vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    assert [[file.path for file in each.skipped] for each in report.repositories] == [["data/uploads/a"], []]
    assert report.problems == ("could not be read while it was stored in one: data/uploads/a (permission denied)",)


def test_a_lock_in_the_way_of_the_correction_is_waited_for(house: House) -> None:
    waits = iter([RepositoryLockedError("locked")])

    def locked_once() -> None:
        for error in waits:
            raise error

    house.on("store", "before", house.change_upload)
    house.on("relabel", "before", locked_once)
    assert house.vault.snapshot().outcome is Outcome.INCOMPLETE
    assert [each.outcome for each in house.vault.snapshots("one")] == [Outcome.INCOMPLETE]


def test_two_repositories_are_stored_to_at_once(house: House) -> None:
    """Each waits for the other to have begun; one after the other they would wait for ever."""
    both = threading.Barrier(2, timeout=30)
    house.on("store", "before", lambda: (None, both.wait())[0])
    report = house.vault.snapshot()
    assert [each.repository for each in report.repositories] == ["one", "two"]
    assert [each.id for each in house.complete("one")] == [each.id for each in house.complete("two")] == [report.id]


def test_one_at_a_time_where_that_is_wanted(house: House) -> None:
    storing: list[str] = []
    house.on("store", "before", lambda: storing.append("begun"))
    house.on("store", "after", lambda: storing.append("ended"))
    house.a_vault(parallel=1).snapshot()
    assert storing == ["begun", "ended"] * 2


def test_a_repository_that_fails_ends_no_other_store(house: House) -> None:
    """Also where it fails while the other one is being written."""
    both = threading.Barrier(2, timeout=30)
    turns = iter(["one fails", "the other does not"])

    def meet() -> None:
        both.wait()
        if next(turns) == "one fails":
            raise RepositoryUnreachableError("away")

    house.on("store", "before", meet)
    report = house.vault.snapshot()
    assert [type(each.error) for each in report.repositories if each.error] == [RepositoryUnreachableError]
    assert report.outcome is Outcome.COMPLETE
    assert len(house.complete("one")) + len(house.complete("two")) == 1


def test_whoever_listens_may_read_while_two_are_stored_to(house: House) -> None:
    """A callback is called by the thread that asked for the snapshot, and by no other."""
    heard: list[tuple[str, int, int]] = []

    def listen(event: Progress) -> None:
        if event.step is Step.STORE:
            heard.append((event.repository, len(house.vault.snapshots()), threading.get_ident()))

    house.vault.snapshot(progress=listen)
    assert {repository for repository, _, _ in heard} == {"one", "two"}
    assert {thread for _, _, thread in heard} == {threading.get_ident()}


def test_what_a_listener_raises_ends_all_stores(house: House) -> None:
    def listen(event: Progress) -> None:
        if event.step is Step.STORE:
            raise KeyError("a mistake in a callback")

    with pytest.raises((KeyError, UnforeseenError)):
        house.vault.snapshot(progress=listen)
    assert house.vault.snapshot().outcome is Outcome.COMPLETE


def test_what_cannot_be_relabelled_is_removed(house: House) -> None:
    house.on("store", "before", house.change_upload)
    house.on("relabel", "before", raising(RepositoryUnreachableError("away")))
    with pytest.raises(RepositoryUnreachableError) as caught:
        house.vault.snapshot()
    assert isinstance(caught.value.report, SnapshotReport)
    assert caught.value.report.outcome is Outcome.FAILED
    assert house.vault.snapshots() == ()


def doubtful(house: House) -> Snapshot:
    """A snapshot that a run stored and could not look after."""
    house.on("store", "before", house.change_upload)
    for call in ("relabel", "remove"):
        house.on(call, "before", raising(RepositoryUnreachableError("away")))
    with pytest.raises(RepositoryUnreachableError):
        house.vault.snapshot()
    (left,) = house.vault.snapshots("one")
    house.faults.clear()
    return left


def test_what_can_neither_be_relabelled_nor_removed_is_not_believed_and_settled_later(house: House) -> None:
    left = doubtful(house)
    assert left.outcome is Outcome.INCOMPLETE
    report = house.a_vault().snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert any(left.id in text and "INCOMPLETE" in text for text in report.warnings)
    stranger = Vault(None, house.vault.repositories, state_dir=house.folder / "elsewhere")
    assert {(each.id, each.outcome) for each in stranger.snapshots("one")} == {
        (left.id, Outcome.INCOMPLETE),
        (report.id, Outcome.COMPLETE),
    }


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_run_killed_between_storing_and_looking_leaves_nothing_that_is_believed(house: House, parallel: int) -> None:
    def die() -> None:
        house.change_upload()
        os.kill(os.getpid(), signal.SIGKILL)

    house.on("store", "after", die)
    pid = os.fork()
    if pid == 0:
        house.a_vault(parallel=parallel).snapshot()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    house.faults.clear()
    doubtful = house.vault.snapshots(everything=True)
    assert {each.outcome for each in doubtful} == {Outcome.INCOMPLETE}
    report = house.vault.snapshot()
    for each in doubtful:
        assert any(each.id in text and f" in {each.repository} " in text for text in report.warnings)
    assert house.vault.snapshot().warnings == tuple(text for text in report.warnings if doubtful[0].id not in text)


def test_an_answer_that_was_lost_makes_no_good_snapshot_bad(house: House) -> None:
    """It is there, it is whole, and only the message about it was not heard."""
    house.on("store", "after", raising(RepositoryUnreachableError("away")))
    with pytest.raises(RepositoryUnreachableError):
        house.vault.snapshot()
    (stored,) = house.complete("one")
    restored = house.vault.restore(stored, house.folder / "copy")
    assert state_of_small_instance(restored.data_dir) == state_of_small_instance(house.data_dir)


@pytest.mark.parametrize("call", ["snapshots", "store"])
def test_waiting_for_a_locked_repository_ends_when_it_is_cancelled(house: House, call: str) -> None:
    cancel = threading.Event()

    def lock_and_cancel() -> None:
        cancel.set()
        raise RepositoryLockedError("locked")

    house.on(call, "before", lock_and_cancel)
    patient = Vault(
        DataDirectory(house.data_dir),
        house.vault.repositories,
        state_dir=house.folder / "state",
        limits=Limits(lock_wait_seconds=60),
    )
    started = time.monotonic()
    with pytest.raises(CancelledError):
        patient.snapshot(cancel=cancel)
    assert time.monotonic() - started < 30
    house.faults.clear()
    assert house.vault.snapshots() == ()


def cancelling(cancel: threading.Event, error: VaultError) -> Callable[[], None]:
    def deed() -> None:
        cancel.set()
        raise error

    return deed


def test_an_engine_that_was_interrupted_may_call_it_what_it_likes(house: House) -> None:
    """What was asked to end is no failure of the repository's, whichever of the two came to it first."""
    cancel = threading.Event()
    house.on("store", "before", cancelling(cancel, RepositoryUnreachableError("the connection was closed")))
    with pytest.raises(CancelledError, match=r"storing in (one|two)"):
        house.vault.snapshot(cancel=cancel)
    assert house.vault.snapshots() == ()


def test_cancelled_before_it_could_be_corrected_it_is_not_believed(house: House) -> None:
    cancel = threading.Event()
    house.on("store", "before", house.change_upload)
    house.on("relabel", "before", cancelling(cancel, CancelledError("ended on request")))
    removed: list[str] = []
    house.on("remove", "before", lambda: removed.append("one"))
    with pytest.raises(CancelledError):
        house.vault.snapshot(cancel=cancel)
    assert removed == []
    # Both are stored to side by side: whichever is cancelled first, the other may not have come to storing.
    stored = [each.outcome for name in ("one", "two") for each in house.vault.snapshots(name)]
    assert set(stored) == {Outcome.INCOMPLETE}


def test_what_failed_to_be_stored_while_something_changed_is_not_believed_when_it_shows_up(house: House) -> None:
    """The answer is lost, and the data are not what the label says."""
    house.on("store", "before", house.change_upload)
    house.on("store", "after", raising(RepositoryUnreachableError("away")))
    with pytest.raises(RepositoryUnreachableError):
        house.vault.snapshot()
    assert [each.outcome for each in house.vault.snapshots("one")] == [Outcome.INCOMPLETE]


def test_a_repository_that_cannot_be_looked_after_now_is_looked_after_later(house: House) -> None:
    """The snapshot of today does not wait for it, and nobody believes the other one until then."""
    left = doubtful(house).id
    house.on("relabel", "before", raising(RepositoryUnreachableError("away")))
    house.on("remove", "before", raising(RepositoryUnreachableError("away")))
    report = house.vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert not any(left in text for text in report.warnings)
    assert [each.id for each in house.complete("one")] == [report.id]
    house.faults.clear()
    assert any(left in text for text in house.vault.snapshot().warnings)


def test_another_repository_in_its_place_settles_nothing(house: House) -> None:
    """Two disks that take turns at one mount point: what lies on the other one says nothing of this one."""
    left = doubtful(house)
    (house.folder / "one").rename(house.folder / "on the other disk")
    stranger = Vault(None, house.vault.repositories[:1], state_dir=house.folder / "elsewhere")
    stranger.initialize()
    report = house.vault.snapshot()
    assert [type(each.error) for each in report.repositories] == [RepositoryMissingError, type(None)]
    shutil.rmtree(house.folder / "one")
    (house.folder / "on the other disk").rename(house.folder / "one")
    assert [each.outcome for each in house.vault.snapshots("one")] == [Outcome.INCOMPLETE]
    assert any(left.id in text for text in house.vault.snapshot().warnings)


def test_looking_after_what_was_left_can_be_cancelled(house: House) -> None:
    left = doubtful(house).id
    cancel = threading.Event()
    house.on("relabel", "before", cancelling(cancel, CancelledError("ended on request")))
    with pytest.raises(CancelledError):
        house.vault.snapshot(cancel=cancel)
    house.faults.clear()
    assert {each.id for each in house.vault.snapshots("one")} == {left}
    assert any(left in text for text in house.vault.snapshot().warnings)


def test_an_engine_that_says_incomplete_and_not_why_is_believed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = house.engines["one"].engine
    store = engine.store

    def doubting(*arguments: object) -> StoreReceipt:
        receipt = store(*arguments)  # type: ignore[arg-type]
        label = replace(receipt.snapshot.label, outcome=Outcome.INCOMPLETE)  # type: ignore[type-var]
        return replace(receipt, snapshot=engine.relabel(receipt.snapshot.engine_id, label, arguments[2]))  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "store", doubting)
    report = house.vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    assert report.problems == ("one has it as incomplete, without saying why",)
