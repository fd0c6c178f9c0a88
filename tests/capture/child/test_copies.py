"""Copies and links of single files: what they keep, and what is left of them when they fail."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owui_vault.capture.child import copies, fences
from owui_vault.capture.child.copies import copy_file, keep_attributes, link_file
from owui_vault.capture.child.errors import NoRoomError, SourceChangedError, UnreadableError
from owui_vault.capture.child.fences import Fences, Probe
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.marks import Mark, mark_of
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.system.attributes import Attributes, give, give_owner


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(b"content")
    return tmp_path / "source"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StageWriter]:
    """An empty stage for the directory `data`."""
    (tmp_path / "data").mkdir()
    job = Job(
        data_dir=str(tmp_path / "data"),
        work_dir=str(tmp_path / "work"),
        databases=(),
        write_once=(),
        exclude=(),
        include=(),
        links=(),
        reserve_bytes=0,
        wal_growth_bytes=0,
    )
    Path(job.tree).mkdir(parents=True)
    Path(job.desk).mkdir()
    probe = Probe(f"{job.desk}/probe")
    yield StageWriter(job, probe)
    probe.close()


def mark(path: Path) -> Mark:
    found = mark_of(str(path))
    assert found is not None
    return found


def failing(number: int) -> Callable[..., int]:
    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


def copy(source: Path, target: Path, wanted: Mark, *, whole: bool = True) -> None:
    descriptor = os.open(source, os.O_RDONLY)
    try:
        copy_file(descriptor, str(target), wanted, "name", whole=whole)
    finally:
        os.close(descriptor)


def test_a_copy_keeps_time_mode_and_owner_and_replaces_an_older_one(source: Path, tmp_path: Path) -> None:
    source.chmod(0o640)
    os.utime(source, ns=(1, 1_234_567_890_123_456_789))
    target = tmp_path / "target"
    target.write_text("something older, and longer")
    copy(source, target, mark(source))
    found = target.stat()
    assert target.read_bytes() == b"content"
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o640, 1_234_567_890_123_456_789)
    assert (found.st_uid, found.st_gid) == (source.stat().st_uid, source.stat().st_gid)


def test_a_file_that_became_shorter_leaves_no_copy_unless_part_of_it_will_do(source: Path, tmp_path: Path) -> None:
    wanted = mark(source)._replace(size=100)
    with pytest.raises(SourceChangedError, match="name became shorter"):
        copy(source, tmp_path / "target", wanted)
    assert not (tmp_path / "target").exists()
    copy(source, tmp_path / "target", wanted, whole=False)
    assert (tmp_path / "target").read_bytes() == b"content"


def test_shared_blocks_are_cut_to_the_marked_size(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may have grown between its mark and the moment at which its blocks were shared."""
    monkeypatch.setattr(copies, "reflink", lambda _, out: os.pwrite(out, b"content and more", 0) > 0)
    copy(source, tmp_path / "target", mark(source))
    assert (tmp_path / "target").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, NoRoomError),
        (errno.EDQUOT, NoRoomError),
        (errno.EIO, UnreadableError),
        (errno.ENOMEM, OSError),
    ],
)
def test_a_copy_that_fails_says_why_and_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    monkeypatch.setattr(copies, "copy_bytes", failing(number))
    monkeypatch.setattr(copies, "reflink", lambda *_: False)
    with pytest.raises(error):
        copy(source, tmp_path / "target", mark(source))
    assert not (tmp_path / "target").exists()


def test_attributes_are_given_and_what_could_not_be_is_told(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked who he is: EINVAL is what a user namespace says that does not know the owner."""
    asked: list[tuple[int, int]] = []

    def refuse(_: int, user: int, group: int) -> None:
        asked.append((user, group))
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fchown", refuse)
    descriptor = os.open(source, os.O_RDWR)
    wanted = mark(source)._replace(mode=0o100604, mtime_ns=5, user=7, group=8)
    assert keep_attributes(descriptor, wanted, {}) == ("owner",)
    os.close(descriptor)
    assert asked == [(7, 8), (-1, 8)]
    assert (stat.S_IMODE(source.stat().st_mode), source.stat().st_mtime_ns) == (0o604, 5)


def test_a_file_that_cannot_be_linked_is_told_from_a_full_disk(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is copied instead, the second would not have room for a copy either."""
    target = str(tmp_path / "target")
    for number in (errno.EXDEV, errno.EPERM, errno.EMLINK):
        monkeypatch.setattr(os, "link", failing(number))
        assert link_file(str(source), target, mark(source), "name") is None
    for number in (errno.ENOSPC, errno.EDQUOT):
        monkeypatch.setattr(os, "link", failing(number))
        with pytest.raises(NoRoomError, match="not enough space for a link to name"):
            link_file(str(source), target, mark(source), "name")
    monkeypatch.setattr(os, "link", failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        link_file(str(source), target, mark(source), "name")


def test_a_link_to_another_file_than_was_marked_does_not_stay(source: Path, tmp_path: Path) -> None:
    before = mark(source)
    (tmp_path / "new").write_bytes(b"replacement")
    (tmp_path / "new").rename(source)
    with pytest.raises(SourceChangedError, match="name changed"):
        link_file(str(source), str(tmp_path / "target"), before, "name")
    assert not (tmp_path / "target").exists()
    linked = link_file(str(source), str(tmp_path / "target"), mark(source), "name")
    assert linked is not None
    assert linked.inode == mark(source).inode


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, UnreadableError), (errno.ENOMEM, OSError)])
def test_a_fence_on_a_broken_disk_calls_the_file_unreadable(
    source: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """What else goes wrong is not the file's fault."""
    monkeypatch.setattr(fences, "fence", failing(number))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        Fences().wait(str(source), mark(source), "name")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_took_the_place_of_another_is_closed_again(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x")
    wanted = mark(source)
    other.rename(source)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SourceChangedError, match="replaced"):
        Fences().open(str(source), wanted, "name")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_symlink_that_became_something_else_leaves_nothing(writer: StageWriter, tmp_path: Path) -> None:
    link = tmp_path / "data" / "link"
    link.symlink_to("target")
    writer.put("link", mark(link), link=False)
    assert Path(writer.place("link")).readlink() == Path("target")
    link.unlink()
    link.symlink_to("another")
    wanted = mark(link)
    link.unlink()
    link.write_text("a file")
    with pytest.raises(SourceChangedError, match="link changed"):
        writer.put("link", wanted, link=False)
    assert os.listdir(writer.place("")) == []


def test_a_symlink_whose_owner_cannot_be_given_is_noted(
    writer: StageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "data" / "link"
    link.symlink_to("target")
    given: list[tuple[int, int]] = []

    def refuse(_: str, user: int, group: int) -> None:
        given.append((user, group))
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "lchown", refuse)
    writer.put("link", mark(link)._replace(mtime_ns=5, user=7, group=8), link=False)
    assert given == [(7, 8), (-1, 8)]
    assert writer.lost == {"link": ("owner",)}
    assert os.lstat(writer.place("link")).st_mtime_ns == 5
    writer.forget("link")
    assert writer.lost == {}


def test_a_disk_that_fails_while_an_owner_is_given_is_no_matter_of_rights(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fchown", failing(errno.EIO))
    monkeypatch.setattr(os, "lchown", failing(errno.EIO))
    with source.open("rb") as file, pytest.raises(OSError, match="Input/output error"):
        give(file.fileno(), Attributes(0o644, 7, 8))
    with pytest.raises(OSError, match="Input/output error"):
        give_owner(str(source), 7, 8)
