"""What is pinned stays, in every repository that holds it, whatever retention says, until it is unpinned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import (
    CancelledError,
    Engine,
    Outcome,
    PinReport,
    Repository,
    RepositoryUnreachableError,
    RetentionPolicy,
    Secret,
    SnapshotMissingError,
    Vault,
)
from owui_vault.context.state import LastStored, StateDirectory
from owui_vault.testing.engines.bench import make_label
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from tests.operations.conftest import PASSPHRASE, MakeEngine
from tests.operations.test_twins import call_in, relabel_append_only


class ThreeNights:
    """Two repositories with the same three nights; the first one is of the engine in question."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.faults: dict[tuple[str, str, str], Callable[[], None]] = {}
        far = DirectoryEngine(folder / "far", Secret(PASSPHRASE))
        self.engines = {"nas": engine, "far": far}
        self.vault = self.a_vault()
        self.vault.initialize()
        self.ids = [self.store(number) for number in (1, 2, 3)]

    def a_vault(self, *, optional: bool = False, state: str = "state", last: int = 1) -> Vault:
        return Vault(
            None,
            [
                Repository(name, FaultyEngine(each, self.fault(name)), RetentionPolicy(last=last), optional=optional)
                for name, each in self.engines.items()
            ],
            state_dir=self.folder / state,
        )

    def fault(self, name: str) -> Callable[[str, str], None]:
        return lambda call, moment: self.faults.get((name, call, moment), lambda: None)()

    def store(self, number: int, to: tuple[str, ...] = ("nas", "far")) -> str:
        tree = self.folder / "stage"
        tree.mkdir(exist_ok=True)
        (tree / "data").write_bytes(b"%d" % number)
        for name in to:
            self.engines[name].store(tree, make_label(number), call_in(self.folder))
        return make_label(number).id

    def pinned(self, name: str) -> list[str]:
        return [each.id for each in self.vault.snapshots(name) if each.pinned]

    def prune(self, name: str) -> list[str]:
        self.vault.prune(self.vault.plan_prune(repository=name))
        return [each.id for each in self.vault.snapshots(name)]


@pytest.fixture
def places(tmp_path: Path, make_engine: MakeEngine) -> ThreeNights:
    return ThreeNights(tmp_path, make_engine(tmp_path / "repository"))


@pytest.fixture
def quick(tmp_path: Path) -> ThreeNights:
    return ThreeNights(tmp_path, DirectoryEngine(tmp_path / "repository", Secret(PASSPHRASE)))


def changed(report: PinReport) -> dict[str, bool]:
    return {each.repository: each.changed for each in report.repositories}


def raising(error: BaseException) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


@pytest.mark.doubled
def test_a_pinned_one_outlives_every_prune_until_it_is_unpinned(places: ThreeNights) -> None:
    first, second, third = places.ids
    report = places.vault.pin(first)
    assert (report.id, report.pinned, changed(report)) == (first, True, {"nas": True, "far": True})
    assert places.pinned("nas") == places.pinned("far") == [first]
    (plan,) = places.vault.plan_prune(repository="nas").repositories
    assert [one.reasons for one in plan.kept if one.snapshot.id == first] == [("pinned",)]
    assert [one.id for one in plan.removed] == [second]
    assert places.prune("nas") == places.prune("far") == [third, first]
    assert changed(places.vault.pin(first)) == {"nas": False, "far": False}
    assert changed(places.vault.unpin(first)) == {"nas": True, "far": True}
    assert places.pinned("nas") == []
    assert changed(places.vault.unpin(first)) == {"nas": False, "far": False}
    assert places.prune("nas") == places.prune("far") == [third]


