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
from owui_vault.errors import NotProvenError
from owui_vault.guardian.bounded_hold import Hold
from owui_vault.guardian.journal import Journal
from owui_vault.instance.layout import capture_plan
from owui_vault.model import CaptureLimits, Findings, Proof, Quiesce
from owui_vault.quiesce.container.quiescer import ContainerQuiescer
from owui_vault.system.clock import SystemClock
from owui_vault.testing.quiescer_suite import eventually

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
APPLICATION = Path(__file__).parents[1] / "docker" / "application" / "application.py"
RATE = 250
ENOUGH = 10  # tries, on a machine that may be busy with other things
PROOFS = {
    Quiesce.LIVE: {Proof.LIVE},
    Quiesce.AUTO: {Proof.LIVE, Proof.PAUSE},
    Quiesce.PAUSE: {Proof.PAUSE},
    Quiesce.STOP: {Proof.STOP},
}
#: The journal mode that each is tried with before make soak.
FIRST = {Quiesce.LIVE: "wal", Quiesce.AUTO: "delete", Quiesce.PAUSE: "wal", Quiesce.STOP: "delete"}
# Documents are written into the index in place, and while that never rests for a moment there is nothing to be proven
# live: every four seconds one is what a busy instance does. The other modes get a dozen a second.
UPLOAD_EVERY = {Quiesce.LIVE: 1000}


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


@pytest.fixture
def busy(mode: Quiesce, journal: str, image: str, tmp_path: Path, soak: Callable[[int], int]) -> Iterator[Busy]:
    """The application over data of up to 1 GB, `webui.db` in either journal mode."""
    data, name = tmp_path / "data", f"owui-vault-{uuid.uuid4().hex[:8]}"
    data.mkdir()
    settings = {"DATA_DIR": str(data), "JOURNAL": journal}
    subprocess.run([sys.executable, APPLICATION, "fill", str(soak(1000))], env=settings, check=True)
    # Without waiting for the disk a rollback journal keeps up with that rate, too.
    settings = {"JOURNAL": journal, "RATE": str(RATE), "SYNCHRONOUS": "OFF"}
    settings["UPLOAD_EVERY"] = str(UPLOAD_EVERY.get(mode, 20))
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


def broken_rules(stage: Path) -> str:
    """What the application itself finds wrong with what was captured."""
    argv = [sys.executable, str(APPLICATION), "check", str(stage / "data")]
    checked = subprocess.run(argv, capture_output=True, text=True, check=False)
    return checked.stdout + checked.stderr if checked.returncode else ""


@pytest.mark.parametrize(
    ("mode", "journal"),
    [
        pytest.param(mode, journal, id=f"{mode.value}-{journal}", marks=() if journal == first else pytest.mark.rare)
        for mode, first in FIRST.items()
        for journal in ("wal", "delete")
    ],
)
def test_every_capture_of_a_busy_container_is_one_moment(
    busy: Busy, tmp_path: Path, soak: Callable[[int], int], mode: Quiesce, journal: str
) -> None:
    quiet = Hold(ContainerQuiescer(busy.name), Journal(tmp_path / "journal"), None, SystemClock())
    gaps, rates, proven, tries = [], [], [], soak(20)
    for _ in range(tries):
        rates.append(rate_of(busy))
        try:
            captured = take_instant(
                capture_plan(busy.data, tmp_path / "work"),
                mode=mode,
                quiet=quiet,
                examine=lambda _: Findings(),
                limits=CaptureLimits(freeze_seconds=60.0, stop_seconds=120.0),
                unproven=False,
                clock=SystemClock(),
            )
        except NotProvenError:
            assert mode is Quiesce.LIVE, "every other mode gives a proof"
            continue
        gaps.append(busy.told()["longest_gap_seconds"] if mode is not Quiesce.STOP else 0.0)
        proven.append(captured.proof.mode)
        assert broken_rules(captured.stage) == ""
        clear_stage(tmp_path / "work")
        assert eventually(lambda: answers(busy), 60)
    assert set(proven) <= PROOFS[mode]
    if mode is Quiesce.LIVE and journal == "wal" and tries >= ENOUGH:
        assert proven, "what can be pinned is proven live now and then"  # a rollback journal cannot be
    live = f" ({proven.count(Proof.LIVE)} of them live)" if mode is Quiesce.AUTO else ""
    print(
        f"{mode.value}, {journal}: {len(proven)} of {tries} proven{live}, at worst {max(gaps, default=0.0):.3f} s"
        f" without a commit, {min(rates):.0f} to {max(rates):.0f} commits/s"
    )
