"""The engine itself dies while the instance is paused: an engine of the test's own, on a socket of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce.command import RESCUE_ENVIRONMENT
from owui_vault.quiesce.container import ContainerQuiescer
from owui_vault.testing.quiescer_suite import eventually, soon
from owui_vault.vault.journal import Journal

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
HOLDER = Path(__file__).parent / "programs" / "holder.py"


class OwnEngine:
    """A dockerd with all its state in one folder, which lets containers live while it is away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/engine.sock"
        self.program: subprocess.Popen[bytes] | None = None

    def up(self, *, again: bool = False) -> None:
        for name in ("pid", "exec/containerd/containerd.pid"):  # a killed one leaves them, and would not start again
            (self.folder / name).unlink(missing_ok=True)
        places = [f"--{name}-root={self.folder / name}" for name in ("data", "exec")]
        network = ["--bridge=none", "--iptables=false"]
        # A network of its own: an engine without a bridge removes the one of the machine's engine.
        argv = [
            "unshare",
            "--net",
            "dockerd",
            *places,
            f"--pidfile={self.folder / 'pid'}",
            f"--host={self.address}",
            *network,
        ]
        with (self.folder / "log").open("ab") as log:
            self.program = subprocess.Popen([*argv, "--live-restore"], stdout=log, stderr=log, start_new_session=True)
        ready = eventually(lambda: self.call("info", check=False) != "" or self.program.poll() is not None, 60)
        if (
            self.program.poll() is not None and not again
        ):  # its containerd has fifteen seconds, on a busy machine too few
            self.up(again=True)
            return
        assert ready, (self.folder / "log").read_text()[-2000:]

    def call(self, *arguments: str, check: bool = True) -> str:
        argv = ["docker", "--host", self.address, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip() if done.returncode == 0 else ""

    def kill(self) -> None:
        assert self.program is not None
        self.program.kill()
        self.program.wait()

    def close(self) -> None:
        if self.program is not None and self.program.poll() is None:
            self.call("rm", "--force", "box", check=False)
            self.program.terminate()
            self.program.wait(60)
        mounted = ["umount", "--recursive", "--quiet", str(self.folder / "data")]  # it mounts its folder on itself
        subprocess.run(mounted, check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def engine(image: str, tmp_path: Path, program: Callable[[str, str], Path]) -> Iterator[OwnEngine]:
    program("dockerd", "an engine that may be killed")
    own = OwnEngine(tmp_path)
    own.up()
    try:
        saved = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        load = ["docker", "--host", own.address, "load"]
        subprocess.run(load, stdin=saved.stdout, stdout=subprocess.DEVNULL, check=True)
        assert saved.stdout is not None
        saved.stdout.close()
        saved.wait()
        own.call("run", "--detach", "--name=box", "--network=none", "--no-healthcheck", "--init", image)
        yield own
    finally:
        own.close()


def test_an_engine_killed_during_a_pause_finds_the_container_paused_and_it_is_woken(engine):
    quiescer = ContainerQuiescer("box", engine=engine.address)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    engine.kill()
    engine.up()
    quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())
    assert quiescer.observe().state is InstanceState.RUNNING


def test_run_and_engine_killed_together_the_guardian_waits_for_the_engine(engine, tmp_path):
    lock = tmp_path / "lock"
    lock.mkdir()
    what = f"box@{engine.address}"
    argv = [sys.executable, str(HOLDER), "container", what, "pause", str(tmp_path / "journal"), str(lock), "600"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, env=RESCUE_ENVIRONMENT)
    assert child.stdout is not None
    assert [child.stdout.readline(), child.stdout.readline()] == [b"locked\n", b"quiet\n"]
    engine.kill()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    time.sleep(1)
    engine.up()
    quiescer = ContainerQuiescer("box", engine=engine.address)
    assert eventually(lambda: quiescer.observe().state is InstanceState.RUNNING, 15)
    assert eventually(lambda: Journal(tmp_path / "journal").records() == (), 15)
