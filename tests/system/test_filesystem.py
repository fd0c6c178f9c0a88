"""Copies and removals that other programs on the same disk hardly notice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from owui_vault.system import removal
from owui_vault.system.filesystem import copy_beside_others, start_writing
from owui_vault.system.removal import remove_tree

MB = 1 << 20
OPENS = (
    "import sys; file = open(sys.argv[1], 'rb'); print('ready', flush=True); sys.stdin.read(); print(len(file.read()))"
)


@pytest.mark.parametrize("size", [0, 1, MB - 1, MB, 3 * MB + 5])
@pytest.mark.parametrize("asked", [0, 2 * MB, 100 * MB])
def test_what_there_is_is_copied_up_to_what_was_asked_for(tmp_path: Path, size: int, asked: int) -> None:
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    told: list[int] = []
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        assert copy_beside_others(source.fileno(), target.fileno(), asked, told.append) == min(size, asked)
        start_writing(target.fileno())
    assert (tmp_path / "target").read_bytes() == content[:asked]
    assert told == sorted(told)
    assert told[-1:] == ([min(size, asked)] if size and asked else [])


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that files are cut to, with small bits."""
    found: list[int] = []
    cut = os.ftruncate

    def noted(descriptor: int, size: int) -> None:
        found.append(size)
        cut(descriptor, size)

    monkeypatch.setattr(removal, "_SHRINK_BYTES", 1000)
    monkeypatch.setattr(os, "ftruncate", noted)
    return found


def test_a_large_file_is_removed_bit_by_bit(tmp_path: Path, cuts: list[int]) -> None:
    (tmp_path / "large").write_bytes(bytes(3500))
    (tmp_path / "small").write_bytes(bytes(1000))
    (tmp_path / "link").symlink_to("large")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "small")
    assert (cuts, [each.name for each in tmp_path.iterdir()]) == ([], ["large"])
    remove_tree(tmp_path / "large")
    assert (cuts, list(tmp_path.iterdir())) == ([2500, 1500, 500], [])


def test_large_files_in_a_tree_are_removed_bit_by_bit(tmp_path: Path, cuts: list[int]) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "large").write_bytes(bytes(2500))
    (tmp_path / "precious").write_bytes(bytes(9000))
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "precious")
    remove_tree(tmp_path / "tree")
    assert (cuts, [each.name for each in tmp_path.iterdir()]) == ([1500, 500], ["precious"])
    assert (tmp_path / "precious").stat().st_size == 9000


def test_another_name_of_a_large_file_keeps_all_of_it(tmp_path: Path, cuts: list[int]) -> None:
    """The stage links to uploads."""
    (tmp_path / "upload").write_bytes(bytes(9000))
    (tmp_path / "link").hardlink_to(tmp_path / "upload")
    remove_tree(tmp_path / "link")
    assert (cuts, (tmp_path / "upload").stat().st_size) == ([], 9000)


def test_a_large_file_that_somebody_reads_stays_whole_for_them(tmp_path: Path, cuts: list[int]) -> None:
    """An upload that the application deleted while it was sending it: the last name is ours then."""
    (tmp_path / "large").write_bytes(bytes(9000))
    command = [sys.executable, "-c", OPENS, str(tmp_path / "large")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        remove_tree(tmp_path / "large")
        assert not (tmp_path / "large").exists()
        assert reader.communicate()[0] == "9000\n"
    assert cuts == []


def test_asking_who_has_a_file_open_is_the_end_of_nobody(tmp_path: Path) -> None:
    """The kernel tells whoever holds a lease with a signal that ends a process, unless another one is chosen."""
    (tmp_path / "large").write_bytes(b"x")
    with (tmp_path / "large").open("r+b") as file:
        assert removal._nobody_else_has_open(file.fileno())
        assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL  # which is to ignore it
        subprocess.run(["cat", tmp_path / "large"], check=True, capture_output=True, timeout=10)
        with (tmp_path / "large").open("rb"):
            assert not removal._nobody_else_has_open(file.fileno())
