from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from owui_vault import RollbackError
from owui_vault.guardian.rescue_command import rescue
from owui_vault.operations.recovery import rollback
from owui_vault.operations.recovery import swap as swapping
from owui_vault.operations.recovery.swap import Swap, in_place, with_side_files

PARTS = ("cache/functions", "uploads", "webui.db", "webui.db-wal")


@dataclass(frozen=True)
class Scene:
    """An exchange, and the data directory it is of."""

    value: Swap
    data_dir: Path

    @property
    def new(self) -> Path:
        return self.data_dir / ".owui-vault" / self.value.new

    @property
    def aside(self) -> Path:
        return self.data_dir / ".owui-vault" / self.value.aside


def exchange(scene: Scene) -> None:
    with in_place(scene.data_dir) as place:
        swapping.exchange(scene.value, place)


def undo(scene: Scene) -> None:
    with in_place(scene.data_dir) as place:
        swapping.undo(scene.value, place)


def is_complete(scene: Scene) -> bool:
    with in_place(scene.data_dir) as place:
        return swapping.is_complete(scene.value, place)


def roll_back(record: Path) -> Path | None:
    with in_place(record.parents[1]) as place:
        return swapping.roll_back(place)


def write_down(scene: Scene, record: Path) -> None:
    with in_place(record.parents[1]) as place:
        swapping.write_down(scene.value, place.work)


def changed(scene: Scene, *, back: bool = False, **parts: Any) -> Scene:
    return replace(scene, value=replace(scene.value, back=back, **parts))


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Where an exchange is written down: that tells which data directory it is of."""
    return tmp_path / "data/.owui-vault/swap.json"


@pytest.fixture
def swap(tmp_path: Path) -> Scene:
    """Old: three parts, one of which the new state does not have. New: three, one of which the old has not."""
    data, new = tmp_path / "data", tmp_path / "data/.owui-vault/new/data"
    for folder, parts in ((data, ("uploads", "webui.db", "webui.db-wal")), (new, PARTS[:3])):
        for part in parts:
            path = folder / part
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.name in ("uploads", "functions"):
                path.mkdir()
                path = path / "file"
            path.write_text(f"{'new' if folder == new else 'data'} {part}")
    (data / "audit.log").write_text("stays")
    value = Swap(
        new="new/data",
        aside="aside/parts",
        parts=PARTS,
        old=frozenset({"uploads", "webui.db", "webui.db-wal"}),
    )
    return Scene(value, data)


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".owui-vault" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_there_and_back_again(swap: Scene) -> None:
    before = tree(swap.data_dir)
    exchange(swap)
    assert is_complete(swap)
    assert tree(swap.data_dir) == {
        "audit.log": "stays",
        "cache/functions/file": "new cache/functions",
        "uploads/file": "new uploads",
        "webui.db": "new webui.db",
    }
    undo(swap)
    assert tree(swap.data_dir) == before
    assert not is_complete(swap)
    exchange(swap)
    assert is_complete(swap)


def test_side_files_that_appear_meanwhile_go_with_the_new_state(swap: Scene) -> None:
    before = tree(swap.data_dir)
    exchange(swap)
    (swap.data_dir / "webui.db-wal").write_text("of the new database")
    undo(swap)
    assert tree(swap.data_dir) == before
    assert (swap.new / "webui.db-wal").read_text() == "of the new database"


KILLED_AT_STEP = """
import os, signal, sys
from pathlib import Path
from owui_vault.operations.recovery import swap as module
left = int(sys.argv[3])
move = module._move
def counted(*arguments):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return move(*arguments)
module._move = counted
with module.in_place(Path(sys.argv[1]).parents[1]) as place:
    getattr(module, sys.argv[2])(module.read_back(place.work), place)
