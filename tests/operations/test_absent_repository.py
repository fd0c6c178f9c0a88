"""One repository of two is away: what can be done is done, and what did not answer is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from owui_vault import (
    DataDirectory,
    Event,
    Outcome,
    Repository,
    RepositoryMissingError,
    RetentionPolicy,
    RunOutcome,
    Secret,
    UnansweredRepository,
    Vault,
    WrongPassphraseError,
)
from owui_vault.service.steps import stored_result
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance


class Told:
    """Hears of everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


class House:
    """A disk that is carried away comes first in the configuration, then the store that stays."""

    def __init__(self, folder: Path, *, optional: bool) -> None:
        self.folder = folder
        self.optional = optional
        self.told = Told()
        make_small_instance(folder / "data")
        self.vault = self.opened("x")
        self.vault.initialize()
        self.taken = [self.vault.snapshot().id for _ in range(2)]
        self.told.events.clear()
        (folder / "usb").rename(folder / "carried away")

    def opened(self, passphrase: str) -> Vault:
        usb = DirectoryEngine(self.folder / "usb", Secret(passphrase))
        nas = DirectoryEngine(self.folder / "nas", Secret("x"))
        keep = RetentionPolicy(last=1)
        return Vault(
            DataDirectory(self.folder / "data"),
            [Repository("usb", usb, keep, optional=self.optional), Repository("nas", nas, keep)],
            state_dir=self.folder / "state",
            notifiers=[self.told],
        )


@pytest.fixture(params=[False, True], ids=["needed", "optional"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    return House(tmp_path, optional=request.param)


def named(silent: tuple[UnansweredRepository, ...], house: House) -> bool:
    (one,) = silent
    assert isinstance(one.error, RepositoryMissingError)
    return one.repository == "usb" and one.excused is house.optional


def test_the_others_are_listed(house: House) -> None:
    listed = house.vault.snapshots()
    assert [(each.id, each.repository) for each in listed] == [(id_, "nas") for id_ in reversed(house.taken)]
    assert named(listed.unanswered, house)
    assert named(house.vault.snapshots(everything=True).unanswered, house)


def test_the_others_are_pruned_and_a_failure_is_told_of(house: House) -> None:
    plan = house.vault.plan_prune()
    assert named(plan.unanswered, house)
    assert [each.repository for each in plan.repositories] == ["nas"]
    report = house.vault.prune(plan)
    assert [(each.repository, len(each.removed)) for each in report.repositories] == [("nas", 1)]
    assert [each.kind for each in house.told.events] == ([] if house.optional else ["failure"])
    (house.folder / "carried away").rename(house.folder / "usb")
    assert len(house.vault.snapshots("usb")) == 2


def test_the_others_are_asked_for_a_snapshot(house: House, tmp_path: Path) -> None:
    silent: list[UnansweredRepository] = []
    assert house.vault.manifest("latest", on_unanswered=silent.append).id == house.taken[-1]
    assert named(tuple(silent), house)
    assert named(house.vault.restore("latest", tmp_path / "copy").unanswered, house)
    verified = house.vault.verify()
    assert verified.ok
    assert verified.repository == "nas"
    assert named(verified.unanswered, house)
    assert named(house.vault.plan_replacement().unanswered, house)


def test_a_snapshot_is_stored_in_the_others(house: House) -> None:
    report = house.vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert [(each.repository, bool(each.error), each.excused) for each in report.repositories] == [
        ("usb", True, house.optional),
        ("nas", False, False),
    ]
    assert [each.kind for each in house.told.events] == ["success" if house.optional else "failure"]


def test_nothing_is_said_of_a_repository_that_was_not_asked(house: House) -> None:
    assert house.vault.snapshots("nas").unanswered == ()
    assert house.vault.plan_prune(repository="nas").unanswered == ()
    assert house.vault.verify(repository="nas").unanswered == ()


@pytest.mark.parametrize("operation", ["snapshots", "plan_prune", "manifest", "verify"])
def test_where_nobody_answers_there_is_an_error(house: House, operation: str) -> None:
    words = {"manifest": ["latest"], "verify": ["latest"]}.get(operation, [])
    (house.folder / "nas").rename(house.folder / "gone as well")
    call: Any = getattr(house.vault, operation)
    with pytest.raises(RepositoryMissingError) as caught:
        call(*words)
    if house.optional and operation in ("snapshots", "plan_prune"):
        assert "nas" in caught.value.message  # the one that should have been there
    with pytest.raises(RepositoryMissingError):
        call(*words, repository="usb")


def test_only_being_away_is_excused(house: House) -> None:
    (house.folder / "carried away").rename(house.folder / "usb")
    listed = house.opened("another passphrase").snapshots()
    (one,) = listed.unanswered
    assert isinstance(one.error, WrongPassphraseError)
    assert not one.excused


def test_a_plan_takes_it_for_a_note(house: House) -> None:
    """What a run of a plan says of it: skipped, with the reason, where it may be away."""
    results = [stored_result(house.vault.snapshot(), name) for name in ("usb", "nas")]
    away = RunOutcome.SKIPPED if house.optional else RunOutcome.FAILED
    assert [each.outcome for each in results] == [away, RunOutcome.SUCCESS]
    assert ("may be away" in results[0].note) is house.optional
