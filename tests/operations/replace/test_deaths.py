"""Deaths in the middle of an in-place restore, with nobody left who knew of it, and what recovers from them."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from owui_vault import (
    Deadline,
    InstanceState,
    Quiesce,
    RestoreError,
    ResumeError,
    RetentionPolicy,
    RollbackError,
    Vault,
)
from owui_vault.guardian.guardian import Guardian
from owui_vault.instance.runner import InstanceRunner
from owui_vault.operations.recovery import swap
from owui_vault.operations.recovery.swap import RECORD
from owui_vault.operations.replace import cutover, replace
from owui_vault.ports import Remarks
from owui_vault.system.work_folder import WorkFolder
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import state_of_small_instance, use_small_instance
from tests.operations.deaths import at_rename, dies, nobody_works_on
from tests.operations.house import House, Houses

RENAMES = 6  # of three parts
KEEP_ALL = RetentionPolicy(last=10)


@pytest.fixture
def house(houses: Houses) -> House:
    return houses.one()


def left_behind(data_dir: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in (data_dir / ".owui-vault").glob("*")}


@contextmanager
def opened_by_somebody(path: Path) -> Iterator[None]:
    with path.open("rb") as opened, subprocess.Popen(["sleep", "60"], stdin=opened) as reader:
        yield
        reader.kill()


@pytest.mark.parametrize("renames", range(RENAMES + 1))
@pytest.mark.parametrize("runs", [True, False])
def test_a_power_cut_at_any_rename_is_recovered_from(house: House, renames: int, *, runs: bool) -> None:
    vault = house.vault if runs else house.vault_at(house.data_dir)
    plan = vault.plan_replacement("latest")
    assert dies(lambda: vault.replace(plan), at_rename(renames)) == (renames < RENAMES)
    assert (house.data_dir / "webui.db").exists() == (renames != RENAMES - 1)
    vault.recover()
    assert house.state() == (house.later if renames < RENAMES else house.earlier)
    assert house.runs()
    assert left_behind(house.data_dir) <= {"aside"}
    assert vault.recover().actions == ()


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(lambda house: house.vault.snapshot(), id="snapshot"),
        pytest.param(lambda house: house.vault.plan_replacement("latest"), id="restore --in-place"),
        pytest.param(lambda house: house.vault.hold(Quiesce.PAUSE).__enter__(), id="hold"),
        pytest.param(lambda house: house.vault.discard(), id="discard"),
        pytest.param(lambda house: house.vault.initialize(), id="init"),
        pytest.param(lambda house: house.vault.initialize(adopt=True), id="init --adopt"),
        pytest.param(lambda house: house.vault.restore("latest", house.folder / "copy"), id="restore --target"),
        pytest.param(lambda house: house.vault.prune(house.vault.plan_prune(KEEP_ALL)), id="prune"),
    ],
)
def test_whatever_writes_recovers_first(house: House, deed: Callable[[House], object]) -> None:
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), at_rename(RENAMES - 1))
    nobody_works_on(house.data_dir)
    assert not (house.data_dir / "webui.db").exists()
    deed(house)
    assert house.state() == house.later


def test_what_only_looks_does_not_recover(house: House) -> None:
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), at_rename(RENAMES - 1))
    house.vault.snapshots()
    house.vault.manifest("latest")
    with suppress(Exception):  # half a data directory
        house.vault.inspect()
    assert left_behind(house.data_dir) >= {"swap.json", "incoming"}


def test_a_run_that_lives_is_not_waited_for_by_what_needs_no_instance(house: House) -> None:
    with house.vault.hold(Quiesce.PAUSE):
        began = time.monotonic()
        house.a_vault().restore("latest", house.folder / "copy")
        assert time.monotonic() - began < 60  # the lock would be waited for for five minutes


def test_a_death_is_recovered_from_where_the_directory_has_another_path(house: House, tmp_path: Path) -> None:
    """The host and a sidecar, a disk that is mounted elsewhere: what is at the old path is another instance by then."""
    vault = house.vault_at(house.data_dir)
    plan = vault.plan_replacement("latest")
    assert dies(lambda: vault.replace(plan), at_rename(3))
    moved = house.data_dir.rename(tmp_path / "moved")
    shutil.copytree(moved, house.data_dir, ignore=shutil.ignore_patterns(".owui-vault"))
    other = sorted(path.name for path in house.data_dir.iterdir())
    assert house.vault_at(moved).recover().actions == ("rolled back an in-place restore that was not complete",)
    assert state_of_small_instance(moved) == house.later
    assert sorted(path.name for path in house.data_dir.iterdir()) == other


def test_undo_brings_back_what_lies_aside_where_the_directory_has_another_path(house: House, tmp_path: Path) -> None:
    house.vault.replace(house.vault.plan_replacement("latest"))
    moved = house.data_dir.rename(tmp_path / "moved")
    vault = house.vault_at(moved, house.quiescer)
    assert vault.undo().health == "answers"
    assert state_of_small_instance(moved) == house.later
    vault.undo()
    assert state_of_small_instance(moved) == house.earlier


def test_undo_stops_nothing_when_what_lies_aside_is_not_whole(house: House) -> None:
    report = house.vault.replace(house.vault.plan_replacement("latest"))
    (report.aside.path / "parts/webui.db").unlink()
    starts = house.quiescer.instance.read().starts
    with pytest.raises(RestoreError, match=r"does not hold webui\.db"):
        house.vault.undo()
    assert house.state() == house.earlier
    assert house.quiescer.instance.read().starts == starts


def test_undo_keeps_what_it_did_not_put_back(house: House) -> None:
    report = house.vault.replace(house.vault.plan_replacement("latest"))
    (report.aside.path / "parts/somebody's").write_text("put there by hand")
    house.vault.undo()
    assert house.state() == house.later
    assert (report.aside.path / "parts/somebody's").read_text() == "put there by hand"


def test_a_death_when_the_exchange_is_complete_is_finished_with_its_secret_key(house: House) -> None:
    """Between the two renames that put key and description where `undo` looks for them."""
    key = house.folder / ".webui_secret_key"
    key.write_text("then")
    house.vault.snapshot()
    key.write_text("now")
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), at_description(complete=True))
    (action,) = house.vault.recover().actions
    assert action.startswith("finished the in-place restore")
    assert key.read_text() == "then"
    house.vault.undo()
    assert key.read_text() == "now"


def test_a_death_while_the_exchange_is_written_down_leaves_nothing(house: House) -> None:
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), at_description(complete=False))
    nobody_works_on(house.data_dir)
    assert list((house.data_dir / ".owui-vault").glob(".*.new"))
    house.vault.recover()
    assert left_behind(house.data_dir) == set()
    assert house.state() == house.later


def at_description(*, complete: bool) -> Callable[[], None]:
    """Die before the description of an exchange has its name, or before that of a complete one goes aside."""

    def arrange() -> None:
        rename, move = os.rename, WorkFolder.move

        def renamed(source: Any, target: Any, **folders: Any) -> None:
            if target == RECORD and not complete:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(source, target, **folders)

        def moved(work: WorkFolder, name: str, *target: Any) -> None:
            if name == RECORD and complete:
                os.kill(os.getpid(), signal.SIGKILL)
            move(work, name, *target)

        setattr(os, "rename", renamed)  # noqa: B010  another signature
        setattr(WorkFolder, "move", moved)  # noqa: B010  another signature

    return arrange


def test_what_a_discard_began_to_drop_is_never_put_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    report = house.vault.replace(house.vault.plan_replacement("latest"))

    def interrupted(name: str, *, dir_fd: int) -> None:
        unlink(name, dir_fd=dir_fd)
        if name != RECORD:
            raise KeyboardInterrupt

    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt):
        house.vault.discard()
    monkeypatch.undo()
    with pytest.raises(RestoreError, match="has no description") as caught:
        house.vault.undo()
    assert "`discard`" in caught.value.hint
    assert house.state() == house.earlier
    assert [each.path for each in house.vault.discard().discarded] == [report.aside.path]
    assert not report.aside.path.exists()


def test_an_instance_that_runs_on_half_exchanged_data_is_stopped_before_they_are_led_back(house: House) -> None:
    """As after a power cut, when the engine starts it at boot. What it wrote to the data that go is kept."""
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), at_rename(4))  # uploads are new already, webui.db is old
    house.quiescer.instance.set(InstanceState.RUNNING)
    starts = house.quiescer.instance.read().starts
    time.sleep(0.02)
    (house.data_dir / "uploads/meanwhile").write_text("uploaded")
    (action, *_) = house.vault.recover().actions
    assert house.state() == house.later
    assert house.quiescer.instance.read().starts == starts + 1
    assert house.runs()
    (kept,) = house.vault.discard().discarded
    assert str(kept.path) in action


def test_what_was_not_right_about_a_stop_for_a_roll_back_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), at_rename(4))
    house.quiescer.instance.set(InstanceState.RUNNING)
    monkeypatch.setattr(FakeQuiescer, "remarks", Remarks(warnings=("it had to be killed",)))
    assert "it had to be killed" in house.vault.recover().actions
    assert house.runs()


def test_nothing_is_started_on_half_exchanged_data_while_somebody_else_has_them_open(house: House) -> None:
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), at_rename(4))
    house.quiescer.instance.set(InstanceState.RUNNING)
    with opened_by_somebody(house.data_dir / "webui.db"):
        with pytest.raises(ResumeError, match="sleep") as caught:
            house.vault.recover()
        assert caught.value.exit_code == 4
        assert not house.runs()
    until = time.monotonic() + 30
    while not house.runs():  # the guardian goes on trying
        assert time.monotonic() < until
        time.sleep(0.05)
    assert house.state() == house.later


def test_nothing_is_led_back_under_somebody_whom_nobody_can_stop(house: House) -> None:
    vault = house.vault_at(house.data_dir)
    plan = vault.plan_replacement("latest")
    assert dies(lambda: vault.replace(plan), at_rename(5))
    with opened_by_somebody(next(house.data_dir.glob(".owui-vault/aside-*/parts/webui.db"))):
        with pytest.raises(RollbackError, match="sleep"):
            vault.recover()
        assert not (house.data_dir / "webui.db").exists()
    vault.recover()
    assert house.state() == house.later


@pytest.mark.parametrize("step", ["marked", "stopped", "half undone", "undone", "started"])
@pytest.mark.parametrize("guardian", [True, False])
def test_a_death_on_the_way_back_ends_on_the_data_from_before(house: House, step: str, *, guardian: bool) -> None:
    house.application.failures = 1
    plan = house.vault.plan_replacement("latest")
    assert dies(lambda: house.vault.replace(plan), lambda: _die_on_the_way_back(step, guardian=guardian))
    if guardian:
        until = time.monotonic() + 15
        while not house.runs() or (house.data_dir / ".owui-vault/swap.json").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert house.state() == house.later
    house.vault.recover()
    assert house.state() == house.later
    assert house.runs()
    assert left_behind(house.data_dir) == set()


def _die_on_the_way_back(step: str, *, guardian: bool) -> None:
    guardians: list[int] = []
    made = Guardian.__init__

    def remembered(self: Guardian, *arguments: object) -> None:
        made(self, *arguments)  # type: ignore[arg-type]
        guardians.append(self.pid)

    def die(*_: object, **__: object) -> None:
        for pid in (*([] if guardian else guardians), os.getpid()):
            os.kill(pid, signal.SIGKILL)

    def on_the_way_back(self: cutover.Cutover, *arguments: object) -> None:
        match step:
            case "marked":
                InstanceRunner.stop = die  # type: ignore[method-assign]
            case "stopped":
                setattr(cutover, "require_databases_closed", die)  # noqa: B010  a name that it imports
            case "half undone":
                at_rename(3)()
            case "undone":
                InstanceRunner.start = die  # type: ignore[method-assign, assignment]
            case "started":
                self.application.failures = 0  # type: ignore[attr-defined]
                self.application.wait_until_healthy = die  # type: ignore[method-assign, assignment]
        back(self, *arguments)  # type: ignore[arg-type]

    back = cutover.Cutover._roll_back
    Guardian.__init__ = remembered  # type: ignore[method-assign, assignment]
    cutover.Cutover._roll_back = on_the_way_back  # type: ignore[method-assign, assignment]


def test_a_way_back_that_fails_is_told_as_what_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a mistake of this program, and not in place of it."""
    house.application.failures = 1
    plan = house.vault.plan_replacement("latest")

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(swap, "undo", fails)
    with pytest.raises(ResumeError, match="half replaced") as caught:
        house.vault.replace(plan)
    assert caught.value.exit_code == 4
    assert isinstance(caught.value.__context__, OSError)
    monkeypatch.undo()
    until = time.monotonic() + 30
    while not house.runs():  # the guardian goes on trying
        assert time.monotonic() < until
        time.sleep(0.05)
    house.vault.recover()
    assert house.state() == house.later


