"""The application owns its data directory. Whatever it plants there while we work must not get our rights."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from owui_vault import Outcome, VaultError
from tests.operations.deaths import at_rename, dies, nobody_works_on
from tests.operations.planted import WORK, PlantedHouse, ends_well, give_away, plant

pytestmark = pytest.mark.root
Deed = Callable[[], object]


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory on another file system than the data."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def house(tmp_path: Path, state: Path) -> Iterator[PlantedHouse]:
    for folder in (tmp_path, *tmp_path.parents):  # the application's user must get through
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    house = PlantedHouse(tmp_path, state)
    yield house
    house.victim.close()


def prepared(house: PlantedHouse, deed: str) -> Deed:
    """Bring about what a deed needs; the deed."""
    vault = house.vault_at(house.data_dir)
    give_away(house.data_dir)
    if deed == "snapshot":
        return vault.snapshot
    if deed == "recover":
        plan = vault.plan_replacement("latest")
        assert dies(lambda: vault.replace(plan), at_rename(2))
        nobody_works_on(house.data_dir)
        return vault.recover
    plan = vault.plan_replacement("latest")
    if deed == "replace":
        return lambda: vault.replace(plan)
    vault.replace(plan)
    deeds: dict[str, Deed] = {"undo": vault.undo, "discard": vault.discard}
    return deeds[deed]


DEEDS = ("snapshot", "replace", "undo", "discard", "recover")


def unplanted(house: PlantedHouse) -> None:
    """What was renamed comes back, and whatever was cut short is brought to an end."""
    work = house.data_dir / WORK
    for hidden in house.data_dir.glob(".hidden-*"):
        if work.is_symlink():
            work.unlink()
        if work.exists() or not any(hidden.iterdir()):
            shutil.rmtree(hidden)
        else:
            hidden.rename(work)
    vault = house.vault_at(house.data_dir)
    vault.recover()
    vault.discard()
    assert not work.exists()


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS)
def test_a_link_planted_at_any_step_leads_nothing_astray(
    house: PlantedHouse, soak: Callable[[int], int], seed: random.Random, deed: str
) -> None:
    well, total = ends_well(prepared(house, deed), -1, lambda: None, house.data_dir)
    assert well
    assert total > 20
    for _ in range(soak(30)):
        unplanted(house)
        number = seed.randrange(1, total)
        well, _steps = ends_well(
            prepared(house, deed), number, lambda: plant(house.data_dir, house.victim.folder), house.data_dir
        )
        assert house.victim.changes() == {}, number
        assert well, number
    unplanted(house)
    assert house.vault_at(house.data_dir).snapshot().outcome is Outcome.COMPLETE


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS)
def test_what_was_planted_before_is_removed_or_refused(house: PlantedHouse, deed: str) -> None:
    """In a folder that the application made before we did, or kept from a run as its own user."""
    does = prepared(house, deed)
    work = house.data_dir / WORK
    work.mkdir(exist_ok=True)
    for name in ("incoming", "stage", "capture", "aside-20260101T000000Z-12345678", "swap.json.new"):
        if not (work / name).exists():
            (work / name).symlink_to(house.victim.folder / name)
    os.chown(work, 1000, 1000)
    work.chmod(0o777)
    does()
    assert house.victim.changes() == {}
    unplanted_links = [path.name for path in work.iterdir()] if work.exists() else []
    assert not {"incoming", "stage", "capture"} & set(unplanted_links)
    assert house.vault_at(house.data_dir).snapshot().outcome is Outcome.COMPLETE
    assert house.victim.changes() == {}


PLANTER = """
import os, sys, time
data, victim = sys.argv[1:]
os.setgid(1000); os.setuid(1000)
work = f"{data}/.owui-vault"
number = 0
print("ready", flush=True)
while True:
    if os.path.isdir(work) and not os.path.islink(work):
        number += 1
        try:
            os.rename(work, f"{data}/.hidden-{number}")
            os.symlink(victim, work)
            time.sleep(0.002 * (number % 7))
            os.unlink(work)
            os.rename(f"{data}/.hidden-{number}", work)
        except OSError:
            pass
    time.sleep(0.001)
"""


@contextmanager
def planter(house: PlantedHouse) -> Iterator[None]:
    """Another process, of the application's user, that plants a link and takes it away as fast as it can."""
    command = [sys.executable, "-c", PLANTER, str(house.data_dir), str(house.victim.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield
        finally:
            process.kill()


def failure_of(deed: Deed) -> VaultError | None:
    try:
        deed()
    except VaultError as error:
        return error
    return None


@pytest.mark.slow
def test_somebody_who_plants_all_the_time_gets_nothing(house: PlantedHouse, soak: Callable[[int], int]) -> None:
    vault = house.vault_at(house.data_dir)
    for _ in range(soak(10)):
        with planter(house):
            for deed in (
                vault.snapshot,
                lambda: vault.replace(vault.plan_replacement("latest")),
                vault.undo,
                vault.discard,
                vault.recover,
            ):
                error = failure_of(deed)
                assert error is None or error.hint, error
                assert house.victim.changes() == {}
        give_away(house.data_dir)
        unplanted(house)
    assert vault.snapshot().outcome is Outcome.COMPLETE
