"""What cannot be removed of the previous data is named, and does not keep the rest from going."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from owui_vault import CancelledError, RestoreError
from owui_vault.system.removal import LeftoverError, remove_tree
from tests.operations.house import House, Houses

pytestmark = pytest.mark.root


@pytest.fixture
def house(houses: Houses) -> House:
    return houses.one()


@pytest.fixture
def fixed(tmp_path: Path) -> Iterator[list[Path]]:
    """Files that are immutable until the test ends."""
    files: list[Path] = []
    yield files
    for each in files:
        with suppress(FileNotFoundError):
            attribute("-i", each)


def attribute(change: str, file: Path) -> None:
    done = subprocess.run(["chattr", change, file], check=False, capture_output=True)
    if done.returncode and change == "+i":
        pytest.skip("this file system knows no attributes")


def test_an_immutable_file_is_named_and_a_second_discard_finishes(house: House, fixed: list[Path]) -> None:
    report = house.vault.replace(house.vault.plan_replacement("latest"))
    file = next((report.aside.path / "parts/uploads").iterdir())
    fixed.append(file)
    attribute("+i", file)
    with pytest.raises(RestoreError, match="could not be removed completely") as caught:
        house.vault.discard()
    assert str(file) in caught.value.message
    assert "chattr -i" in caught.value.hint
    assert [path.name for path in report.aside.path.rglob("*") if path.is_file()] == [file.name]
    assert house.vault.snapshot().manifest  # nothing else is kept from working
    with pytest.raises(RestoreError, match="has no description"):
        house.vault.undo()
    attribute("-i", file)
    assert [each.path for each in house.vault.discard().discarded] == [report.aside.path]
    assert not (house.data_dir / ".owui-vault").exists()
    assert house.state() == house.earlier


def test_one_that_cannot_go_does_not_keep_another(house: House, fixed: list[Path]) -> None:
    first = house.vault.replace(house.vault.plan_replacement("latest"))
    second = house.vault.replace(house.vault.plan_replacement("latest"))
    file = second.aside.path / "parts/webui.db"
    fixed.append(file)
    attribute("+i", file)
    with pytest.raises(RestoreError):
        house.vault.discard()
    assert not first.aside.path.exists()
    assert file.exists()


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    """Whoever made it may want us to run out of descriptors, or of stack."""
    here = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("tree", dir_fd=here)
    folder = os.open("tree", os.O_RDONLY, dir_fd=here)
    for number in range(3000):
        os.mkdir("deeper", dir_fd=folder)
        below = os.open("deeper", os.O_RDONLY, dir_fd=folder)
        if number % 500 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(folder)
        folder = below
    os.close(folder)
    os.close(here)
    remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_named_and_all_else_is_gone(tmp_path: Path, fixed: list[Path]) -> None:
    for name in ("a/b/keep", "a/c/go", "go"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    kept = tmp_path / "tree/a/b/keep"
    fixed.append(kept)
    attribute("+i", kept)
    with pytest.raises(LeftoverError) as caught:
        remove_tree(tmp_path / "tree")
    assert caught.value.left == (str(kept),)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


@pytest.mark.parametrize("deed", ["replace", "undo"])
def test_a_restore_in_place_can_be_cancelled_before_anything_is_stopped(house: House, deed: str) -> None:
    vault = house.vault
    plan = vault.plan_replacement("latest")
    if deed == "undo":
        vault.replace(plan)
    before = house.state()
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        _ = vault.replace(plan, cancel=cancel) if deed == "replace" else vault.undo(cancel=cancel)
    assert house.state() == before
    assert house.runs()
