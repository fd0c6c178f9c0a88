"""Containers held along with the one that matters: helpers come and go, and that breaks nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce.container.quiescer import ContainerQuiescer
from owui_vault.testing.quiescer_suite import run_rescue, soon, writes_on
from tests.quiesce.test_container import Container, docker, make  # noqa: F401  a fixture: pytest looks for it here

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]


@pytest.fixture
def first(make: Callable[..., Container]) -> Container:  # noqa: F811  the fixture of that name
    return make("--no-healthcheck")


@pytest.fixture
def helper(first: Container, image: str) -> Iterator[Callable[..., str]]:
    """`helper("sleep", "600")`: the id of a short-lived container on the same data."""
    names: list[str] = []

    def start(*command: str) -> str:
        names.append(f"owui-vault-{uuid.uuid4().hex[:8]}")
        options = ("--detach", "--rm", "--init", "--no-healthcheck", f"--name={names[-1]}")
        return docker("run", *options, f"--volumes-from={first.name}", image, *command)

    yield start
    for name in names:
        docker("rm", "--force", name, check=False)


def quiescer_of(first: Container, other: str) -> ContainerQuiescer:
    return ContainerQuiescer(first.name, other, stop_seconds=5, names=("open-webui", "helper"))


@pytest.mark.parametrize("seen", [False, True])
def test_a_helper_that_ended_before_it_was_held_is_left_out(
    first: Container, helper: Callable[..., str], seen: bool
) -> None:
    other = helper("sleep", "600")
    quiescer = quiescer_of(first, other)
    before = quiescer.observe() if seen else None
    docker("rm", "--force", other)
    modes = quiescer.modes
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        assert mode in modes
        command = quiescer.rescue_command(mode)
        quiescer.quiesce(mode, soon())
        since = quiescer.observe()
        assert before is None or since.identity == before.identity, "nobody was started anew"
        quiescer.confirm(mode, since)
        quiescer.resume(mode, soon())
        before = None
        assert run_rescue(command) == 0
        assert writes_on(first)


def test_the_first_one_must_be_there(first: Container, helper: Callable[..., str]) -> None:
    quiescer = ContainerQuiescer("nobody-here", first.name)
    with pytest.raises(InstanceNotFoundError, match="nobody-here"):
        quiescer.observe()


def test_a_helper_that_is_removed_while_it_is_paused_breaks_the_quiet(
    first: Container, helper: Callable[..., str]
) -> None:
    other = helper("sleep", "600")
    quiescer = quiescer_of(first, other)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    docker("rm", "--force", other)
    with pytest.raises(QuiesceError, match="is removed"):
        quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())
    assert writes_on(first)


def test_a_helper_that_ends_once_it_is_woken_is_no_failure(first: Container, helper: Callable[..., str]) -> None:
    """It goes on where it was, and is done: nothing of that is ours to bring back."""
    for _ in range(5):
        quiescer = quiescer_of(first, helper("sh", "-c", "sleep 0.4"))
        with suppress(QuiesceError):  # it may end while it is being paused
            quiescer.quiesce(Quiesce.PAUSE, soon())
        time.sleep(0.5)
        quiescer.resume(Quiesce.PAUSE, soon())
        assert quiescer.observe().state is InstanceState.RUNNING


def test_messages_speak_of_names_and_never_of_ids(first: Container, helper: Callable[..., str]) -> None:
    other = helper("sleep", "600")
    ids = [docker("inspect", "-f", "{{.Id}}", each) for each in (first.name, other)]
    quiescer = ContainerQuiescer(*ids, stop_seconds=5, names=("open-webui", "helper"))
    assert quiescer.name == "container open-webui and helper"
    quiescer.quiesce(Quiesce.PAUSE, soon())
    docker("kill", ids[0])
    with pytest.raises(ResumeError) as caught:
        quiescer.resume(Quiesce.PAUSE, soon())
    assert ids[0] not in caught.value.message
    assert first.name in caught.value.message
    assert docker("inspect", "-f", "{{.State.Status}}", other) == "running"


def test_a_stop_that_needs_a_kill_is_remarked(make: Callable[..., Container]) -> None:  # noqa: F811  the fixture of that name
    container = make("--env=DEAF=1", "--no-healthcheck")
    quiescer = container.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon(3))
    (warning,) = quiescer.remarks.warnings
    assert f"container {container.name} had to be killed" in warning
    quiescer.resume(Quiesce.STOP, soon())
    quiescer.quiesce(Quiesce.PAUSE, soon())
    assert quiescer.remarks.warnings == ()
    assert quiescer.remarks.unchecked == (), "its processes are this machine's"
    quiescer.resume(Quiesce.PAUSE, soon())
