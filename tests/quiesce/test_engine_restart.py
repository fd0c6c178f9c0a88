"""The engine itself dies while the instance is quiet: an engine of the test's own, on a socket of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owui_vault.errors import QuiesceError, ResumeError
from owui_vault.guardian.bounded_hold import recover
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import rescue_environment
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce.container.quiescer import ContainerQuiescer
from owui_vault.system import procfs
from owui_vault.testing.quiescer_suite import eventually, run_rescue, soon

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
HOLDER = Path(__file__).parent / "programs" / "holder.py"


class OwnEngine:
    """A dockerd with all its state in one folder. With `live_restore` containers live on while it is away."""

    def __init__(self, folder: Path, *, live_restore: bool) -> None:
        self.folder = folder
        self.live_restore = live_restore
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
            argv += ["--live-restore"] if self.live_restore else []
            program = self.program = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        ready = eventually(lambda: self.call("info", check=False) != "" or program.poll() is not None, 60)
        if program.poll() is not None and not again:  # its containerd has fifteen seconds, on a busy machine too few
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

    def box(self, image: str) -> None:
        """A new container of that name, and an engine that answers, whatever the last test did to either."""
        if self.program is None or self.program.poll() is not None:
            self.up()
        self.call("rm", "--force", "box", check=False)
        options = ("--network=none", "--no-healthcheck", "--init", "--restart=unless-stopped")
        self.call("run", "--detach", "--name=box", *options, image)

    def close(self) -> None:
        if self.program is not None and self.program.poll() is None:
            self.call("rm", "--force", "box", check=False)
            self.program.terminate()
            self.program.wait(60)
        mounted = ["umount", "--recursive", "--quiet", str(self.folder / "data")]  # it mounts its folder on itself
        subprocess.run(mounted, check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def live_restore() -> bool:
    return True


@pytest.fixture(scope="module")
def engine_with(image: str, program: Callable[[str, str], Path]) -> Iterator[Callable[[bool], OwnEngine]]:
    """`engine_with(live_restore)`: one of each kind for all tests, since one takes ten seconds to get its image."""
    program("dockerd", "an engine that may be killed")
    made: dict[bool, OwnEngine] = {}

    def with_image(live_restore: bool) -> OwnEngine:
        if live_restore not in made:
            # Its containerd's sockets lie deep below, and a socket's path has 108 characters: pytest's folders are
            # too long.
            folder = Path(tempfile.mkdtemp(prefix="own-", dir="/tmp"))
            made[live_restore] = own = OwnEngine(folder, live_restore=live_restore)
            own.up()
            saved = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
            load = ["docker", "--host", own.address, "load"]
            subprocess.run(load, stdin=saved.stdout, stdout=subprocess.DEVNULL, check=True)
            assert saved.stdout is not None
            saved.stdout.close()
            saved.wait()
        return made[live_restore]

    try:
        yield with_image
    finally:
        for own in made.values():
            own.close()
            shutil.rmtree(own.folder)


@pytest.fixture
def engine(image: str, engine_with: Callable[[bool], OwnEngine], live_restore: bool) -> OwnEngine:
    own = engine_with(live_restore)
    own.box(image)
    return own


def without_live_restore(*modes: Quiesce) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("live_restore", "mode"), [(False, mode) for mode in modes], ids=[mode.value for mode in modes]
    )


def hold_forever(engine: OwnEngine, folder: Path, mode: Quiesce) -> subprocess.Popen[bytes]:
    """A run that holds the container, and is about to be killed."""
    (folder / "lock").mkdir()
    what = f"box@{engine.address}"
    places = (str(folder / "journal"), str(folder / "lock"))
    argv = [sys.executable, str(HOLDER), "container", what, mode.value, *places, "600"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, env=rescue_environment())
    assert child.stdout is not None
    assert [child.stdout.readline(), child.stdout.readline()] == [b"locked\n", b"quiet\n"]
    return child


def kill(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def test_an_engine_killed_during_a_pause_finds_the_container_paused_and_it_is_woken(engine: OwnEngine) -> None:
    quiescer = ContainerQuiescer("box", engine=engine.address)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    engine.kill()
    engine.up()
    quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())
    assert quiescer.observe().state is InstanceState.RUNNING


@without_live_restore(Quiesce.PAUSE, Quiesce.STOP)
def test_an_engine_that_takes_its_containers_along_finds_them_started_again(engine: OwnEngine, mode: Quiesce) -> None:
    quiescer = ContainerQuiescer("box", engine=engine.address, stop_seconds=5)
    quiescer.quiesce(mode, soon())
    since = quiescer.observe()
    engine.kill()
    engine.up()
    if mode is Quiesce.PAUSE:
        with pytest.raises(QuiesceError):
            quiescer.confirm(mode, since)
    quiescer.resume(mode, soon())
    assert quiescer.observe().state is InstanceState.RUNNING


@without_live_restore(Quiesce.PAUSE, Quiesce.STOP)
def test_run_and_engine_killed_together_without_live_restore(engine: OwnEngine, tmp_path: Path, mode: Quiesce) -> None:
    child = hold_forever(engine, tmp_path, mode)
    engine.kill()
    kill(child)
    time.sleep(1)
    engine.up()
    quiescer = ContainerQuiescer("box", engine=engine.address)
    assert eventually(lambda: quiescer.observe().state is InstanceState.RUNNING, 15)
    assert eventually(lambda: Journal(tmp_path / "journal").records() == (), 30)
    assert quiescer.observe().state is InstanceState.RUNNING


@without_live_restore(Quiesce.PAUSE, Quiesce.STOP)
def test_all_killed_at_once_recover_starts_what_the_engine_took_along(
    engine: OwnEngine, tmp_path: Path, mode: Quiesce
) -> None:
    """As with a whole control group, or the machine: no guardian is left, only what was written down."""
    child = hold_forever(engine, tmp_path, mode)
    (guardian,) = [each.identity.pid for each in procfs.processes() if each.parent == child.pid]
    os.kill(guardian, signal.SIGKILL)
    kill(child)
    engine.kill()
    engine.up()
    quiescer = ContainerQuiescer("box", engine=engine.address)
    assert quiescer.observe().state is InstanceState.STOPPED
    assert len(recover(Journal(tmp_path / "journal"))) == 1
    assert quiescer.observe().state is InstanceState.RUNNING


def test_what_a_person_stopped_during_a_pause_stays_stopped(engine: OwnEngine) -> None:
    quiescer = ContainerQuiescer("box", engine=engine.address)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    command = quiescer.rescue_command(Quiesce.PAUSE)
    engine.call("stop", "--time=5", "box")
    assert run_rescue(command) == 0
    assert quiescer.observe().state is InstanceState.STOPPED
    with pytest.raises(ResumeError, match="box is exited"):
        quiescer.resume(Quiesce.PAUSE, soon())
    assert quiescer.observe().state is InstanceState.STOPPED


def test_run_and_engine_killed_together_the_guardian_waits_for_the_engine(engine: OwnEngine, tmp_path: Path) -> None:
    child = hold_forever(engine, tmp_path, Quiesce.PAUSE)
    engine.kill()
    kill(child)
    time.sleep(1)
    engine.up()
    quiescer = ContainerQuiescer("box", engine=engine.address)
    assert eventually(lambda: quiescer.observe().state is InstanceState.RUNNING, 15)
    assert eventually(lambda: Journal(tmp_path / "journal").records() == (), 15)
