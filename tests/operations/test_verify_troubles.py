"""What verify makes of a repository that is damaged, away, or holds something else than it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import (
    Call,
    DataDirectory,
    Repository,
    RepositoryDamagedError,
    RepositoryUnreachableError,
    Secret,
    SnapshotMissingError,
    Vault,
    VaultError,
)
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance


class Store:
    """A repository with one snapshot. `fails` maps what is called to what it then raises."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_small_instance(folder / "data")
        use_small_instance(folder / "data", "mine")
        self.fails: dict[str, VaultError] = {}
        self.engine = DirectoryEngine(folder / "repository", Secret("x"))
        self.vault = Vault(
            DataDirectory(folder / "data"),
            [Repository("nas", FaultyEngine(self.engine, self.fault))],
            state_dir=folder / "state",
        )
        self.vault.initialize()
        self.id = self.vault.snapshot().id

    def fault(self, operation: str, moment: str) -> None:
        if moment == "before" and operation in self.fails:
            raise self.fails[operation]

    def ledger(self, series: str = "open-webui") -> list[tuple[str, bool]]:
        """What is noted: which snapshot, and whether it was good."""
        noted = json.loads((self.folder / "state/instances" / series / "ledger.json").read_text())["entries"]
        return [(each["snapshot"], each["ok"]) for each in noted]

    def forge(self, change: Callable[[Path], object]) -> None:
        """The same snapshot once more under the same label, its tree changed."""
        (stored,) = self.vault.snapshots()
        tree = self.vault.restore("latest", self.folder / "tree").target
        change(tree)
        assert stored.label
        call = Call(folder=self.folder)
        self.engine.remove([stored.engine_id], call)
        self.engine.store(tree, stored.label, call)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_damage_that_ends_the_check_of_the_engine_is_a_problem_in_words(store: Store) -> None:
    """Not an error: what can be fetched all the same is looked at too."""
    store.fails["verify"] = RepositoryDamagedError("its index is damaged", hint="Repair it.")
    report = store.vault.verify()
    assert report.problems == ("nas: its index is damaged. Repair it.",)
    assert report.snapshot
    assert store.ledger() == [(store.id, False)]


def test_what_cannot_be_fetched_from_a_damaged_repository_is_a_part_of_that(store: Store) -> None:
    store.fails["verify"] = RepositoryDamagedError("its index is damaged")
    store.fails["fetch"] = RepositoryUnreachableError("it gave up")
    report = store.vault.verify()
    assert report.problems == ("nas: its index is damaged.", f"snapshot {store.id} cannot be fetched: it gave up")


def test_a_repository_that_goes_away_says_nothing_of_its_snapshots(store: Store) -> None:
    """Nothing is noted: it may be as good as ever."""
    store.fails["fetch"] = RepositoryUnreachableError("away")
    with pytest.raises(RepositoryUnreachableError):
        store.vault.verify()
    store.fails.clear()
    assert store.vault.verify().ok
    assert store.ledger() == [(store.id, True)]


def test_a_snapshot_without_a_manifest_is_a_problem_in_words(store: Store) -> None:
    store.forge(lambda tree: (tree / "manifest.json").unlink())
    report = store.vault.verify()
    assert report.problems == (f"snapshot {store.id} holds no manifest.json",)
    assert store.ledger() == [(store.id, False)]


def test_what_is_wrong_with_another_series_is_noted_there(store: Store) -> None:
    """No snapshot of it is found, because the record of the only one is damaged."""
    (record,) = (store.folder / "repository/snapshots").iterdir()
    record.write_text("{")
    report = store.vault.verify("latest", instance="work")
    assert report.snapshot is None
    assert store.ledger("work") == [("latest", False)]
    assert store.ledger("open-webui") == []


@pytest.mark.parametrize("slip", ["yesterday", "x", "2026-13-30", "30.11.2026"])
def test_a_slip_is_told_before_a_repository_is_checked_for_hours(tmp_path: Path, slip: str) -> None:
    store = Store(tmp_path)
    store.fails["verify"] = RepositoryDamagedError("it was checked", engine="directory")
    with pytest.raises(SnapshotMissingError, match=slip):
        store.vault.verify(slip)
    assert "it was checked" in store.vault.verify("0123abcd").problems[0]
