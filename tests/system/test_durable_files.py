from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from owui_vault.errors import NoSpaceError
from owui_vault.system.durable_files import private_directory, read_json, require_space, write_durably


def test_a_private_directory_is_closed_to_others(tmp_path: Path) -> None:
    made = private_directory(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o755)
    assert private_directory(made).stat().st_mode & 0o777 == 0o700


def test_a_durable_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_durably(tmp_path / "f", b"one")
    write_durably(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".f.new").symlink_to(tmp_path / "victim")
    write_durably(tmp_path / "f", b"ours")
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff"])
def test_a_file_that_is_not_ours_reads_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_text(text, encoding="latin-1")
    assert read_json(tmp_path / "f") == {}
    assert read_json(tmp_path / "missing") == {}


def test_missing_space_is_said_with_figures(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there", 1, "a test")
    with pytest.raises(NoSpaceError, match="MB are free"):
        require_space(tmp_path / "not" / "there", 1 << 60, "a test")


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    texts = [bytes([letter]) * 100_000 for letter in range(65, 81)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda text: write_durably(tmp_path / "f", text), texts * 3))
    assert (tmp_path / "f").read_bytes() in texts
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_what_a_killed_writer_left_is_removed_later(tmp_path: Path) -> None:
    old, young, foreign = tmp_path / ".f.aaaa.new", tmp_path / ".f.bbbb.new", tmp_path / ".g.aaaa.new"
    for path in (old, young, foreign):
        path.write_text("half")
    for path in (old, foreign):
        os.utime(path, (0, 0))
    write_durably(tmp_path / "f", b"ours")
    assert not old.exists()
    assert young.exists()
    assert foreign.exists()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_durably(tmp_path / "f", b"ours")
    assert [each.name for each in tmp_path.iterdir()] == ["f"]
