from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault.errors import NoSpaceError
from owui_vault.system.files import demand_space, is_within, private_directory, read_json, write_durably


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
    demand_space(tmp_path / "not" / "there", 1, "a test")
    with pytest.raises(NoSpaceError, match="MB are free"):
        demand_space(tmp_path / "not" / "there", 1 << 60, "a test")


def test_links_do_not_hide_where_a_path_lies(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert is_within(tmp_path / "link" / "x", tmp_path / "data")
    assert not is_within(tmp_path / "database", tmp_path / "data")
