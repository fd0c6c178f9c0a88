"""Both engines work in a folder that the application renames while they do: nothing of theirs goes elsewhere."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owui_vault import BorgEngine, Engine, Outcome, Progress, ResticEngine, RestoreError, Secret, Step
from tests.borg_templates import WITHOUT_SELFTEST
from tests.operations.planted import WORK, PlantedHouse, plant

pytestmark = [pytest.mark.root, pytest.mark.slow]
ENGINES: dict[str, Callable[[str], Engine]] = {
    "restic": lambda place: ResticEngine(place, Secret("x" * 12)),
    "borg": lambda place: BorgEngine(place, Secret("x" * 12), environment=WITHOUT_SELFTEST),
}


@pytest.fixture(params=ENGINES)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PlantedHouse]:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    state = Path(tempfile.mkdtemp(dir="/dev/shm"))
    house = PlantedHouse(tmp_path, state, ENGINES[request.param](str(tmp_path / "repository")))
    yield house
    house.victim.close()
    shutil.rmtree(state)


@pytest.mark.thorough
def test_an_engine_stores_and_fetches_where_it_was_sent(house: PlantedHouse) -> None:
    planted: list[Step] = []

    def planting(step: Step) -> Callable[[Progress], None]:
        def hear(progress: Progress) -> None:
            if progress.step is step and step not in planted:
                planted.append(step)
                plant(house.data_dir, house.victim.folder)

        return hear

    def come_back() -> None:
        if (house.data_dir / WORK).is_symlink():
            (house.data_dir / WORK).unlink()
        for hidden in house.data_dir.glob(".hidden-*"):
            hidden.rename(house.data_dir / WORK) if any(hidden.iterdir()) else hidden.rmdir()

    vault = house.vault_at(house.data_dir)
    report = vault.snapshot(progress=planting(Step.STORE))
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert house.victim.changes() == {}
    come_back()
    now = house.state()
    plan = vault.plan_replacement("latest")
    # Our folder has the name of a part of the data by then, and cannot be moved into itself.
    with pytest.raises(RestoreError, match="everything is as it was before"):
        vault.replace(plan, progress=planting(Step.FETCH))
    assert house.victim.changes() == {}
    assert planted == [Step.STORE, Step.FETCH]
    assert house.state() == now
    come_back()
    vault.replace(vault.plan_replacement("latest"))
    assert house.state() == now
    assert len(vault.discard().discarded) == 1
    assert vault.verify(read_data=1).problems == ()
