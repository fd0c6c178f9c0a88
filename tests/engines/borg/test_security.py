"""What borg remembers of a repository goes by the repository for what writes, and by its place for what reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from owui_vault import BorgEngine, Call, RepositoryRolledBackError, Secret
from owui_vault.engines.borg.security import forget_what_was_written, hear_of_writing, writers_memory
from owui_vault.testing.engines.bench import make_label

ID = "ab" * 32


def memory(folder: Path, *, counter: str = "", written: str = "", location: str = "/mnt/nas") -> Path:
    (folder / ID).mkdir(parents=True)
    for name, text in (("nonce", counter), ("manifest-timestamp", written), ("location", location), ("key-type", "5")):
        if text:
            (folder / ID / name).write_text(text)
    return folder


def known(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in (folder / ID).iterdir()}


def test_what_an_earlier_version_remembered_of_each_place_is_joined(tmp_path: Path) -> None:
    """The same repository under two names: whatever came further counts, and stays when it is looked at again."""
    nas = memory(tmp_path / "nas", counter="0000000000000200", written="2026-11-20T03:00:00")
    usb = memory(tmp_path / "usb", counter="0000000000000300", written="2026-11-10T03:00:00", location="/mnt/usb")
    for own in (nas, usb, nas):
        common = writers_memory(own, tmp_path / "shared")
    assert known(common) == {
        "nonce": "0000000000000300",
        "manifest-timestamp": "2026-11-20T03:00:00",
        "location": "/mnt/nas",
        "key-type": "5",
    }
    assert "nonce" not in known(nas)
    assert known(usb)["manifest-timestamp"] == "2026-11-10T03:00:00"
    assert (common / ID).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("counter", ["", "not a number", "ff"])
def test_a_counter_that_is_none_changes_nothing(tmp_path: Path, counter: str) -> None:
    own = memory(tmp_path / "own", counter=counter or "\n", written="x")
    common = writers_memory(own, tmp_path / "shared")
    assert "nonce" not in known(common)


def test_where_nothing_is_known_nothing_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "something else").mkdir()
    assert list(writers_memory(tmp_path / "own", tmp_path / "shared").iterdir()) == []
    assert list(writers_memory(tmp_path / "none", tmp_path / "shared").iterdir()) == []


def test_readers_hear_of_what_was_written_and_all_of_it_can_be_forgotten(tmp_path: Path) -> None:
    own = memory(tmp_path / "own", written="2026-11-10T03:00:00")
    common = memory(tmp_path / "shared" / "borg-security", counter="1" * 16, written="2026-11-20T03:00:00")
    assert writers_memory(own, tmp_path / "shared") == common
    assert known(own)["manifest-timestamp"] == "2026-11-10T03:00:00"
    hear_of_writing(own, common)
    assert known(own)["manifest-timestamp"] == "2026-11-20T03:00:00"
    forget_what_was_written(own, common)
    assert "manifest-timestamp" not in known(own) | known(common)
    assert known(common)["nonce"] == "1" * 16


class Place:
    """One state directory and engines at several locations."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self.program = folder, str(program)
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.number = 0

    def call(self, name: str) -> Call:
        for folder in ("shared", name):
            (self.folder / "state" / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        return Call(folder=self.folder / "state" / name, shared=self.folder / "state" / "shared")

    def engine(self, name: str) -> BorgEngine:
        return BorgEngine(str(self.folder / name), Secret("x"), program=self.program)

    def store(self, name: str) -> None:
        self.number += 1
        (self.tree / "file").write_text(f"number {self.number}" * 1000)
        self.engine(name).store(self.tree, make_label(self.number), self.call(name))

    def counter(self) -> int:
        (found,) = (self.folder / "state" / "shared").glob("borg-security/*/nonce")
        return int(found.read_text(), 16)


@pytest.mark.slow
@pytest.mark.thorough
def test_borg_itself_refuses_to_write_to_the_copy_that_is_behind(tmp_path: Path, borg_program: Path) -> None:
    """With a memory for each name both went on from one counter. Its data are still read."""
    place = Place(tmp_path, borg_program)
    place.engine("nas").initialize(place.call("nas"))
    place.store("nas")
    shutil.copytree(tmp_path / "nas", tmp_path / "usb")
    place.store("nas")
    with pytest.raises(RepositoryRolledBackError):
        place.store("usb")
    (listed,) = place.engine("usb").snapshots(place.call("usb"))
    (tmp_path / "back").mkdir()
    place.engine("usb").fetch(listed.engine_id, tmp_path / "back", place.call("usb"))
    assert "number 1" in (tmp_path / "back" / "file").read_text()
    place.store("nas")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_repository_that_moved_is_stored_to(tmp_path: Path, borg_program: Path) -> None:
    place = Place(tmp_path, borg_program)
    place.engine("nas").initialize(place.call("nas"))
    place.store("nas")
    before = place.counter()
    (tmp_path / "nas").rename(tmp_path / "moved")
    place.store("moved")
    assert place.counter() >= before
    assert len(place.engine("moved").snapshots(place.call("moved"))) == 2


@pytest.mark.slow
@pytest.mark.thorough
def test_an_older_state_that_is_accepted_never_gets_the_same_key_stream_twice(
    tmp_path: Path, borg_program: Path
) -> None:
    place = Place(tmp_path, borg_program)
    engine, call = place.engine("nas"), place.call("nas")
    engine.initialize(call)
    place.store("nas")
    shutil.copytree(tmp_path / "nas", tmp_path / "older")
    place.store("nas")
    before = place.counter()
    shutil.rmtree(tmp_path / "nas")
    (tmp_path / "older").rename(tmp_path / "nas")
    with pytest.raises(RepositoryRolledBackError) as caught:
        engine.snapshots(call)
    assert "init --again" in caught.value.hint
    assert any("older than" in problem for problem in engine.verify(call))
    engine.forget(call)
    assert len(engine.snapshots(call)) == 1
    place.store("nas")
    assert place.counter() >= before
    assert engine.verify(call) == ()