@pytest.mark.parametrize("runs", [True, False])
def test_an_exchange_that_fails_is_undone(house: House, monkeypatch: pytest.MonkeyPatch, *, runs: bool) -> None:
    vault = house.vault if runs else house.vault_at(house.data_dir)
    plan = vault.plan_replacement("latest")
    move, left = swap._move, [3]

    def fails_once(*arguments: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(18, "Invalid cross-device link")
        move(*arguments)

    monkeypatch.setattr(swap, "_move", fails_once)
    with pytest.raises(RestoreError, match="everything is as it was before"):
        vault.replace(plan)
    assert house.state() == house.later
    assert house.runs()
    assert left_behind(house.data_dir) == set()


def test_an_exchange_that_can_neither_go_on_nor_back_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = house.vault_at(house.data_dir)
    plan = vault.plan_replacement("latest")
    move, left = swap._move, [3]

    def fails(*arguments: Any) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise OSError(5, "Input/output error")
        move(*arguments)

    monkeypatch.setattr(swap, "_move", fails)
    with pytest.raises(RollbackError, match="half replaced") as caught:
        vault.replace(plan)
    assert caught.value.exit_code == 4
    monkeypatch.undo()
    vault.recover()
    assert house.state() == house.later


def test_everything_is_on_disk_before_a_rename_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut right after the renames must not find empty files where the old ones were."""
    seen: list[dict[str, str]] = []
    work = house.data_dir / ".owui-vault"

    def synced(folder: Path) -> None:
        assert not (work / "swap.json").exists()
        seen.append(state_of_small_instance(folder / "data"))

    monkeypatch.setattr(replace, "sync_filesystem", synced)
    house.vault.replace(house.vault.plan_replacement("latest"))
    assert seen == [house.earlier]


def test_side_files_of_the_new_database_go_with_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed while it had a WAL; the old database had none."""
    answer = type(house.application).wait_until_healthy

    def leaves_a_wal(application: object, deadline: object) -> str:
        with closing(sqlite3.connect(house.data_dir / "webui.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("INSERT INTO chat VALUES ('new', 'of the new one')")
            connection.commit()
            shutil.copyfile(house.data_dir / "webui.db-wal", house.folder / "wal")
        shutil.copyfile(house.folder / "wal", house.data_dir / "webui.db-wal")
        return answer(application, deadline)  # type: ignore[arg-type]

    monkeypatch.setattr(type(house.application), "wait_until_healthy", leaves_a_wal)
    house.application.failures = 1
    plan = house.vault.plan_replacement("latest")
    monkeypatch.setattr(InstanceRunner, "start", _start_without_asking_twice(InstanceRunner.start))
    with pytest.raises(RestoreError, match="everything is as it was before"):
        house.vault.replace(plan)
    assert not (house.data_dir / "webui.db-wal").exists()
    assert house.state() == house.later


def _start_without_asking_twice(start: Callable[..., str]) -> Callable[..., str]:
    calls: list[int] = []

    def once(self: InstanceRunner) -> str:
        calls.append(1)
        if len(calls) == 1:
            return start(self)
        self.quiescer.resume(Quiesce.STOP, Deadline(time.monotonic() + 10, time.monotonic))
        return "answers"

    return once


def test_use_after_undo_is_not_taken_for_a_part_of_the_exchange(house: House) -> None:
    vault: Vault = house.vault
    house.application.failures = 1
    with pytest.raises(RestoreError):
        vault.replace(vault.plan_replacement("latest"))
    use_small_instance(house.data_dir, "afterwards")
    now = house.state()
    vault.recover()
    assert house.state() == now
