"""No two configured repositories are one store or copies of each other, and none goes back in time unnoticed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import (
    DataDirectory,
    Engine,
    InitializeReport,
    Outcome,
    Repository,
    RepositoryMissingError,
    RepositoryRolledBackError,
    RetentionPolicy,
    SameRepositoryError,
    Secret,
    Snapshot,
    Vault,
)
from owui_vault.ports import Call
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.operations.conftest import MakeEngine


class House:
    """An instance, and vaults with repositories wherever a test wants them."""

    def __init__(self, folder: Path, make: MakeEngine) -> None:
        self.folder = folder
        self.make = make
        make_small_instance(folder / "data")
        use_small_instance(folder / "data", "precious")

    def vault(self, *names: str, state: str = "state", keep: int = 2) -> Vault:
        """`at`: repositories of these names, each in the folder of its name."""
        engines: dict[str, Engine] = {name: self.make(self.folder / name) for name in names}
        return Vault(
            DataDirectory(self.folder / "data"),
            [Repository(name, engine, RetentionPolicy(last=keep)) for name, engine in engines.items()],
            state_dir=self.folder / state,
        )

    def stored(self, name: str, state: str = "a look") -> set[str]:
        return {each.id for each in self.vault(name, state=state).snapshots()}


@pytest.fixture
def house(tmp_path: Path, make_engine: MakeEngine) -> House:
    return House(tmp_path, make_engine)


@pytest.fixture
def plain(tmp_path: Path) -> House:
    return House(tmp_path, lambda folder: DirectoryEngine(folder, Secret("x")))


def test_one_store_under_two_names_is_refused_before_it_is_made(plain: House) -> None:
    (plain.folder / "usb").symlink_to(plain.folder / "nas")
    with pytest.raises(SameRepositoryError, match=r"'nas' and 'usb' are at the same place") as caught:
        plain.vault("nas", "usb").initialize()
    assert caught.value.exit_code == 2
    assert not (plain.folder / "nas").exists()


@pytest.mark.doubled
def test_one_store_under_two_names_is_stored_to_by_neither(house: House) -> None:
    house.vault("nas").initialize()
    first = house.vault("nas").snapshot()
    (house.folder / "usb").symlink_to(house.folder / "nas")
    vault = house.vault("nas", "usb")
    for refused in (vault.initialize, vault.snapshot, vault.plan_prune, lambda: vault.snapshot(to="nas")):
        with pytest.raises(
            SameRepositoryError, match=r"'nas' and 'usb' are (at the same place|one and the same store)"
        ):
            refused()
    assert house.stored("nas") == {first.id}
    assert house.vault("nas").snapshot().outcome is Outcome.COMPLETE


@pytest.mark.doubled
def test_a_copy_of_a_repository_is_no_second_repository(house: House) -> None:
    """`cp -a`: both go on from one counter with one key, or are pruned by what the other holds."""
    house.vault("nas").initialize()
    first = house.vault("nas").snapshot()
    shutil.copytree(house.folder / "nas", house.folder / "usb", symlinks=True)
    vault = house.vault("nas", "usb")
    for refused in (vault.initialize, vault.snapshot, vault.plan_prune):
        with pytest.raises(SameRepositoryError, match=r"'nas' and 'usb' have the same id .*copy") as caught:
            refused()
        assert "init" in caught.value.hint
    assert house.stored("nas") == {first.id}
    assert vault.restore(first.id, house.folder / "back", repository="usb").snapshot.id == first.id
    shutil.rmtree(house.folder / "usb")
    vault.initialize("usb", again=True)
    assert all(each.snapshot for each in vault.snapshot().repositories)


@pytest.mark.doubled
def test_a_copy_put_in_the_place_of_another_repository_is_seen(house: House) -> None:
    """Our ids are the same in both, and so tell nothing."""
    vault = house.vault("nas", "usb")
    vault.initialize()
    for _ in range(2):
        vault.snapshot()
    shutil.rmtree(house.folder / "usb")
    shutil.copytree(house.folder / "nas", house.folder / "usb", symlinks=True)
    before = house.stored("usb", "another look")
    with pytest.raises(SameRepositoryError, match="same id"):
        vault.initialize(again=True)
    nas, usb = vault.snapshot().repositories
    assert nas.snapshot
    assert isinstance(usb.error, RepositoryMissingError)
    assert house.stored("usb", "a third look") == before


def test_where_one_of_them_was_made_anew_nothing_is_refused_for_what_it_was(plain: House) -> None:
    plain.vault("nas").initialize()
    shutil.copytree(plain.folder / "nas", plain.folder / "usb")
    with pytest.raises(SameRepositoryError):
        plain.vault("nas", "usb").snapshot()
    shutil.rmtree(plain.folder / "nas")
    plain.vault("nas", state="elsewhere").initialize()
    vault = plain.vault("nas", "usb")
    vault.initialize("nas", again=True)
    assert all(each.snapshot for each in vault.snapshot().repositories)


def test_the_report_of_init_names_the_repositories_that_were_made(plain: House) -> None:
    plain.vault("nas").initialize()
    shutil.copytree(plain.folder / "nas", plain.folder / "usb")
    with pytest.raises(SameRepositoryError) as caught:
        plain.vault("other", "nas", "usb").initialize()
    report = caught.value.report
    assert isinstance(report, InitializeReport)
    assert [each.created for each in report.repositories] == [True, False, False]


def test_an_older_state_of_a_repository_is_told_and_not_pruned(house: House) -> None:
    house.vault("nas").initialize()
    vault = house.vault("nas", keep=1)
    for _ in range(2):
        vault.snapshot()
    shutil.copytree(house.folder / "nas", house.folder / "older", symlinks=True)
    use_small_instance(house.folder / "data", "later")
    lost = vault.snapshot()
    shutil.rmtree(house.folder / "nas")
    (house.folder / "older").rename(house.folder / "nas")
    if vault.repositories[0].engine.name == "borg":
        with pytest.raises(RepositoryRolledBackError, match="older"):
            vault.initialize()
        with pytest.raises(RepositoryRolledBackError, match="older") as caught:
            vault.snapshots()
        assert "init --again" in caught.value.hint
        vault.initialize(again=True)
    else:
        listed = vault.snapshots()
        assert any(lost.id in warning and "older state" in warning for warning in listed.warnings)
        with pytest.raises(RepositoryRolledBackError, match=lost.id) as told:
            vault.plan_prune()
        assert "snapshot" in told.value.hint
        assert len(vault.snapshots()) == 2
    taken = vault.snapshot()
    if vault.repositories[0].engine.name != "borg":
        assert any(lost.id in warning for warning in taken.warnings)
    assert vault.snapshots().warnings == ()
    (pruned,) = vault.prune(vault.plan_prune()).repositories
    assert len(pruned.removed) == 2
    assert not any("older state" in warning for warning in vault.snapshot().warnings)


@pytest.mark.doubled
def test_a_copy_that_is_behind_takes_the_place_of_a_lost_original(house: House) -> None:
    """By a changed location. It is restored from at once; borg, which would go on from an old counter, asks first."""
    house.vault("nas").initialize()
    first = house.vault("nas").snapshot()
    shutil.copytree(house.folder / "nas", house.folder / "copy", symlinks=True)
    house.vault("nas").snapshot()
    shutil.rmtree(house.folder / "nas")
    vault = house.vault("copy")
    assert vault.restore("latest", house.folder / "back").snapshot.id == first.id
    if vault.repositories[0].engine.name == "borg":
        with pytest.raises(RepositoryRolledBackError) as caught:
            vault.snapshot()
        assert "init --again" in caught.value.hint
        vault.initialize(again=True)
    assert vault.snapshot().outcome is Outcome.COMPLETE
    assert len(vault.snapshots()) == 2


def test_what_is_as_it_was_can_be_accepted_without_a_snapshot(plain: House) -> None:
    plain.vault("nas").initialize()
    vault = plain.vault("nas", keep=1)
    vault.snapshot()
    vault.snapshot()
    newest = max((plain.folder / "nas" / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    with pytest.raises(RepositoryRolledBackError):
        vault.plan_prune()
    vault.initialize(again=True)
    assert vault.plan_prune().repositories[0].removed == ()
    assert vault.snapshots().warnings == ()


def test_a_plan_made_before_an_older_state_came_back_removes_nothing(plain: House) -> None:
    plain.vault("nas").initialize()
    vault = plain.vault("nas", keep=1)
    for _ in range(3):
        vault.snapshot()
    plan = vault.plan_prune()
    newest = max((plain.folder / "nas" / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    with pytest.raises(RepositoryRolledBackError):
        vault.prune(plan)
    assert len(vault.snapshots()) == 2


def test_what_another_machine_removed_by_its_retention_is_no_older_state(plain: House) -> None:
    plain.vault("nas").initialize()
    vault = plain.vault("nas", keep=1)
    vault.snapshot()
    other = plain.vault("nas", state="of another machine", keep=1)
    other.snapshot()
    other.prune(other.plan_prune())
    assert vault.snapshots().warnings == ()
    assert vault.plan_prune().repositories[0].removed == ()


def test_what_an_earlier_version_remembered_is_understood(plain: House) -> None:
    vault = plain.vault("nas")
    vault.initialize()
    first = vault.snapshot()
    (memory,) = (plain.folder / "state" / "repositories").glob("*/memory.json")
    known = json.loads(memory.read_text())
    memory.write_text(json.dumps({**known, "last": {"open-webui": first.id}}))
    assert vault.snapshots().warnings == ()
    assert vault.snapshot().outcome is Outcome.COMPLETE
    memory.write_text(json.dumps({**known, "last": {"open-webui": {"id": 5, "sequence": []}, "x": 7}}))
    assert vault.snapshot().outcome is Outcome.COMPLETE


def test_an_engine_that_counts_its_snapshots_is_not_taken_for_a_copy(plain: House) -> None:
    """Ids of snapshots need not be unique elsewhere: only the repositories' own say that two are one."""

    class Counting(DirectoryEngine):
        def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
            return tuple(replace(each, engine_id=str(n)) for n, each in enumerate(super().snapshots(call)))

    plain.make = lambda folder: Counting(folder, Secret("x"))
    vault = plain.vault("one", "two")
    vault.initialize()
    for _ in range(2):
        assert all(each.snapshot for each in vault.snapshot().repositories)
