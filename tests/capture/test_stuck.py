"""A process that waits inside the kernel, where no signal reaches it: nobody waits for it without an end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from owui_vault.errors import DeadlineExceededError
from owui_vault.system.child_process import Companion
from owui_vault.system.process import Command, run
from owui_vault.testing.quiescer_suite import eventually

pytestmark = pytest.mark.root

WRITES = "import sys; print('up', flush=True); open(sys.argv[1], 'w')"


@pytest.fixture
def frozen(mounted: Callable[[str], Path]) -> Iterator[Path]:
    """A file on a file system that keeps everybody waiting who writes to it, as a server does that is gone."""
    point = mounted("ext4")
    subprocess.run(["fsfreeze", "--freeze", point], check=True)
    try:
        yield point / "file"
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", point], check=True)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_a_companion_is_given_up_in_time(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("owui_vault.system.child_process._KILLED_SECONDS", 0.3)
    stuck = Companion((sys.executable, "-c", WRITES, str(frozen)), {})
    assert stuck.receive(20) == "up"
    assert eventually(lambda: state(stuck.pid) == "D", 20)
    with at_most(10), pytest.raises(DeadlineExceededError, match="is waiting for a disk or a server"):
        stuck.end()


def test_a_program_is_given_up_in_time(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_INTERRUPT_SECONDS", "_TERMINATE_SECONDS", "_KILLED_SECONDS"):
        monkeypatch.setattr(f"owui_vault.system.process.{name}", 0.2)
    command = Command(argv=(sys.executable, "-c", WRITES, str(frozen)), environment={}, timeout_seconds=1.0)
    with at_most(20), pytest.raises(DeadlineExceededError, match="is waiting for a disk or a server"):
        run(command)
