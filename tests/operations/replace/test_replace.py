from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault import (
    Component,
    ConfigError,
    ContentMismatchError,
    Deadline,
    InstanceState,
    Quiesce,
    QuiesceError,
    RepositoryDamagedError,
    RestoreError,
    RollbackError,
    TargetError,
)
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import state_of_small_instance, use_small_instance
from tests.operations.house import House, Houses


@pytest.fixture
def house(houses: Houses) -> House:
    return houses.one()


def test_a_plan_says_what_would_happen_and_touches_nothing(house: House) -> None:
    plan = house.vault.plan_replacement("latest")
    assert plan.parts == ("uploads", "vector_db", "webui.db")
    assert plan.stays == ("audit.log",)
    assert plan.stops == "fake instance"
    assert house.state() == house.later
    assert not (house.data_dir / ".owui-vault").exists()


def test_the_instance_runs_on_the_snapshot_and_todays_data_lie_aside(house: House) -> None:
    report = house.vault.replace(house.vault.plan_replacement(house.snapshot))
    assert house.state() == house.earlier
    assert house.runs()
    assert house.quiescer.instance.read().starts == 2
    assert report.health == "answers"
    assert (house.data_dir / "audit.log").read_text() == "stays"
    assert state_of_small_instance(report.aside.path / "parts") == house.later
    assert report.aside.size_bytes > 0


def test_undo_brings_todays_data_back_and_discard_drops_the_rest(house: House) -> None:
    house.vault.replace(house.vault.plan_replacement("latest"))
    use_small_instance(house.data_dir, "written after the restore")
    undone = house.vault.undo()
    assert house.state() == house.later
    assert undone.health == "answers"
    assert house.runs()
    discarded = house.vault.discard()
    assert len(discarded.discarded) == 1
    assert discarded.freed_bytes > 0
    assert not (house.data_dir / ".owui-vault").exists()
    with pytest.raises(RestoreError, match="there are no previous data"):
        house.vault.undo()


class Tidying(FakeQuiescer):
    """As SQLite does with a clean end: side files of the databases go when the last connection closes."""

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        super().quiesce(mode, deadline)
        for path in self.instance.path.parent.glob("data/**/*-shm"):
            path.unlink()


def test_what_goes_with_the_stop_is_not_missed(house: House) -> None:
    (house.data_dir / "webui.db-shm").write_bytes(bytes(32768))
    house.quiescer = Tidying(house.folder)
    house.vault = house.a_vault()
    house.vault.replace(house.vault.plan_replacement("latest"))
    assert house.state() == house.earlier
    assert house.runs()


def test_an_application_that_does_not_come_up_gets_its_data_back(house: House) -> None:
    house.application.failures = 1
    with pytest.raises(RestoreError, match="everything is as it was before"):
        house.vault.replace(house.vault.plan_replacement("latest"))
    assert house.state() == house.later
    assert house.runs()
    assert not (house.data_dir / ".owui-vault").exists()


def test_one_that_comes_up_on_neither_is_the_operators_with_the_old_data_in_place(house: House) -> None:
    house.application.failures = 2
    with pytest.raises(RollbackError) as caught:
        house.vault.replace(house.vault.plan_replacement("latest"))
    assert caught.value.exit_code == 4
    assert house.state() == house.later


def test_a_newer_schema_is_refused_before_anything_is_touched(house: House) -> None:
    house.application.known = frozenset({"bbbbbbbbbbbb"})
    with pytest.raises(RestoreError, match="schema aaaaaaaaaaaa"):
        house.vault.plan_replacement("latest")
    house.application.known = None
    assert any("could not be asked" in warning for warning in house.vault.plan_replacement("latest").warnings)


