"""SIGKILL at any moment: the instance runs again, by its guardian, or by `recover` when the guardian was killed too."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault.guardian.bounded_hold import recover
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import rescue_environment
from owui_vault.quiesce import freezer
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.testing.quiescer_suite import eventually, writes_on
from tests.conftest import SOAK
from tests.quiesce.conftest import Family

HOLDER = Path(__file__).parent / "programs" / "holder.py"
BACK_SECONDS = 2.0 if SOAK >= 1 else 5.0  # with the machine for itself, as in make soak, or beside other tests


class Run:
    """`holder.py` over a family."""

    def __init__(self, family: Family, folder: Path) -> None:
        self.journal = Journal(folder / "journal")
        self.lock = folder / "lock"
        self.lock.mkdir(exist_ok=True)
        self.errors = folder / "errors"
        argv = [sys.executable, str(HOLDER), "process", str(family.pid_file), "pause"]
        with self.errors.open("wb") as errors:
            self.child = subprocess.Popen(
                [*argv, str(self.journal._directory), str(self.lock)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=rescue_environment(),
            )
        assert self.line() == "locked", self.errors.read_text()

    def line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().decode().strip()

    def guardians(self) -> list[int]:
        me = procfs.identify(self.child.pid)
        assert me is not None
        return [each.pid for each in procfs.descendants(me) if b"guardian_main" in self.command_of(each.pid)]

    @staticmethod
    def command_of(pid: int) -> bytes:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return b""

    def kill(self) -> None:
        self.child.kill()
        assert self.child.wait() == -signal.SIGKILL, self.errors.read_text()
        assert self.child.stdout is not None
        self.child.stdout.close()
        assert self.errors.read_text() == "", "no run was disturbed by the guardian of the one before"


def nothing_half_done(run: Run) -> bool:
    """A run killed before its guardian stood leaves its record to `recover`; the others' are struck already."""
    with directory_lock(run.lock, wait_seconds=30, clock=SystemClock(), what="it"):
        recover(run.journal)
    return run.journal.records() == ()


@pytest.mark.slow
def test_killed_at_any_moment_of_a_pause_it_runs_again(
    family: Family, tmp_path: Path, soak: Callable[[int], int], seed: random.Random
) -> None:
    met, slowest = 0, 0.0
    for _ in range(soak(200)):
        run = Run(family, tmp_path)
        if seed.random() < 0.5:
            run.line()  # half of them while it is paused, or about to run again
            time.sleep(seed.uniform(0, 0.03))
        else:
            time.sleep(seed.uniform(0, 0.3))
        met += bool(freezer.stopped_among({family.root}))
        run.kill()
        died = time.monotonic()
        assert eventually(lambda: not freezer.stopped_among(family.members()), BACK_SECONDS)
        assert writes_on(family)
        slowest = max(slowest, time.monotonic() - died)
    assert slowest <= BACK_SECONDS
    assert nothing_half_done(run)
    print(f"{met} kills met it paused; back after {slowest:.3f} s at worst")


@pytest.mark.slow
def test_killed_with_its_guardian_recover_brings_it_back(
    family: Family, tmp_path: Path, soak: Callable[[int], int], seed: random.Random
) -> None:
    for _ in range(soak(100)):
        run = Run(family, tmp_path)
        assert run.line() == "quiet"
        time.sleep(seed.uniform(0, 0.008))
        for pid in run.guardians():
            os.kill(pid, signal.SIGKILL)
        run.kill()
        with directory_lock(run.lock, wait_seconds=30, clock=SystemClock(), what="it"):
            recover(run.journal)
        assert not freezer.stopped_among(family.members())
        assert run.journal.records() == ()
        assert writes_on(family)


def test_a_run_after_a_kill_waits_for_the_guardian_and_is_not_disturbed(family: Family, tmp_path: Path) -> None:
    for _ in range(3):
        run = Run(family, tmp_path)
        assert run.line() == "quiet"
        run.kill()
    run = Run(family, tmp_path)
    for _ in range(5):
        assert (run.line(), run.line()) == ("quiet", "resumed")
    run.kill()
    assert nothing_half_done(run)
