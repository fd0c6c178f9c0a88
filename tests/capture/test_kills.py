"""Whoever captures may be killed at any moment: nothing stays open, nothing stays behind but the stage."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture import clear_stage
from owui_vault.capture.child_client import Session
from owui_vault.model import NEVER, CaptureLimits, Quiesce, ignore_progress

PARENT = Path(__file__).parent / "programs" / "parent.py"
STEPS = ("prepare", "attempt", "finish", "seal")
INSIDE = (
    *("classify", "pin", "ahead", "look", "settle", "fence", "moment", "take", "link", "copy", "compare", "examine"),
    *("log", "count", "vectors", "inventory", "gather"),
)


def readers_of(folder: Path, but: int) -> list[str]:
    """Processes that have a file below a directory open."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) in (but, os.getpid()):
            continue
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith(f"{folder}/"):
                        found.append(f"{process.name}: {target}")
    return found


def run_and_kill(site: Any, step: str, delay: float, writer: int) -> None:
    command = [sys.executable, str(PARENT), str(site.data), str(site.work), step, str(delay)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -9, done
    until = time.monotonic() + 1
    while (left := readers_of(site.data, writer)) and time.monotonic() < until:
        time.sleep(0.01)
    assert left == []


def names_outside_uploads(data: Path) -> set[str]:
    found = {str(path.relative_to(data)) for path in data.rglob("*")}
    return {name for name in found if not name.startswith("uploads/") and not name.endswith("-journal")}


@pytest.mark.slow
@pytest.mark.always
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_after_each_step_leaves_nothing_open(site: Any, step: str) -> None:
    site.build()
    writer = site.run(rest_seconds=0.05)
    before = names_outside_uploads(site.data)
    run_and_kill(site, step, 0, writer.child.pid)
    assert names_outside_uploads(site.data) == before
    clear_stage(site.work)
    assert list(site.work.iterdir()) == []


@pytest.mark.slow
@pytest.mark.always
@pytest.mark.parametrize("step", INSIDE)
def test_a_kill_inside_each_step_of_the_child_leaves_nothing_open(site: Any, step: str) -> None:
    """At exactly that step, with whatever is pinned, open and half copied then."""
    site.build()
    site.work = site.data / ".owui-vault"
    writer = site.run(rest_seconds=-1)
    before = names_outside_uploads(site.data)
    run_and_kill(site, step, 0, writer.child.pid)
    clear_stage(site.work)
    assert names_outside_uploads(site.data) == before
    assert site.take().problems == ()


@pytest.mark.slow
def test_kills_at_random_moments_leave_nothing_open(site: Any, soak: Callable[[int], int], seed: random.Random) -> None:
    """With the stage in the data directory, since that is where something could be left."""
    site.build(filling=2000)
    writer = site.run(rest_seconds=0.05)
    site.work = site.data / ".owui-vault"
    before = names_outside_uploads(site.data)
    for _ in range(soak(100)):
        run_and_kill(site, seed.choice(STEPS), seed.uniform(0.001, 0.1), writer.child.pid)
        clear_stage(site.work)
        assert names_outside_uploads(site.data) == before
    captured = site.take(Quiesce.AUTO, quiet=site.quiet())  # live alone is a matter of luck on a busy machine
    assert captured.problems == ()


def test_the_child_ends_with_its_input(site: Any) -> None:
    """Whoever drops the pipe without killing anybody has ended it too."""
    site.build()
    session = Session(site.plan(), CaptureLimits(reserve_bytes=0), ignore_progress, NEVER)
    session.ask("prepare", seconds=10, pin=True, copy_seconds=10)
    stdin = session._child._child.stdin
    assert stdin is not None
    stdin.close()
    assert session._child._child.wait(timeout=5) == 0
    session.end()
