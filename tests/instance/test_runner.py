"""An instance that is started comes up, or that is said in bounded time; by a clock that passes only in its waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault import Deadline, InstanceState, Observation, Quiesce, QuiesceError, ResumeError
from owui_vault.instance.runner import InstanceRunner
from owui_vault.testing.fakes import FakeClock, FakeQuiescer


class Application:
    """Well after so many seconds; one that cannot be asked says nothing."""

    def __init__(self, clock: FakeClock, *, well_after: float = 0.0, says: str = "answers") -> None:
        self.clock, self.says = clock, says
        self.well_at = clock.monotonic() + well_after

    def revisions(self) -> frozenset[str] | None:
        return None

    def wait_until_healthy(self, deadline: Deadline) -> str:
        while self.says and self.clock.monotonic() < self.well_at:
            if deadline.passed():
                raise ResumeError("does not answer")
            self.clock.sleep(0.5)
        return self.says


class Tiring(FakeClock):
    """Something happens to the instance once so much time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.at = float("inf")
        self.happens: Callable[[], None] = lambda: None

    def advance(self, span: timedelta) -> None:
        super().advance(span)
        if self.monotonic() >= self.at:
            self.at = float("inf")
            self.happens()


class StartsNothing(FakeQuiescer):
    """Its start does nothing, and waits for it as long as it may."""

    clock: FakeClock

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        while not deadline.passed():
            self.clock.sleep(1)
        raise ResumeError(f"{self.name} does not start ({mode.value})")


class Silent(FakeQuiescer):
    """Nobody can say whether it runs."""

    def observe(self) -> Observation:
        raise QuiesceError("the engine does not answer")


@pytest.fixture
def clock() -> Tiring:
    return Tiring()


def runner_of(quiescer: FakeQuiescer, application: Application, clock: FakeClock) -> InstanceRunner:
    return InstanceRunner(
        quiescer=quiescer, application=application, clock=clock, start_seconds=90.0, stop_seconds=30.0
    )


@pytest.fixture
def stopped(tmp_path: Path) -> FakeQuiescer:
    quiescer = FakeQuiescer(tmp_path)
    quiescer.instance.set(InstanceState.STOPPED)
    return quiescer


def test_it_runs_and_answers_and_is_stopped_again(stopped: FakeQuiescer, clock: Tiring) -> None:
    runner = runner_of(stopped, Application(clock, well_after=12), clock)
    assert runner.start() == "answers"
    assert stopped.observe().state is InstanceState.RUNNING
    runner.stop()
    assert stopped.observe().state is InstanceState.STOPPED


def test_what_runs_but_never_answers_is_given_up_after_five_minutes(stopped: FakeQuiescer, clock: Tiring) -> None:
    began = clock.monotonic()
    with pytest.raises(ResumeError, match="does not answer"):
        runner_of(stopped, Application(clock, well_after=1000), clock).start()
    assert 300 <= clock.monotonic() - began < 305


def test_what_goes_down_is_not_waited_for_as_long_as_what_comes_up_slowly(stopped: FakeQuiescer, clock: Tiring) -> None:
    began = clock.monotonic()
    clock.at, clock.happens = began + 5, lambda: stopped.instance.set(InstanceState.STOPPED)
    with pytest.raises(ResumeError, match="does not answer"):
        runner_of(stopped, Application(clock, well_after=1000), clock).start()
    assert clock.monotonic() - began < 10


def test_a_start_that_starts_nothing_ends_before_the_time_of_a_slow_one(stopped: FakeQuiescer, clock: Tiring) -> None:
    quiescer = StartsNothing(stopped.instance.path.parent)
    quiescer.clock = clock
    began = clock.monotonic()
    with pytest.raises(ResumeError, match="does not start"):
        runner_of(quiescer, Application(clock), clock).start()
    assert 20 <= clock.monotonic() - began < 25


@pytest.mark.parametrize("then", [InstanceState.STOPPED, InstanceState.RUNNING], ids=["down", "another one"])
def test_what_cannot_be_asked_has_to_stay_the_same_one_for_a_while(
    stopped: FakeQuiescer, clock: Tiring, then: InstanceState
) -> None:
    def happens() -> None:
        stopped.instance.set(InstanceState.STOPPED)
        if then is InstanceState.RUNNING:
            stopped.instance.set(InstanceState.RUNNING)

    clock.at, clock.happens = clock.monotonic() + 8, happens
    with pytest.raises(ResumeError, match="went down again"):
        runner_of(stopped, Application(clock, says=""), clock).start()


def test_what_cannot_be_asked_and_stays_is_said_to_run(stopped: FakeQuiescer, clock: Tiring) -> None:
    assert "still running after 10 s" in runner_of(stopped, Application(clock, says=""), clock).start()


def test_an_engine_that_is_silent_says_nothing_against_what_answers(stopped: FakeQuiescer, clock: Tiring) -> None:
    quiescer = Silent(stopped.instance.path.parent)
    assert runner_of(quiescer, Application(clock, well_after=60), clock).start() == "answers"
