"""A family of real processes as the instance, and its operator; the Docker engine and the image of the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import pytest
from owui_vault.quiesce.process import ProcessQuiescer
from owui_vault.system import procfs
from owui_vault.testing.quiescer_suite import Subject, eventually

ROOT = Path(__file__).parents[2]
FAMILY = Path(__file__).parent / "programs" / "family.py"


class Family(Subject):
    """`family.py`, running."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.pid_file = folder / "family.pid"
        self.child: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def root(self) -> procfs.ProcessIdentity:
        assert self.child is not None
        identity = procfs.identify(self.child.pid)
        assert identity is not None
        return identity

    def members(self) -> frozenset[procfs.ProcessIdentity]:
        return procfs.descendants(self.root)

    def quiescer(self) -> ProcessQuiescer:
        return ProcessQuiescer(self.pid_file)

    def writes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("family.*") if path.suffix != ".pid")

    def pause(self) -> None:
        self._signal_all(signal.SIGSTOP)
        assert eventually(lambda: all(procfs.stopped(each) for each in self.members()))

    def wake(self) -> None:
        self._signal_all(signal.SIGCONT)
        assert eventually(lambda: not any(procfs.stopped(each) for each in self.members()))

    def stop(self) -> None:
        assert self.child is not None
        self._signal_all(signal.SIGKILL)
        self.child.wait()
        self.pid_file.unlink(missing_ok=True)

    def start(self) -> None:
        self.child = subprocess.Popen([sys.executable, str(FAMILY), str(self.folder / "family"), *self.options])
        assert eventually(self.pid_file.exists)

    def _signal_all(self, number: signal.Signals) -> None:
        if self.child is not None and self.child.poll() is None:
            for each in self.members():
                os.kill(each.pid, number)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    subject = Family(tmp_path)
    try:
        yield subject
    finally:
        subject.stop()


@pytest.fixture
def sleeper() -> Iterator[Callable[..., procfs.ProcessIdentity]]:
    """`sleeper()`: a process that does nothing, in a session of its own: within one, everybody may send SIGCONT.

    `sleeper(user=…)` is another user's.
    """
    children: list[subprocess.Popen[bytes]] = []

    def start(user: int | None = None) -> procfs.ProcessIdentity:
        children.append(subprocess.Popen(["sleep", "600"], user=user, start_new_session=True))
        identity = procfs.identify(children[-1].pid)
        assert identity is not None
        return identity

    yield start
    for child in children:
        child.kill()
        child.wait()


@pytest.fixture(scope="session")
def image() -> str:
    """The image of the tests, made where it is missing. Needs an engine that answers (`tools/engine-up`)."""
    info = [shutil.which("docker") or "false", "info"]
    if subprocess.run(info, stdout=DEVNULL, stderr=DEVNULL, timeout=30, check=False).returncode != 0:
        pytest.skip("no Docker engine answers here (tools/engine-up starts one)")
    script = ROOT / "tools" / "build-test-images"
    with script.open() as lock:  # one worker of a parallel run builds, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run([script], stdout=PIPE, stderr=STDOUT, text=True, check=False)
    assert built.returncode == 0, built.stdout
    return "owui-vault-test"
