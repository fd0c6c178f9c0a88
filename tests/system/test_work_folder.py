"""Folders that are held by a descriptor: no name leads out of them, and nothing is replaced by a move."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from owui_vault.system import work_folder
from owui_vault.system.work_folder import Folder, NotOursError, WorkFolder


@pytest.fixture
def work(tmp_path: Path) -> Iterator[WorkFolder]:
    with WorkFolder.at(tmp_path / "work", make=True) as folder:
        yield folder


@pytest.fixture
def elsewhere(tmp_path: Path, work: WorkFolder) -> Path:
    """What links in the folder lead to."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "file").write_text("dear")
    (work.shown / "link").symlink_to(folder)
    (work.shown / "file").symlink_to(folder / "file")
    return folder


def test_no_name_leads_through_a_link(work: WorkFolder, elsewhere: Path) -> None:
    for deed in (
        lambda: work.read("link/file"),
        lambda: work.write("link/file", b"x"),
        lambda: work.make_folder("link/below"),
        lambda: work.place("link/file"),
        lambda: work.stat("link/file"),
        lambda: work.sync("link"),
        lambda: work.read("file"),
        lambda: os.close(work.open("file")),
    ):
        with pytest.raises(OSError):  # noqa: PT011  ELOOP or ENOTDIR, as the kernel likes
            deed()
    assert work.names("link") == []
    assert not work.has("link/file")
    assert not work.has_folder("link")
    assert not work.has_file("file")
    assert dict(work.walk("link")) == {}
    work.remove("link/file")
    work.remove_emptied("link")
    work.write("file", b"replaced")  # the link itself, not what it leads to
    assert work.read("file") == b"replaced"
    work.remove("link")
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_text() == "dear"


def test_whatever_takes_its_place_nobody_is_led_astray(work: WorkFolder, tmp_path: Path, elsewhere: Path) -> None:
    path = work.path
    work.shown.rename(tmp_path / "hidden")
    work.shown.symlink_to(elsewhere)
    (path / "by path").write_text("ours")
    work.write("by name", b"ours")
    assert work.read("by path") == b"ours"
    assert [each.name for each in elsewhere.iterdir()] == ["file"]
    with WorkFolder.at(path) as again:
        assert again.read("by name") == b"ours"
    with pytest.raises(NotOursError, match="is a link"):
        WorkFolder.at(work.shown, make=True)


def test_what_is_no_folder_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotOursError, match="is not a directory"):
        WorkFolder.at(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        WorkFolder.at(tmp_path / "missing")


@pytest.mark.root
def test_one_of_another_user_is_taken_over_and_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o777)
    os.chown(tmp_path / "work", 1000, 1000)
    with WorkFolder.at(tmp_path / "work") as work:
        assert not work.was_ours
    status = (tmp_path / "work").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o700)
    with WorkFolder.at(tmp_path / "work") as work:
        assert work.was_ours


class _WithoutTheFlag:
    """A kernel or file system that does not know RENAME_NOREPLACE."""

    @staticmethod
    def renameat2(*_: object) -> int:
        ctypes.set_errno(22)
        return -1


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("there", ["an empty folder", "a file", "a link", ""])
def test_a_move_replaces_nothing(
    work: WorkFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, *, known: bool
) -> None:
    if not known:
        monkeypatch.setattr(work_folder, "_libc", _WithoutTheFlag)
    work.make_folder("moved")
    target = tmp_path / "target"
    target.mkdir()
    place = target / "here"
    if there == "an empty folder":
        place.mkdir()
    elif there == "a file":
        place.write_text("dear")
    elif there == "a link":
        place.symlink_to("nowhere")
    with Folder(os.open(target, os.O_RDONLY), target) as other:
        if not there:
            work.move("moved", other, "here")
            assert place.is_dir()
            return
        before = place.lstat()
        with pytest.raises(FileExistsError):
            work.move("moved", other, "here")
        assert place.lstat() == before
        assert work.has_folder("moved")


def test_a_write_that_was_cut_short_leaves_the_old_bytes(work: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    work.write("record", b"old")

    def fails(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="No space"):
            work.write("record", b"new")
    assert work.read("record") == b"old"
    assert work.names() == ["record"]
    (work.shown / ".record.abc.new").touch()
    work.remove_unfinished("record")
    assert work.names() == ["record"]


@pytest.mark.parametrize("name", ["..", "../beside", "inner/../../beside", "inner/.."])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "held" / "inner").mkdir(parents=True)
    (tmp_path / "beside").write_text("not ours")
    with Folder.hold(tmp_path / "held") as folder:
        for look in (folder.open, folder.stat, folder.names, folder.remove):
            with pytest.raises(NotOursError):
                look(name)
    assert (tmp_path / "beside").read_text() == "not ours"
