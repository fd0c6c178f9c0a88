"""Claims about restoring in place under a unit, made inside a container whose first process is a real systemd.

`test_systemd.py` starts it and runs this file there. The unit runs the application of the container tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from owui_vault import (
    CaptureLimits,
    DataDirectory,
    InstanceState,
    Limits,
    Repository,
    RestoreError,
    ResumeError,
    Secret,
    Vault,
)
from owui_vault.instance import runner
from owui_vault.quiesce.systemd import UnitQuiescer
from owui_vault.system import procfs
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.quiescer_suite import eventually
from tests.docker.begun import has_begun
from tests.operations.deaths import at_rename, dies, nobody_works_on
from tests.quiesce.inside.unit_claims import RANDOM, SOAK, systemctl_by_hand, write_unit

APPLICATION = Path(__file__).parents[2] / "docker" / "application" / "application.py"
UNIT = "open-webui.service"
QUICK = Limits(capture=CaptureLimits(stop_seconds=5.0))
KILLS = 40


class Site:
    """The unit, its data, and a vault with one snapshot of an earlier state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        # What the unit refuses to start on stands for an application that cannot open its data.
        start = f"test ! -e {self.data}/uploads/refused && exec {sys.executable} {APPLICATION} serve"
        settings = f"Environment=DATA_DIR={self.data} RATE=50 WEBUI_SECRET_KEY=key"
        write_unit(UNIT, f"WorkingDirectory={folder}\n{settings}\nExecStart=/bin/sh -c '{start}'")
        systemctl_by_hand("start", UNIT)
        self.quiescer = UnitQuiescer(UNIT)
        assert eventually(lambda: has_begun(self.data), 60), told_about(UNIT)
        self.vault = self.a_vault()
        self.vault.initialize()
        self.vault.snapshot()
        self.mark()

    def a_vault(self) -> Vault:
        engine = DirectoryEngine(self.folder / "repository", Secret("x"))
        return Vault(
            DataDirectory(self.data),
            [Repository("one", engine)],
            quiescer=UnitQuiescer(UNIT),
            state_dir=self.folder / "state",
            limits=QUICK,
        )

    def mark(self) -> None:
        """Something in each part that the snapshot does not hold."""
        for name in ("webui.db", "vector_db/chroma.sqlite3"):
            with closing(sqlite3.connect(self.data / name, timeout=30, isolation_level=None)) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS today (mark)")
        (self.data / "uploads/today").touch()

    def runs(self) -> bool:
        return self.quiescer.observe().state is InstanceState.RUNNING

    def writes(self) -> bool:
        def marks() -> list[int]:
            return [path.stat().st_mtime_ns for path in sorted(self.data.glob("webui.db*"))]

        before = marks()
        time.sleep(0.2)
        return marks() != before

    def state(self, *, rules: bool = True) -> str:
        """Whose data these are, wholly: looked at while the unit is down, and by the application's own rules."""
        systemctl_by_hand("stop", UNIT)
        found = {(self.data / "uploads/today").exists()}
        for name in ("webui.db", "vector_db/chroma.sqlite3"):
            with closing(sqlite3.connect(self.data / name)) as connection:
                found.add(bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'today'").fetchone()))
        check = subprocess.run(
            [sys.executable, APPLICATION, "check", self.data], capture_output=True, text=True, check=False
        )
        systemctl_by_hand("start", UNIT)
        assert (check.stdout + check.stderr).strip() == "" or not rules
        assert len(found) == 1, "half of the one and half of the other"
        return "today's" if True in found else "the snapshot's"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    try:
        yield Site(tmp_path)
    finally:
        end_all_of_ours()
        systemctl_by_hand("stop", UNIT)
        systemctl_by_hand("reset-failed", UNIT)


def end_all_of_ours() -> None:
    """Guardians and their rescues look for some seconds more: they would start the unit of the test that follows."""
    for each in procfs.processes():
        with suppress(OSError):
            command = Path(f"/proc/{each.identity.pid}/cmdline").read_bytes()
            if b"guardian_main.py" in command or b"\0-m\0owui_vault." in command:
                os.kill(each.identity.pid, signal.SIGKILL)


def told_about(unit: str) -> str:
    """What its systemd says, for a test that has failed."""
    return subprocess.run(["systemctl", "status", unit], capture_output=True, text=True, check=False).stdout


def test_the_unit_runs_on_the_snapshot_and_undo_brings_today_back(site: Site) -> None:
    report = site.vault.replace(site.vault.plan_replacement("latest"))
    assert report.health == "answers on port 8080, version 0.0.1"
    assert site.state() == "the snapshot's"
    assert eventually(site.writes)
    site.vault.undo()
    assert site.state() == "today's"
    assert eventually(site.writes)
    site.vault.discard()
    assert not (site.data / ".owui-vault").exists()


def test_a_unit_that_was_stopped_stays_so(site: Site) -> None:
    systemctl_by_hand("stop", UNIT)
    plan = site.vault.plan_replacement("latest")
    assert plan.stops == ""
    site.vault.replace(plan)
    assert not site.runs()
    assert site.state() == "the snapshot's"


def test_a_unit_that_does_not_come_up_gets_its_data_back_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the patience that an application has which is still on its way."""
    monkeypatch.setattr(runner, "_DOWN_SECONDS", 4.0)  # of twenty: how long a start that fails is tried again
    (site.data / "uploads/refused").touch()
    site.vault.snapshot()
    (site.data / "uploads/refused").unlink()
    plan = site.vault.plan_replacement("latest")
    began = time.monotonic()
    with pytest.raises(RestoreError, match="everything is as it was before"):
        site.vault.replace(plan)
    assert time.monotonic() - began < 120
    assert site.runs()
    assert not (site.data / "uploads/refused").exists()
    assert site.state() == "today's"
    assert not (site.data / ".owui-vault").exists()


@pytest.mark.parametrize("runs", [True, False])
def test_the_migrations_are_found_beside_what_the_unit_starts(site: Site, *, runs: bool) -> None:
    folder = site.folder / "open_webui/migrations/versions"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text('revision = "0123456789ab"\n')
    if not runs:
        systemctl_by_hand("stop", UNIT)
    with pytest.raises(RestoreError, match="has the schema 000000000001"):
        site.vault.plan_replacement("latest")
    (folder / "two.py").write_text('revision = "000000000001"\n')
    assert not [each for each in site.vault.plan_replacement("latest").warnings if "schemas" in each]


def test_another_program_that_has_the_data_open_keeps_everything_as_it_is(site: Site) -> None:
    systemctl_by_hand("stop", UNIT)
    with (site.data / "webui.db").open("rb") as opened, subprocess.Popen(["sleep", "60"], stdin=opened) as reader:
        with pytest.raises(RestoreError, match="sleep"):
            site.vault.plan_replacement("latest")
        reader.kill()
    assert site.state() == "today's"


@pytest.mark.parametrize("renames", [1, 3, 5])
@pytest.mark.parametrize("started_at_boot", [True, False])
def test_a_power_cut_in_the_middle_is_recovered_from(site: Site, renames: int, *, started_at_boot: bool) -> None:
    plan = site.vault.plan_replacement("latest")
    assert dies(lambda: site.a_vault().replace(plan), at_rename(renames))
    nobody_works_on(site.data)
    assert not site.runs()
    if started_at_boot:  # an enabled unit: on data that are half exchanged
        systemctl_by_hand("start", UNIT)
        assert eventually(site.writes)
    actions = site.a_vault().recover().actions
    assert site.runs()
    # What it wrote on half of the data breaks its own rules; what it put into the new half is kept aside.
    assert site.state(rules=not started_at_boot) == "today's"
    assert any("rolled back an in-place restore" in each for each in actions)


def test_killed_at_any_moment_the_unit_runs_on_the_one_state_or_the_other(site: Site) -> None:
    began = time.monotonic()
    site.vault.replace(site.vault.plan_replacement("latest"))
    span = time.monotonic() - began
    for number in range(max(1, round(KILLS * SOAK))):
        site.mark()
        plan = site.vault.plan_replacement("latest")
        child = os.fork()
        if child == 0:
            os.setsid()
            site.a_vault().replace(plan)
            os._exit(0)
        time.sleep(RANDOM.uniform(0, span))
        os.kill(child, 9)
        os.waitpid(child, 0)
        assert eventually(site.runs, 15), f"not back after kill {number}"
        site.a_vault().recover()
        assert site.runs()
        assert site.state() in ("today's", "the snapshot's")
        assert eventually(site.writes)
        site.vault.discard()
        assert not (site.data / ".owui-vault").exists()


def test_a_way_back_on_which_it_does_not_stop_is_the_guardians(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run gives up with exit code 4; its guardian stops the unit, leads back and starts it."""
    from owui_vault.instance.application import ProcessApplication  # noqa: PLC0415
    from owui_vault.quiesce import systemctl  # noqa: PLC0415

    def never(*_: object) -> str:
        monkeypatch.setattr(systemctl, "stop", refuses)
        raise ResumeError("it does not answer")

    def refuses(*_: object) -> None:
        raise RestoreError("systemd refuses")

    monkeypatch.setattr(ProcessApplication, "wait_until_healthy", never)
    with pytest.raises(ResumeError) as caught:
        site.vault.replace(site.vault.plan_replacement("latest"))
    assert caught.value.exit_code == 4
    monkeypatch.undo()
    assert eventually(lambda: not (site.data / ".owui-vault/swap.json").exists() and site.runs(), 30)
    assert site.state() == "today's"
    shutil.rmtree(site.data / ".owui-vault", ignore_errors=True)
