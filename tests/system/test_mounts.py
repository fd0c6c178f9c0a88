"""Where a path really lies, however many mounts lead to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest
from owui_vault.system.mounts import Mount, is_within, lies_within, parse_mounts, read_mounts


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "nas" / "repository" / "data").mkdir(parents=True)
    return tmp_path / "data"


def test_without_mounts_paths_and_links_decide(data: Path) -> None:
    mounts = read_mounts()
    (data.parent / "link").symlink_to(data)
    for inside in (data, data / "not/there/yet", data.parent / "link" / "repository", data / "sub/../x"):
        assert lies_within(inside, data, mounts)
    for outside in (data.parent, data.parent / "data2", data.parent / "nas", Path("/")):
        assert not lies_within(outside, data, mounts)


@pytest.mark.root
@pytest.mark.parametrize("bind", ["nas", "nas/repository", "nas/repository/data"])
def test_what_is_mounted_below_the_folder_is_met_in_it(data: Path, bind: str) -> None:
    nas = data.parent / "nas"
    with bound(data.parent / bind, data / "backups"):
        assert lies_within(nas / "repository", data, read_mounts())
        assert lies_within(nas / "not there yet", data, read_mounts()) == (bind == "nas")
        assert not lies_within(data.parent / "elsewhere", data, read_mounts())
    assert not lies_within(nas / "repository", data, read_mounts())


@pytest.mark.root
def test_the_folder_or_a_part_of_it_mounted_elsewhere_is_still_the_folder(data: Path) -> None:
    for part in (data, data / "sub", data.parent):
        with bound(part, data.parent.parent / f"{data.parent.name}-elsewhere"):
            seen = data.parent.parent / f"{data.parent.name}-elsewhere"
            inside = seen / "data" if part == data.parent else seen
            assert lies_within(inside / "repository", data, read_mounts())


@pytest.mark.root
def test_a_disk_of_its_own_below_the_folder_is_told_from_others(data: Path) -> None:
    disk = data / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
    try:
        assert lies_within(disk / "repository", data, read_mounts())
        assert not lies_within(data.parent / "repository", data, read_mounts())
        other = data.parent / "seen"
        with bound(disk, other):
            assert lies_within(other / "repository", data, read_mounts())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_names_with_blanks_and_mounts_over_mounts() -> None:
    table = (
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 8:2 /a\\040b /srv/my\\040data rw - ext4 /dev/sdb rw\n"
        "31 22 8:3 / /mnt rw - ext4 /dev/sdc rw\n"
        "32 22 8:2 / /mnt rw - ext4 /dev/sdb rw\n"
    )
    mounts = parse_mounts(table)
    assert mounts[1] == Mount("8:2", PurePosixPath("/a b"), Path("/srv/my data"))
    assert lies_within(Path("/mnt/a b/repository"), Path("/srv/my data"), mounts)  # the later of the two at /mnt
    assert not lies_within(Path("/mnt/a/repository"), Path("/srv/my data"), mounts)
    assert not lies_within(Path("/mnt/a b/repository"), Path("/srv/my data"), mounts[:3])
    assert not lies_within(Path("/nowhere/x"), Path("/nowhere/y"), ())


def test_links_do_not_hide_where_a_path_lies(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert is_within(tmp_path / "link" / "x", tmp_path / "data")
    assert not is_within(tmp_path / "database", tmp_path / "data")