def set_schema(house: House, revision: str) -> None:
    with closing(sqlite3.connect(house.data_dir / "webui.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()


def test_which_of_two_schemas_is_newer_is_not_guessed(house: House) -> None:
    """Nobody knows the order of revisions but an application that has them; an older one must never be started."""
    house.application.known = None
    set_schema(house, "bbbbbbbbbbbb")
    plan = house.vault.plan_replacement("latest")
    assert "could not be asked whether it knows the schema aaaaaaaaaaaa" in plan.unknown_version
    assert any("which of the two is newer is not known" in warning for warning in plan.warnings)
    assert not any("older" in warning and "it is older" in warning for warning in plan.warnings)
    with pytest.raises(ConfigError, match="nothing was changed") as caught:
        house.vault.replace(plan)
    assert "--accept-unknown-version" in caught.value.hint
    assert house.state() == house.later
    house.vault.replace(plan, accept_unknown_version=True)
    assert house.state() == house.earlier


def test_what_is_asked_only_where_it_is_a_question(house: House) -> None:
    house.application.known = None
    assert not house.vault.plan_replacement("latest").unknown_version  # the same schema as today's
    assert not house.vault.plan_replacement("latest", components=[Component.UPLOADS]).unknown_version
    set_schema(house, "bbbbbbbbbbbb")
    assert not house.vault.plan_replacement("latest", components=[Component.UPLOADS]).unknown_version
    house.application.known = frozenset({"aaaaaaaaaaaa", "bbbbbbbbbbbb"})
    plan = house.vault.plan_replacement("latest")
    assert not plan.unknown_version
    assert any("knows it and will migrate it at its start if it is older" in warning for warning in plan.warnings)
    (house.data_dir / "webui.db").unlink()
    house.application.known = None
    assert not house.vault.plan_replacement("latest").unknown_version  # nothing of today's that it could spoil


def test_a_part_alone_is_restored_with_a_warning(house: House) -> None:
    plan = house.vault.plan_replacement("latest", components=[Component.UPLOADS])
    assert plan.parts == ("uploads",)
    assert any("different moments" in warning for warning in plan.warnings)
    house.vault.replace(plan)
    chats = [text for name, text in house.state().items() if not name.endswith(".txt")]
    uploads = [text for name, text in house.state().items() if name.endswith(".txt")]
    assert sorted(chats) == ["earlier", "later"]
    assert uploads == ["earlier"]


def test_a_part_the_snapshot_does_not_hold_is_refused(house: House) -> None:
    with pytest.raises(TargetError, match="holds no plugin_files"):
        house.vault.plan_replacement("latest", components=[Component.PLUGIN_FILES])


def test_what_was_stopped_stays_stopped(house: House) -> None:
    house.quiescer.instance.set(InstanceState.STOPPED)
    plan = house.vault.plan_replacement("latest")
    assert plan.stops == ""
    report = house.vault.replace(plan)
    assert house.state() == house.earlier
    assert house.quiescer.observe().state is InstanceState.STOPPED
    assert report.health.startswith("not asked")


def test_somebody_who_keeps_the_data_open_after_the_stop_keeps_everything_as_it_is(house: House) -> None:
    with (house.data_dir / "webui.db").open("rb") as opened:
        reader = subprocess.Popen(["sleep", "60"], stdin=opened)
    try:
        with pytest.raises(QuiesceError, match="still has the data open"):
            house.vault.replace(house.vault.plan_replacement("latest"))
    finally:
        reader.kill()
        reader.wait()
    assert house.state() == house.later
    assert house.runs()


def test_a_fetch_that_fails_leaves_nothing_behind(house: House) -> None:
    plan = house.vault.plan_replacement("latest")
    for path in (house.folder / "repository/objects").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises((ContentMismatchError, RepositoryDamagedError)):
        house.vault.replace(plan)
    assert house.state() == house.later
    assert house.runs()
    assert not (house.data_dir / ".owui-vault").exists()


def test_holding_keeps_it_quiet_for_the_block(house: House) -> None:
    with house.vault.hold(Quiesce.PAUSE) as held:
        assert house.quiescer.observe().state is InstanceState.PAUSED
        held.confirm()
    assert house.runs()


@pytest.fixture
def moments(soak: Callable[[int], int], seed: random.Random) -> Iterator[float]:
    return (seed.uniform(0, 1.2) for _ in range(soak(100)))


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one(tmp_path: Path, moments: Iterator[float]) -> None:
    for number, moment in enumerate(moments):
        house = House(tmp_path / str(number))
        plan = house.vault.plan_replacement("latest")
        pid = os.fork()
        if pid == 0:
            os.setsid()
            house.a_vault().replace(plan)
            os._exit(0)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        until = time.monotonic() + 15
        while not house.runs():
            assert time.monotonic() < until, f"not back after a kill at {moment:.3f} s"
            time.sleep(0.02)
        house.vault.recover()
        assert house.state() in (house.earlier, house.later), f"half done after a kill at {moment:.3f} s"
        left = {path.name.partition("-")[0] for path in (house.data_dir / ".owui-vault").glob("*")}
        assert left <= {"aside"}
