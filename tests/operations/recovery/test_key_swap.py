from __future__ import annotations

import os
from pathlib import Path

import pytest
from owui_vault.operations.recovery.key_swap import KEY_NAME, swap_key, undo_key
from owui_vault.system.work_folder import WorkFolder


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key file of today, and the one that comes."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / KEY_NAME).write_bytes(b"then\xff")
    (tmp_path / "file").write_bytes(b"now")
    (tmp_path / "file").chmod(0o640)
    return str(tmp_path / "file")


def sides(tmp_path: Path) -> tuple[WorkFolder, str, str]:
    return WorkFolder.at(tmp_path), "new", "aside"


def test_there_and_back_again_each_as_often_as_a_crash_asks_for_it(key: str, tmp_path: Path) -> None:
    for _ in range(2):
        swap_key(key, *sides(tmp_path))
        assert Path(key).read_bytes() == b"then\xff"
        assert (tmp_path / "aside" / KEY_NAME).read_bytes() == b"now"
    for _ in range(2):
        undo_key(key, *sides(tmp_path))
        assert Path(key).read_bytes() == b"now"
        assert not (tmp_path / "aside" / KEY_NAME).exists()
    assert Path(key).stat().st_mode & 0o777 == 0o640


def test_a_crash_before_the_file_was_changed_loses_nothing(key: str, tmp_path: Path) -> None:
    swap_key(key, *sides(tmp_path))
    Path(key).write_bytes(b"now")
    undo_key(key, *sides(tmp_path))
    assert Path(key).read_bytes() == b"now"
    assert not (tmp_path / "aside" / KEY_NAME).exists()


def test_what_somebody_else_wrote_since_stays_and_so_does_what_was_kept(key: str, tmp_path: Path) -> None:
    swap_key(key, *sides(tmp_path))
    Path(key).write_bytes(b"of somebody else")
    undo_key(key, *sides(tmp_path))
    assert Path(key).read_bytes() == b"of somebody else"
    assert (tmp_path / "aside" / KEY_NAME).read_bytes() == b"now"
    Path(key).unlink()
    undo_key(key, *sides(tmp_path))
    assert not Path(key).exists()


def test_a_link_stays_one(key: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key)
    swap_key(str(link), *sides(tmp_path))
    assert link.is_symlink()
    assert Path(key).read_bytes() == b"then\xff"


def test_without_a_file_nothing_is_done(tmp_path: Path) -> None:
    swap_key("", *sides(tmp_path))
    undo_key("", *sides(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_somebody_who_is_not_root_gives_no_file_away(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    there = sides(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fchown", refuse)
    swap_key(key, *there)
    assert Path(key).read_bytes() == b"then\xff"
    assert Path(key).stat().st_mode & 0o777 == 0o640
