"""Whoever may write to the data directory must not make a restore in place, run by root, touch anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from owui_vault import RestoreError, ResumeError, RollbackError
from tests.operations.house import House, Houses

ABSURD = {"format": 1, "new": "incoming/data", "parts": [], "old": ["x"], "key": "", "back": False}


@pytest.fixture
def house(houses: Houses) -> House:
    return houses.one()


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    for name in ("aside-20260101T000000Z-12345678/parts/file", "incoming/data/file", "functions/file"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("dear")
    (folder / "passwd").write_text("root")
    return folder


def test_a_link_in_place_of_our_folder_is_not_followed(house: House, victim: Path) -> None:
    (victim / "swap.json").write_text(json.dumps({**ABSURD, "aside": "aside-20260101T000000Z-12345678/parts"}))
    before = tree(victim)
    plan = house.vault.plan_replacement("latest")
    (house.data_dir / ".owui-vault").symlink_to(victim)
    house.vault.recover()
    house.vault.snapshot()
    for deed in (house.vault.discard, house.vault.undo):
        with pytest.raises(RestoreError, match="is a link"):
            deed()
    with pytest.raises(RestoreError, match="is a link"):
        house.vault.plan_replacement("latest")
    with pytest.raises(RestoreError, match="is a link"):
        house.vault.replace(plan)
    assert tree(victim) == before
    assert house.runs()


def forged(house: House, **fields: object) -> Path:
    work = house.data_dir / ".owui-vault"
    (work / "incoming/data").mkdir(parents=True)
    (work / "aside-x").mkdir()
    record = work / "swap.json"
    record.write_text(json.dumps({**ABSURD, "aside": "aside-x/parts", **fields}))
    return work


@pytest.mark.root
@pytest.mark.parametrize("theirs", ["record", "folder"])
def test_a_forged_record_changes_no_file_elsewhere(house: House, victim: Path, theirs: str) -> None:
    work = forged(house, key=str(victim / "passwd"))
    (work / "incoming/webui_secret_key").write_text("root")
    (work / "aside-x/webui_secret_key").write_text("me")
    work.chmod(0o700)
    (work / "swap.json").chmod(0o600)
    os.chown(work / "swap.json" if theirs == "record" else work, 1234, 1234)
    house.vault.recover()
    assert (victim / "passwd").read_text() == "root"


def test_a_record_that_is_a_link_is_not_read(house: House, victim: Path) -> None:
    work = forged(house)
    (work / "swap.json").rename(victim / "swap.json")
    (work / "swap.json").symlink_to(victim / "swap.json")
    with pytest.raises(RollbackError, match="cannot be read"):
        house.vault.recover()


def test_a_folder_that_became_a_link_is_not_emptied(house: House, victim: Path) -> None:
    (house.data_dir / "cache").symlink_to(victim)
    before = tree(victim)
    with pytest.raises(RestoreError, match="outside the data directory"):
        house.vault.plan_replacement("latest")
    forged(house, parts=["cache/functions"], old=[], back=True)
    with pytest.raises(ResumeError, match="link"):
        house.vault.recover()
    assert tree(victim) == before


def test_a_complete_exchange_with_a_folder_that_is_not_ours_is_not_finished(house: House) -> None:
    """It would be moved into a folder that nobody finds again, neither `undo` nor `discard`."""
    work = forged(house, old=[])
    before = tree(work)
    with pytest.raises(RollbackError, match="aside-x") as caught:
        house.vault.recover()
    assert "by hand" in caught.value.hint
    assert tree(work) == before
    assert house.state() == house.later
