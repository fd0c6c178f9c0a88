"""Captures of an application that writes in a container at full speed: is each of them one moment?

The rules are the application's own, checked by itself on the captured tree, with nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from owui_vault.capture import take_instant
from owui_vault.capture.stage import clear_stage
from owui_vault.instance.layout import capture_plan
from owui_vault.model import CaptureLimits, Findings, Proof, Quiesce
from owui_vault.quiesce.container import ContainerQuiescer
from owui_vault.system.clock import SystemClock
from owui_vault.testing.quiescer_suite import eventually
from owui_vault.vault.hold import Hold
from owui_vault.vault.journal import Journal

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
APPLICATION = Path(__file__).parents[1] / "docker" / "application" / "application.py"
RATE = 250
PROOFS = {Quiesce.LIVE: Proof.LIVE, Quiesce.PAUSE: Proof.PAUSE, Quiesce.STOP: Proof.STOP}


@dataclass(frozen=True)
class Busy:
    """A container that writes."""

    name: str
    data: Path

    def told(self) -> dict[str, float]:
        """Commits, and the longest time without one, since the last time this was asked."""
        argv = ("exec", self.name, "python3", "/opt/application/application.py", "stats")
        told: dict[str, float] = json.loads(docker(*argv))
        return told


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(params=["wal", "delete"])
def busy(request: pytest.FixtureRequest, image: str, tmp_path: Path, soak: Callable[[int], int]) -> Iterator[Busy]:
    """The application over data of up to 1 GB, `webui.db` in either journal mode."""
    data, name = tmp_path / "data", f"owui-vault-{uuid.uuid4().hex[:8]}"
    data.mkdir()
    settings = {"DATA_DIR": str(data), "JOURNAL": request.param}
    subprocess.run([sys.executable, APPLICATION, "fill", str(soak(1000))], env=settings, check=True)
    # Without waiting for the disk a rollback journal keeps up with that rate, too.
    settings = {"JOURNAL": request.param, "RATE": str(RATE), "SYNCHRONOUS": "OFF"}
    environment = [f"--env={key}={value}" for key, value in settings.items()]
    options = (f"--volume={data}:/app/backend/data", "--network=none", "--no-healthcheck", "--init", *environment)
    docker("run", "--detach", f"--name={name}", *options, image)
    try:
        container = Busy(name, data)
        assert eventually(lambda: answers(container), 60)
        yield container
    finally:
        docker("rm", "--force", name)


def answers(container: Busy) -> bool:
    try:
        return container.told()["commits"] > 0
    except AssertionError:
        return False


def rate_of(container: Busy) -> float:
    """Commits a second; what was told so far is forgotten."""
    container.told()
    began = time.monotonic()
    time.sleep(1)
    return container.told()["commits"] / (time.monotonic() - began)


@pytest.mark.parametrize("mode", [Quiesce.PAUSE, Quiesce.STOP])
def test_every_capture_of_a_busy_container_is_one_moment(busy, tmp_path, soak, mode):
    quiet = Hold(ContainerQuiescer(busy.name), Journal(tmp_path / "journal"), None, SystemClock())
    gaps, rates = [], []
    for _ in range(soak(20)):
        rates.append(rate_of(busy))
        captured = take_instant(
            capture_plan(busy.data, tmp_path / "work"),
            mode=mode,
            quiet=quiet,
            examine=lambda _: Findings(),
            limits=CaptureLimits(freeze_seconds=60.0, stop_seconds=120.0),
            unproven=False,
            clock=SystemClock(),
        )
        assert captured.proof.mode is PROOFS[mode]
        argv = [sys.executable, str(APPLICATION), "check", str(captured.stage / "data")]
        gaps.append(busy.told()["longest_gap_seconds"] if mode is Quiesce.PAUSE else 0.0)
        checked = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        clear_stage(tmp_path / "work")
        assert eventually(lambda: answers(busy), 60)
    print(
        f"{mode.value}: {len(gaps)} captures, at worst {max(gaps):.3f} s without a commit, {max(rates):.0f} commits/s"
    )