def test_a_pin_changes_nothing_but_the_pin(quick: ThreeNights) -> None:
    """Neither the data nor the rest of the label; unpinned, the label is what it was."""
    before = {each.id: each for each in quick.vault.snapshots("nas")}
    quick.vault.pin("latest")
    newest = before[quick.ids[2]]
    assert newest.label
    now = quick.vault.snapshots("nas")[0]
    assert now.label == replace(newest.label, pinned=True)
    assert (now.instant, now.size_bytes) == (newest.instant, newest.size_bytes)
    (quick.folder / "back").mkdir()
    quick.engines["nas"].fetch(now.engine_id, quick.folder / "back", call_in(quick.folder))
    assert (quick.folder / "back/data").read_bytes() == b"3"
    quick.vault.unpin(now)
    assert quick.vault.snapshots("nas")[0].label == newest.label


def test_one_that_cannot_be_sound_is_pinned_as_what_it_is(quick: ThreeNights) -> None:
    quick.store(4, to=())
    label = make_label(4, outcome=Outcome.INCOMPLETE)
    quick.engines["nas"].store(quick.folder / "stage", label, call_in(quick.folder))
    report = quick.vault.pin(label.id)
    assert [(each.repository, each.snapshot is None) for each in report.repositories] == [("nas", False), ("far", True)]
    quick.store(5)
    assert label.id in quick.prune("nas")
    assert quick.vault.snapshots("nas")[1].outcome is Outcome.INCOMPLETE


def test_where_nothing_can_be_deleted_it_is_there_twice_and_counts_once(quick: ThreeNights) -> None:
    first = quick.ids[0]
    relabel_append_only(quick.folder, quick.engines["nas"], first)
    quick.vault.pin(first)
    assert quick.pinned("nas") == [first]
    assert [each.id for each in quick.vault.snapshots("nas")].count(first) == 1
    both = [each for each in quick.vault.snapshots("nas", everything=True) if each.id == first]
    assert [each.pinned for each in both] == [True, True]
    assert first in quick.prune("nas")
    quick.vault.unpin(first)
    assert quick.prune("nas") == quick.ids[2:]


def test_a_server_that_keeps_the_first_entry_is_told_and_the_pin_works(quick: ThreeNights) -> None:
    """As an append-only server of restic's: the second entry is written, and removing the first one is refused."""
    first = quick.ids[0]
    inner = quick.engines["nas"]
    relabel = inner.relabel

    def append_only() -> None:
        (entry,) = [each for each in inner.snapshots(call_in(quick.folder)) if each.id == first]
        (record,) = (quick.folder / "repository/snapshots").glob(f"{entry.engine_id}*")
        content = record.read_bytes()
        assert entry.label
        relabel(entry.engine_id, replace(entry.label, pinned=True), call_in(quick.folder))
        record.write_bytes(content)
        raise RepositoryUnreachableError("403 Forbidden")

    quick.faults["nas", "relabel", "before"] = append_only
    nas, far = quick.vault.pin(first).repositories
    assert (nas.changed, nas.error) == (True, None)
    assert "the two count as one" in nas.warnings[0]
    assert (far.changed, far.warnings) == (True, ())
    assert quick.pinned("nas") == [first]
    assert first in quick.prune("nas")
    quick.faults["nas", "relabel", "before"] = raising(RepositoryUnreachableError("403 Forbidden"))
    nas, far = quick.vault.unpin(first).repositories
    assert isinstance(nas.error, RepositoryUnreachableError)
    assert far.changed, "another repository's trouble"
    assert quick.pinned("nas") == [first], "nothing pretends to be unpinned"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_between_two_repositories_the_next_call_does_the_rest(quick: ThreeNights, moment: str) -> None:
    first = quick.ids[0]
    quick.faults["far", "relabel", moment] = raising(CancelledError("killed here"))
    with pytest.raises(CancelledError):
        quick.vault.pin(first)
    quick.faults.clear()
    assert quick.pinned("nas") == [first]
    assert quick.pinned("far") == ([first] if moment == "after" else [])
    assert changed(quick.vault.pin(first)) == {"nas": False, "far": moment == "before"}
    assert quick.pinned("far") == [first]


