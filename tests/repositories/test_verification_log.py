"""What was verified once is known wherever the series is pruned, also when the state was lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from owui_vault import (
    CancelledError,
    DataDirectory,
    Outcome,
    Repository,
    RepositoryUnreachableError,
    RetentionPolicy,
    Secret,
    Vault,
    VaultError,
)
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.built_once import BuiltOnce


def a_vault(folder: Path, state: str = "state", *, instance: bool = True) -> Vault:
    engine = DirectoryEngine(folder / "repository", Secret("x"))
    data = DataDirectory(folder / "data") if instance else None
    repository = Repository("nas", engine, RetentionPolicy(last=1))
    return Vault(data, [repository], state_dir=folder / state, series=None if instance else "open-webui")


def three(place: Path) -> str:
    make_small_instance(place / "data")
    vault = a_vault(place)
    vault.initialize()
    first = vault.snapshot().id
    assert vault.verify(first).ok
    for text in ("second", "third"):
        use_small_instance(place / "data", text)
        vault.snapshot()
    return first


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> BuiltOnce[str]:
    return BuiltOnce(tmp_path_factory.mktemp("three"), three)


@pytest.fixture
def verified(once: BuiltOnce[str]) -> str:
    """The first of three snapshots in `place`, which was verified: the manifests of the others say so."""
    return once.put_back()


@pytest.fixture
def place(once: BuiltOnce[str]) -> Path:
    return once.place


def kept(vault: Vault) -> dict[str, tuple[str, ...]]:
    (planned,) = vault.plan_prune().repositories
    return {each.snapshot.id: each.reasons for each in planned.kept}


def test_lost_state_does_not_cost_the_verified_snapshot(place: Path, verified: str) -> None:
    assert kept(a_vault(place))[verified] == ("newest verified",)
    shutil.rmtree(place / "state")
    vault = a_vault(place)
    assert kept(vault)[verified] == ("newest verified",)
    vault.prune(vault.plan_prune())
    assert verified in {each.id for each in vault.snapshots() if each.verified_at}


def test_a_machine_that_only_prunes_knows_it_too(place: Path, verified: str) -> None:
    other = a_vault(place, "other", instance=False)
    assert kept(other)[verified] == ("newest verified",)
    third = a_vault(place).snapshots()[0].id
    a_vault(place).verify(third)
    use_small_instance(place / "data", "fourth")
    a_vault(place).snapshot()
    assert "newest verified" in kept(other)[third]


def test_the_ledger_goes_on_in_the_manifest_after_the_state_was_lost(place: Path, verified: str) -> None:
    shutil.rmtree(place / "state")
    vault = a_vault(place)
    vault.snapshot()
    assert [entry.snapshot for entry in vault.manifest("latest").ledger] == [verified]


def test_manifests_that_cannot_be_read_are_passed_over(
    place: Path, verified: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("owui_vault.manifest.documents.MANIFEST_FORMAT", 0)
    shutil.rmtree(place / "state")
    assert verified not in kept(a_vault(place))


def test_a_repository_that_was_not_asked_is_learned_from_later(place: Path, verified: str) -> None:
    shutil.rmtree(place / "state")
    old, new = (
        Repository(name, DirectoryEngine(place / folder, Secret("x")), RetentionPolicy(last=1))
        for name, folder in (("nas", "repository"), ("new", "new"))
    )
    vault = Vault(DataDirectory(place / "data"), [old, new], state_dir=place / "state")
    vault.initialize()
    vault.snapshot(to="new")  # its series begins there, and that says nothing of the other's
    report = vault.snapshot()
    assert report.manifest
    assert verified in {each.snapshot for each in report.manifest.ledger}


def test_a_series_that_begins_has_nothing_to_be_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small_instance(tmp_path / "data")
    vault = a_vault(tmp_path)
    vault.initialize()
    vault.snapshot()
    asked: list[str] = []
    fetch = DirectoryEngine.fetch

    def counted(*given: Any, **more: Any) -> Any:
        asked.append("")
        return fetch(*given, **more)

    monkeypatch.setattr(DirectoryEngine, "fetch", counted)
    vault.snapshot()
    assert not asked


def faulty(folder: Path, state: str, error: VaultError) -> Vault:
    """A machine that knows of no ledger, with an engine that fails to fetch."""

    def fault(operation: str, _moment: str) -> None:
        if operation == "fetch":
            raise error

    repository = Repository("nas", FaultyEngine(DirectoryEngine(folder / "repository", Secret("x")), fault))
    return Vault(DataDirectory(folder / "data"), [repository], state_dir=folder / state)


def test_a_ledger_that_cannot_be_had_now_does_not_cost_the_snapshot(place: Path, verified: str) -> None:
    """It is learned by the next one."""
    vault = faulty(place, "elsewhere", RepositoryUnreachableError("away"))
    assert vault.snapshot().outcome is Outcome.COMPLETE
    report = a_vault(place, "elsewhere").snapshot()
    assert report.manifest
    assert [each.snapshot for each in report.manifest.ledger] == [verified]


def test_a_verification_in_between_does_not_pass_for_the_whole_ledger(place: Path, verified: str) -> None:
    """The run after the state was lost could learn nothing, and what is noted next is noted here."""
    faulty(place, "elsewhere", RepositoryUnreachableError("away")).snapshot()
    vault = a_vault(place, "elsewhere")
    newest = vault.snapshots()[0].id
    assert vault.verify(newest).ok
    report = vault.snapshot()
    assert report.manifest
    assert [each.snapshot for each in report.manifest.ledger] == [verified, newest]


def test_a_prune_looks_behind_what_was_verified_in_between(place: Path, verified: str) -> None:
    faulty(place, "elsewhere", RepositoryUnreachableError("away")).snapshot()
    vault = a_vault(place, "elsewhere")
    assert vault.verify().ok
    faulty(place, "elsewhere", RepositoryUnreachableError("away")).snapshot()
    kept(vault)
    assert verified in {each.id for each in vault.snapshots() if each.verified_at}


def test_learning_it_can_be_cancelled(place: Path, verified: str) -> None:
    before = a_vault(place).snapshots()
    with pytest.raises(CancelledError):
        faulty(place, "elsewhere", CancelledError("ended on request")).snapshot()
    assert a_vault(place).snapshots() == before
    assert verified in {each.id for each in before}
