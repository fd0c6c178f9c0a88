"""`open-webui serve` without DATA_DIR deletes the folder `data` beside its package: nothing is restored there."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import RestoreError, TargetError
from owui_vault.instance.runtime import inspect_environment
from tests.operations.house import House, Houses


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The packages of a pip install."""
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    (site / "open_webui").mkdir(parents=True)
    (site / "open_webui-0.12.4.dist-info").mkdir()
    return site


@pytest.fixture
def house(houses: Houses) -> House:
    return houses.one()


@pytest.mark.parametrize("below", ["data", "data/sub"])
def test_a_restore_beside_the_package_is_refused(house: House, site: Path, below: str) -> None:
    with pytest.raises(TargetError, match="deletes at its next start") as caught:
        house.vault.restore("latest", site / below)
    assert "DATA_DIR" in caught.value.hint
    assert not (site / "data").exists()


def test_a_restore_through_a_link_is_refused(house: House, site: Path, tmp_path: Path) -> None:
    (site / "data").mkdir()
    (tmp_path / "door").symlink_to(site / "data")
    with pytest.raises(TargetError, match="deletes at its next start"):
        house.vault.restore("latest", tmp_path / "door" / "new")


@pytest.mark.parametrize("below", ["open_webui/data", "elsewhere"])
def test_a_restore_into_the_package_or_elsewhere_is_not(house: House, site: Path, below: str) -> None:
    assert house.vault.restore("latest", site / below).data_dir.is_dir()


def move(house: House, site: Path) -> Path:
    house.data_dir.rename(site / "data")
    house.data_dir = site / "data"
    return site / "data"


def test_a_restore_in_place_is_refused_where_the_next_start_deletes_it(house: House, site: Path) -> None:
    data_dir = move(house, site)
    vault = house.vault_at(data_dir, house.quiescer)
    with pytest.raises(RestoreError, match="deletes at its next start") as caught:
        vault.plan_replacement("latest")
    assert "--target" in caught.value.hint
    (site / ".env").write_text(f"DATA_DIR={data_dir}\n")
    assert vault.plan_replacement("latest").data_dir == data_dir


def test_a_snapshot_of_an_instance_there_is_taken_and_warns(house: House, site: Path) -> None:
    data_dir = move(house, site)
    report = house.vault_at(data_dir).snapshot()
    assert any("deletes" in each and "DATA_DIR" in each for each in report.warnings)
    (site / ".env").write_text(f"DATA_DIR={data_dir}\n")
    assert not any("deletes" in each for each in inspect_environment(data_dir).warnings)


def test_an_image_has_such_a_folder_too_and_deletes_nothing(tmp_path: Path, house: House) -> None:
    (tmp_path / "backend" / "open_webui").mkdir(parents=True)
    data_dir = move(house, tmp_path / "backend")
    assert not any("deletes" in each for each in inspect_environment(data_dir).warnings)
