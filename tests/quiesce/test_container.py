"""Containers of a real Docker engine."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from owui_vault.containers.client import DEFAULT_ENGINE
from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.guardian.bounded_hold import Hold, HoldLimits, recover
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import rescue_environment
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce.container.quiescer import ContainerQuiescer
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.testing.quiescer_suite import QuiescerSuite, Subject, eventually, run_rescue, soon, writes_on
from tests.conftest import SOAK
from tests.podman import Podman, podman_service

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
HOLDER = Path(__file__).parent / "programs" / "holder.py"
PODMAN_IMAGE = "localhost/owui-vault-test"
IDLE = ("sleep", "600")  # two that write the same ledger would end each other
STOP_SECONDS = 5.0  # also how long a rescue waits for a stop that may still land


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


class Container(Subject):
    """The test application in a container, its data on a bind mount."""

    address = DEFAULT_ENGINE

    def __init__(self, image: str, folder: Path, *options: str, command: tuple[str, ...] = ()) -> None:
        self.name = f"owui-vault-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        folder.mkdir(exist_ok=True)
        mount = f"--volume={folder}:/app/backend/data"
        self.engine("run", "--detach", f"--name={self.name}", mount, *options, image, *command)
        assert eventually((folder / "webui.db").exists, 30)

    def engine(self, *arguments: str, check: bool = True) -> str:
        return docker(*arguments, check=check)

    def quiescer(self) -> ContainerQuiescer:
        return ContainerQuiescer(self.name, engine=self.address, stop_seconds=STOP_SECONDS)

    def writes(self) -> int:
        times = [0]
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):  # journals come and go
                times.append(path.stat().st_mtime_ns if path.is_file() else 0)
        return max(times)

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.engine("inspect", self.name))[0]["State"]
        return told

    def pause(self) -> None:
        self.engine("pause", self.name)

    def wake(self) -> None:
        self.engine("unpause", self.name, check=False)

    def stop(self) -> None:
        self.engine("unpause", self.name, check=False)
        self.engine("kill", self.name, check=False)
        assert eventually(lambda: self.told()["Running"] is False)

    def start(self) -> None:
        self.engine("start", self.name)
        assert writes_on(self)

    def remove(self) -> None:
        self.engine("unpause", self.name, check=False)
        self.engine("kill", self.name, check=False)  # Podman's `rm` would wait for a polite end
        self.engine("rm", "--force", "--volumes", self.name, check=False)


@pytest.fixture
def make(image: str, tmp_path: Path) -> Iterator[Callable[..., Container]]:
    made: list[Container] = []

    def build(*options: str, folder: str = "data", command: tuple[str, ...] = ()) -> Container:
        made.append(Container(image, tmp_path / folder, "--init", *options, command=command))
        return made[-1]

    yield build
    for each in made:
        each.remove()


@pytest.fixture
def container(make: Callable[..., Container]) -> Container:
    return make("--no-healthcheck")


class TestContainer(QuiescerSuite):
    @pytest.fixture
    def subject(self, container: Container) -> Subject:
        return container


class PodmanContainer(Container):
    """The same in Podman, whose socket speaks the same language with another accent."""

    APPLICATION = "/opt/application/application.py"
    SOURCE = Path(__file__).parents[1] / "docker" / "application"
    # What a machine without systemd and with few rights of its own allows.
    OPTIONS = (
        "--network=none",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1000:1000",
        f"--volume={SOURCE}:/opt/application:ro",
        "--env=DATA_DIR=/app/backend/data",
    )

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self.address = podman.address
        super().__init__(PODMAN_IMAGE, folder, *self.OPTIONS, command=("python3", self.APPLICATION, "serve"))

    def engine(self, *arguments: str, check: bool = True) -> str:
        return self.podman.run(*arguments, check=check)


@pytest.fixture(scope="module")
def podman(image: str, program: Callable[[str, str], Path]) -> Iterator[Podman]:
    assert image, "its root file system is what Podman gets as well"
    folder = Path(__file__).parents[2] / ".cache" / "images"
    newest = max(folder.glob("root-*.tar"), key=os.path.getmtime)
    with podman_service(program("podman", "the other engine"), program("runc", "containers of Podman")) as engine:
        engine.run("import", "--quiet", str(newest), PODMAN_IMAGE)
        yield engine


class TestPodman(QuiescerSuite):
    @pytest.fixture
    def subject(self, podman: Podman, tmp_path: Path) -> Iterator[Subject]:
        container = PodmanContainer(podman, tmp_path / "data")
        yield container
        container.remove()


def healthy(container: Container) -> bool:
    return eventually(lambda: container.told().get("Health", {}).get("Status") == "healthy", 30)


def test_no_such_container_is_named(image: str) -> None:
    with pytest.raises(InstanceNotFoundError, match="nobody-here"):
        ContainerQuiescer("nobody-here").observe()


def test_no_engine_is_told_with_a_hint(tmp_path: Path) -> None:
    quiescer = ContainerQuiescer("any", engine=f"unix://{tmp_path}/missing.sock")
    with pytest.raises(QuiesceError, match="no container engine answers") as caught:
        quiescer.observe()
    assert caught.value.hint
    with pytest.raises(QuiesceError, match="is not the address of a container engine"):
        ContainerQuiescer("any", engine="ssh://somewhere").observe()


def test_no_right_on_the_socket_names_the_right(container: Container, tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from owui_vault.quiesce.container.quiescer import ContainerQuiescer\n"
        "from owui_vault.errors import VaultError\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: ContainerQuiescer(sys.argv[2]).observe()\n"
        "except VaultError as error: print(error, error.hint)\n"
    )
    argv = [sys.executable, "-c", code, str(Path(__file__).parents[2]), container.name]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "group that owns the socket" in done.stdout, done.stderr


def test_a_container_that_the_engine_would_remove_is_never_stopped(make: Callable[..., Container]) -> None:
    container = make("--rm", "--no-healthcheck")
    quiescer = container.quiescer()
    assert quiescer.modes == {Quiesce.PAUSE}
    with pytest.raises(QuiesceError, match="removed by the engine"):
        quiescer.quiesce(Quiesce.STOP, soon())
    quiescer.quiesce(Quiesce.PAUSE, soon())
    quiescer.resume(Quiesce.PAUSE, soon())
    assert writes_on(container)


def test_what_is_still_starting_is_not_stopped(make: Callable[..., Container]) -> None:
    container = make("--health-interval=30s", "--health-start-period=60s")
    assert container.told()["Health"]["Status"] == "starting"
    with pytest.raises(QuiesceError, match="still starting"):
        container.quiescer().quiesce(Quiesce.STOP, soon())
    assert writes_on(container)


def test_after_a_stop_it_is_as_healthy_as_before(make: Callable[..., Container]) -> None:
    container = make()
    assert healthy(container)
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    quiescer.resume(Quiesce.STOP, soon(60))
    assert container.told()["Health"]["Status"] == "healthy"


def test_not_becoming_healthy_again_is_told(make: Callable[..., Container], tmp_path: Path) -> None:
    container = make("--health-cmd=test ! -e /app/backend/data/ill", "--health-retries=1", "--health-timeout=1s")
    assert healthy(container)
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    (container.folder / "ill").touch()
    with pytest.raises(ResumeError, match=r"unhealthy|starting"):
        quiescer.resume(Quiesce.STOP, soon(60))
    assert container.quiescer().observe().state is InstanceState.RUNNING


def test_what_we_started_may_be_stopped_again_and_what_fell_down_is_started(make: Callable[..., Container]) -> None:
    """What an in-place restore needs that has to lead back."""
    container = make("--health-cmd=test ! -e /app/backend/data/ill", "--health-retries=1", "--health-timeout=1s")
    assert healthy(container)
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    (container.folder / "ill").touch()
    with pytest.raises(ResumeError):
        quiescer.resume(Quiesce.STOP, soon(0.5))
    quiescer.quiesce(Quiesce.STOP, soon())
    assert quiescer.observe().state is InstanceState.STOPPED
    with pytest.raises(ResumeError):
        quiescer.resume(Quiesce.STOP, soon(0.5))
    container.stop()
    quiescer.quiesce(Quiesce.STOP, soon())
    (container.folder / "ill").unlink()
    quiescer.resume(Quiesce.STOP, soon(60))
    assert container.told()["Health"]["Status"] == "healthy"


def test_one_that_its_engine_starts_again_and_again_is_not_waited_for(make: Callable[..., Container]) -> None:
    falls = (
        "test ! -e /app/backend/data/ill || { sleep 0.5; exit 1; }; exec python3 /opt/application/application.py serve"
    )
    container = make("--restart=always", command=("sh", "-c", falls))
    assert healthy(container)
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    (container.folder / "ill").touch()
    began = time.monotonic()
    with pytest.raises(ResumeError, match=r"went down again|is restarting"):
        quiescer.resume(Quiesce.STOP, soon(60))
    assert time.monotonic() - began < 20
    quiescer.quiesce(Quiesce.STOP, soon())
    assert quiescer.observe().state is InstanceState.STOPPED
    (container.folder / "ill").unlink()
    quiescer.resume(Quiesce.STOP, soon(60))
    assert container.told()["Health"]["Status"] == "healthy"


def test_a_stop_that_needs_a_kill_is_logged(make: Callable[..., Container], caplog: pytest.LogCaptureFixture) -> None:
    container = make("--env=DEAF=1", "--no-healthcheck")
    quiescer = container.quiescer()
    with caplog.at_level(logging.WARNING):
        quiescer.quiesce(Quiesce.STOP, soon(3))
    assert "had to be killed" in caplog.text
    quiescer.resume(Quiesce.STOP, soon())
    assert writes_on(container)


def test_a_restart_policy_does_not_fight_a_stop(make: Callable[..., Container]) -> None:
    container = make("--restart=always", "--no-healthcheck")
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    since = quiescer.observe()
    time.sleep(1)
    quiescer.confirm(Quiesce.STOP, since)
    quiescer.resume(Quiesce.STOP, soon())
    assert writes_on(container)


def test_a_nap_in_between_is_noticed_although_it_is_paused_again(container: Container) -> None:
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    container.wake()
    assert writes_on(container)
    container.pause()
    with pytest.raises(QuiesceError, match="was running when"):
        quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())


def test_two_containers_are_quiet_together_and_no_third(make: Callable[..., Container]) -> None:
    first, second, other = make("--no-healthcheck"), make("--no-healthcheck", command=IDLE), make(folder="other")
    quiescer = ContainerQuiescer(first.name, second.name, stop_seconds=STOP_SECONDS)
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        quiescer.quiesce(mode, soon())
        assert first.quiescer().observe().state is not InstanceState.RUNNING
        assert second.quiescer().observe().state is not InstanceState.RUNNING
        quiescer.confirm(mode, quiescer.observe())
        quiescer.resume(mode, soon())
        assert writes_on(first)
        assert second.quiescer().observe().state is InstanceState.RUNNING
    assert other.quiescer().observe().state is InstanceState.RUNNING


def test_of_several_the_one_that_the_user_paused_or_stopped_stays_so(make: Callable[..., Container]) -> None:
    first, second = make("--no-healthcheck"), make("--no-healthcheck", command=IDLE)
    quiescer = ContainerQuiescer(first.name, second.name, stop_seconds=STOP_SECONDS)
    for by_hand, state in ((second.pause, InstanceState.PAUSED), (second.stop, InstanceState.STOPPED)):
        by_hand()
        for mode in (Quiesce.PAUSE, Quiesce.STOP):
            command = quiescer.rescue_command(mode)
            quiescer.quiesce(mode, soon())
            quiescer.confirm(mode, quiescer.observe())
            quiescer.resume(mode, soon())
            quiescer.resume(mode, soon())
            assert run_rescue(command) == 0
            assert first.quiescer().observe().state is InstanceState.RUNNING
            assert second.quiescer().observe().state is state


def test_a_container_removed_while_it_was_quiet_is_told(container: Container) -> None:
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    command = quiescer.rescue_command(Quiesce.PAUSE)
    container.remove()
    with pytest.raises(ResumeError, match="removed"):
        quiescer.resume(Quiesce.PAUSE, soon())
    assert run_rescue(command) == 0


def test_a_stopped_one_that_a_cleaner_removed_is_told_with_the_way_out(
    make: Callable[..., Container], tmp_path: Path
) -> None:
    """`docker container prune` takes what is stopped, ours too: nobody can start it again."""
    container = make("--no-healthcheck", "--label=owui-vault.test=pruned")
    journal = Journal(tmp_path / "journal")
    hold = Hold(container.quiescer(), journal, None, SystemClock(), HoldLimits(resume_seconds=20))
    with (
        pytest.raises(ResumeError, match=r"container \w+ was removed while it was stopped") as told,
        hold(Quiesce.STOP, 60),
    ):
        container.engine("container", "prune", "--force", "--filter", "label=owui-vault.test=pruned")
    assert told.value.exit_code == 4
    assert "owui-vault-test" in told.value.hint  # its image, since no Compose file made it
    with pytest.raises(ResumeError, match="can no longer be resumed"):
        recover(journal)
    assert recover(journal) == ()


def test_what_somebody_else_started_and_stopped_is_not_ours_to_start(container: Container) -> None:
    quiescer = container.quiescer()
    command = quiescer.rescue_command(Quiesce.STOP)
    quiescer.quiesce(Quiesce.STOP, soon())
    container.start()
    container.stop()
    assert run_rescue(command) == 0
    assert container.quiescer().observe().state is InstanceState.STOPPED


def test_a_stop_that_lands_after_the_death_is_undone_by_the_rescue(container: Container) -> None:
    """The engine carries a stop through; the rescue may come first."""
    command = container.quiescer().rescue_command(Quiesce.STOP)
    rescue = subprocess.Popen(command, env=rescue_environment(), stdin=subprocess.DEVNULL)
    time.sleep(1)
    docker("stop", "--time=3", container.name)
    assert rescue.wait(60) == 0
    assert container.quiescer().observe().state is InstanceState.RUNNING
    assert writes_on(container)


@pytest.mark.parametrize("mode", [Quiesce.PAUSE, Quiesce.STOP])
def test_killed_at_any_moment_the_container_runs_again(
    container: Container, tmp_path: Path, soak: Callable[[int], int], seed: random.Random, mode: Quiesce
) -> None:
    journal, lock = tmp_path / "journal", tmp_path / "lock"
    lock.mkdir()
    pause_seconds = 2.0 if SOAK >= 1 else 5.0  # with the machine for itself, as in make soak, or beside other tests
    back_seconds, count, span = (pause_seconds, 100, 0.6) if mode is Quiesce.PAUSE else (15.0, 100, 2.0)
    argv = [sys.executable, str(HOLDER), "container", container.name, mode.value, str(journal), str(lock)]
    for _ in range(soak(count)):
        with (tmp_path / "errors").open("wb") as errors:
            child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, env=rescue_environment())
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n", (tmp_path / "errors").read_text()
        time.sleep(seed.uniform(0, span))
        child.kill()
        assert child.wait() < 0, (tmp_path / "errors").read_text()
        child.stdout.close()
        died = time.monotonic()
        assert eventually(lambda: container.told()["Status"] == "running", back_seconds)
        assert writes_on(container, back_seconds)
        assert time.monotonic() - died <= back_seconds
    with directory_lock(lock, wait_seconds=30, clock=SystemClock(), what="it"):
        recover(Journal(journal))
    assert Journal(journal).records() == ()
    assert container.quiescer().observe().state is InstanceState.RUNNING


def test_a_rescue_fails_while_no_engine_answers(container: Container) -> None:
    command = container.quiescer().rescue_command(Quiesce.PAUSE)
    away = [each.replace("/var/run/docker.sock", "/nonexistent.sock") for each in command]
    done = subprocess.run([*away[:4], "--seconds=0.5", *away[4:]], env=rescue_environment(), check=False, cwd=os.sep)
    assert done.returncode == 1