"""


def killed(swap: Scene, path: Path, direction: str, renames: int) -> bool:
    """Run one direction in a process that is killed before its n-th rename; whether it was."""
    write_down(swap, path)
    done = subprocess.run([sys.executable, "-c", KILLED_AT_STEP, path, direction, str(renames)], check=False)
    return done.returncode == -9


@pytest.mark.parametrize("renames", range(7))
def test_a_crash_at_any_rename_can_be_undone_and_finished(swap: Scene, record: Path, renames: int) -> None:
    before = tree(swap.data_dir)
    was_killed = killed(swap, record, "exchange", renames)
    assert was_killed == (renames < 6)
    assert killed(swap, record, "undo", max(0, renames - 1)) == (renames > 0)
    undo(swap)
    assert tree(swap.data_dir) == before
    exchange(swap)
    assert is_complete(swap)
    assert tree(swap.data_dir)["webui.db"] == "new webui.db"


@pytest.mark.parametrize("renames", range(7))
def test_the_program_goes_back_unless_it_was_complete_and_then_runs_the_command(
    swap: Scene, record: Path, renames: int
) -> None:
    before = tree(swap.data_dir)
    killed(swap, record, "exchange", renames)
    program = [*rescue("rollback", str(record)), "/bin/echo", "started"]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    assert done.stdout == "started\n"
    assert (tree(swap.data_dir) == before) == (renames < 6)


def test_what_was_written_down_is_read_back(swap: Scene, record: Path) -> None:
    write_down(swap, record)
    with in_place(swap.data_dir) as place:
        assert swapping.read_back(place.work) == swap.value
    assert json.loads(record.read_bytes())["parts"] == list(PARTS)


@pytest.mark.parametrize("renames", range(1, 6))
def test_a_directory_that_has_another_path_by_then_is_led_back_all_the_same(
    swap: Scene, record: Path, tmp_path: Path, renames: int
) -> None:
    before = tree(swap.data_dir)
    killed(swap, record, "exchange", renames)
    moved = swap.data_dir.rename(tmp_path / "elsewhere")
    swap.data_dir.mkdir()
    (swap.data_dir / "webui.db").write_text("of another instance, at the old path")
    assert roll_back(moved / ".owui-vault/swap.json") is None
    assert tree(moved) == before
    assert tree(swap.data_dir) == {"webui.db": "of another instance, at the old path"}
    assert not (moved / ".owui-vault/swap.json").exists()
    assert not (moved / ".owui-vault/aside").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"format": 2}',
        '{"format": 2, "new": "new", "aside": "aside", "parts": [], "old": [], "key": "", "back": false}',
        '{"format": 1, "new": "../new", "aside": "aside", "parts": [], "old": [], "key": "", "back": false}',
        '{"format": 1, "new": "new", "aside": "/aside", "parts": [], "old": [], "key": "", "back": false}',
        '{"format": 1, "new": "new", "aside": "aside", "parts": ["../x"], "old": [], "key": "", "back": false}',
    ],
)
def test_what_makes_no_sense_is_left_alone(swap: Scene, record: Path, text: str) -> None:
    record.write_text(text)
    before = tree(swap.data_dir)
    with pytest.raises(RollbackError, match="cannot be read"):
        roll_back(record)
    program = [*rescue("rollback", str(record)), "/bin/echo", "started"]
    done = subprocess.run(program, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be read" in done.stderr
    assert tree(swap.data_dir) == before


def test_what_sqlite_puts_beside_a_new_database_does_not_stay_beside_the_old_one(swap: Scene) -> None:
    """A journal of the one would be played back into the other."""
    swap = changed(swap, parts=with_side_files(swap.value.parts))
    (swap.data_dir / "webui.db-wal").unlink()
    swap = changed(swap, old=swap.value.old - {"webui.db-wal"})
    before = tree(swap.data_dir)
    exchange(swap)
    for suffix in ("-wal", "-shm", "-journal"):
        (swap.data_dir / f"webui.db{suffix}").write_text("of the new database")
    undo(swap)
    assert tree(swap.data_dir) == before


def test_nothing_is_led_back_twice(swap: Scene, record: Path) -> None:
    """Once the record is struck the instance runs, and what it makes anew is its own."""
    exchange(swap)
    write_down(changed(swap, back=True), record)
    roll_back(record)
    (swap.data_dir / "cache/functions").mkdir(parents=True)
    before = tree(swap.data_dir)
    roll_back(record)
    assert tree(swap.data_dir) == before


def test_nothing_moves_under_somebody_who_has_it_open(swap: Scene, record: Path) -> None:
    killed(swap, record, "exchange", 5)
    before = tree(swap.data_dir)
    program = [*rescue("rollback", str(record)), "/bin/echo", "started"]
    with (swap.aside / "webui.db").open("rb") as opened, subprocess.Popen(["sleep", "60"], stdin=opened) as reader:
        done = subprocess.run(program, check=False, capture_output=True, text=True)
        reader.kill()
    assert (done.returncode, done.stdout) == (1, "")
    assert "still has the data open" in done.stderr
    assert tree(swap.data_dir) == before


def test_a_link_is_moved_and_not_followed(swap: Scene, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (swap.data_dir / "uploads" / "file").unlink()
    (swap.data_dir / "uploads").rmdir()
    (swap.data_dir / "uploads").symlink_to(outside)
    exchange(swap)
    assert (swap.aside / "uploads").readlink() == outside
    undo(swap)
    assert (swap.data_dir / "uploads").readlink() == outside


def test_somebody_who_is_not_root_makes_folders_of_the_same_mode_and_gives_none_away(
    swap: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    (swap.new / "cache").chmod(0o750)
    if os.geteuid() == 0:
        os.chown(swap.data_dir / ".owui-vault", 1000, 1000)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fchown", refuse)
    exchange(swap)
    assert is_complete(swap)
    assert (swap.data_dir / "cache").stat().st_mode & 0o777 == 0o750


def half_done(swap: Scene, record: Path, **changes: bool) -> None:
    """One that was cut short on its way, there or back."""
    exchange(swap)
    (swap.new / "uploads").mkdir()
    write_down(changed(swap, **changes), record)


def test_without_a_command_nothing_is_started(swap: Scene, record: Path) -> None:
    """As `recover` asks for it where nobody can start the instance."""
    before = tree(swap.data_dir)
    half_done(swap, record)
    assert rollback.main([str(record)]) == 0
    assert tree(swap.data_dir) == before
    assert not record.exists()


def test_a_rescue_of_others_is_not_asked_to_stop_anything(swap: Scene, record: Path) -> None:
    """Where nobody has the data open there is nothing to stop; this one would fail."""
    before = tree(swap.data_dir)
    half_done(swap, record, back=True)
    program = [*rescue("rollback", str(record)), "/bin/echo", "started"]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    assert done.stdout == "started\n"
    assert tree(swap.data_dir) == before
    half_done(swap, record, back=True)
    assert rollback.main([str(record)]) == 0
    assert tree(swap.data_dir) == before


def test_nothing_is_led_back_under_what_cannot_be_stopped(
    swap: Scene, record: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    half_done(swap, record, back=True)
    before = tree(swap.data_dir)
    fake = rescue("fake", str(swap.data_dir.parent), "no such mode")
    assert rollback.main([str(record), *fake]) == 1
    assert "could not be stopped" in capsys.readouterr().err
    assert started == []
    assert tree(swap.data_dir) == before
    assert record.exists()