@pytest.mark.parametrize("optional", [False, True])
def test_a_repository_that_is_away_is_named_and_the_others_are_pinned(quick: ThreeNights, optional: bool) -> None:
    quick.vault = quick.a_vault(optional=optional)
    quick.faults["far", "snapshots", "before"] = raising(RepositoryUnreachableError("nobody answers"))
    nas, far = quick.vault.pin(quick.ids[0]).repositories
    assert (nas.changed, nas.error) == (True, None)
    assert (str(far.error), far.excused) == ("nobody answers", optional)


def test_what_nobody_has_cannot_be_pinned(quick: ThreeNights) -> None:
    with pytest.raises(SnapshotMissingError):
        quick.vault.pin("0000dead")


def test_the_newest_stored_here_is_not_missed_after_it_was_pinned(quick: ThreeNights) -> None:
    """Its engine has another id for it then; taken for gone, the repository would be taken for another one."""
    state = StateDirectory(quick.folder / "state")
    newest = quick.vault.snapshots("nas")[0]
    folder = state.repository_folder("nas", quick.engines["nas"].location)
    last = LastStored(id=newest.id, engine_id=newest.engine_id, sequence=newest.sequence, instant=newest.instant)
    state.remember_stored(folder, newest.instance, last)
    quick.vault.pin(newest)
    now = quick.vault.snapshots("nas")[0]
    assert now.engine_id != newest.engine_id
    assert dict(state.repository_memory(folder).last)[newest.instance] == replace(last, engine_id=now.engine_id)


def test_a_doubt_of_this_machine_alone_is_not_written_into_the_repository(quick: ThreeNights) -> None:
    """The next snapshot looks whether it is sound; a pin that called it INCOMPLETE would decide that for good."""
    newest = quick.vault.snapshots("nas")[0]
    state = StateDirectory(quick.folder / "state")
    state.remember_storing(state.repository_folder("nas", quick.engines["nas"].location), newest.instance, newest.id)
    assert quick.vault.snapshots("nas")[0].outcome is Outcome.INCOMPLETE
    quick.vault.pin(newest.id)
    (entry,) = [each for each in quick.engines["nas"].snapshots(call_in(quick.folder)) if each.id == newest.id]
    assert (entry.pinned, entry.outcome) == (True, Outcome.COMPLETE)


def test_a_plan_of_replicate_brings_what_is_pinned_and_says_what_it_would_pin(quick: ThreeNights) -> None:
    """What is pinned at the source is brought though the target's `keep` would not keep it."""
    first, second, third = quick.ids
    fourth = quick.store(4, to=("nas",))
    quick.vault.pin(second)
    for name, one, wanted in (
        ("nas", first, True),
        ("nas", fourth, True),
        ("far", second, False),
        ("far", third, True),
    ):
        vault = Vault(None, [Repository(name, quick.engines[name])], state_dir=quick.folder / f"state-{name}")
        (vault.pin if wanted else vault.unpin)(one)
    assert (quick.pinned("nas"), quick.pinned("far")) == ([fourth, second, first], [third])
    plan = quick.vault.plan_replication("nas")
    (planned,) = plan.repositories
    assert ([each.id for each in planned.copies], [each.id for each in planned.pins]) == ([fourth], [second, first])
    assert quick.pinned("far") == [third], "a plan changes nothing"


def test_replicate_pins_what_is_there_already(quick: ThreeNights) -> None:
    first, _, third = quick.ids
    only = {
        name: Vault(None, [Repository(name, quick.engines[name])], state_dir=quick.folder / name / "state")
        for name in quick.engines
    }
    only["nas"].pin(first)
    only["far"].pin(third)
    (result,) = quick.vault.replicate(quick.vault.plan_replication("nas")).repositories
    assert ([each.id for each in result.pinned], result.error) == ([first], None)
    assert (quick.pinned("nas"), quick.pinned("far")) == ([first], [third, first])
    (planned,) = quick.vault.plan_replication("nas").repositories
    assert (planned.copies, planned.pins) == ((), ()), "a second run has nothing to do"
