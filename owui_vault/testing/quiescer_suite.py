"""What every quiescer must do: subclass `QuiescerSuite`, give it a subject, and pytest runs the claims.

class TestMine(QuiescerSuite):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Iterator[Subject]:
        yield MySubject(tmp_path)      # a running instance, and what an operator can do to it
"""

# ruff: noqa: D102 - the name of a claim is its docstring
from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import pytest

from owui_vault.errors import QuiesceError
from owui_vault.guardian.rescue_command import rescue_environment
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Quiescer

LOOK_SECONDS = 0.15  # long enough for a running subject to write something


class Subject(ABC):
    """A running instance under test, seen by its operator. What he cannot do to it raises `pytest.skip.Exception`."""

    @abstractmethod
    def quiescer(self) -> Quiescer:
        """A new quiescer for it."""

    @abstractmethod
    def writes(self) -> int:
        """How often it has written so far; it never stops writing while it runs."""

    @abstractmethod
    def pause(self) -> None:
        """Pause it by hand."""

    @abstractmethod
    def wake(self) -> None:
        """Undo `pause`, whoever paused it."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it by hand, paused or not."""

    @abstractmethod
    def start(self) -> None:
        """Start it by hand, and wait until it runs."""


def soon(seconds: float = 30.0) -> Deadline:
    """A deadline on the real clock."""
    return Deadline(time.monotonic() + seconds, time.monotonic)


def eventually(claim: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the claim comes true in time."""
    until = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def writes_on(subject: Subject, seconds: float = 10.0) -> bool:
    """Whether it writes within this time."""
    before = subject.writes()
    return eventually(lambda: subject.writes() > before, seconds)


def is_silent(subject: Subject) -> bool:
    """Whether it wrote nothing for a while."""
    before = subject.writes()
    time.sleep(LOOK_SECONDS)
    return subject.writes() == before


def run_rescue(command: tuple[str, ...]) -> int:
    """Run a rescue as the guardian does; its status."""
    nothing = subprocess.DEVNULL
    done = subprocess.run(command, env=rescue_environment(), stdin=nothing, timeout=120, cwd="/", check=False)
    return done.returncode


class QuiescerSuite:
    """The claims. Each gets a subject that runs and was not touched. Override `modes` when it cannot do both."""

    modes: tuple[Quiesce, ...] = (Quiesce.PAUSE, Quiesce.STOP)

    @pytest.fixture
    def subject(self) -> Subject:
        """Override: a running instance. Tear it down after the yield, paused or not."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each claim that names `mode` is made for each mode the quiescer has."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", self.modes, ids=[mode.value for mode in self.modes])

    def test_it_offers_the_modes_it_is_tested_for(self, subject: Subject) -> None:
        assert subject.quiescer().modes == set(self.modes)

    def test_a_running_instance_is_seen_as_running(self, subject: Subject) -> None:
        assert subject.quiescer().observe().state is InstanceState.RUNNING

    def test_it_has_a_name(self, subject: Subject) -> None:
        assert subject.quiescer().name.strip()

    def test_quiet_means_that_nothing_is_written(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        assert writes_on(subject)
        quiescer.quiesce(mode, soon())
        assert is_silent(subject)
        quiescer.resume(mode, soon())
        assert writes_on(subject)
        assert quiescer.observe().state is InstanceState.RUNNING

    def test_quiescing_and_resuming_twice_is_like_once(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        for _ in range(2):
            quiescer.quiesce(mode, soon())
        assert is_silent(subject)
        for _ in range(2):
            quiescer.resume(mode, soon())
        assert writes_on(subject)

    def test_resuming_what_runs_changes_nothing(self, subject: Subject, mode: Quiesce) -> None:
        before = subject.quiescer().observe()
        subject.quiescer().resume(mode, soon())
        assert subject.quiescer().observe() == before

    def test_quiet_can_be_taken_many_times(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        for _ in range(3):
            quiescer.quiesce(mode, soon())
            since = quiescer.observe()
            quiescer.confirm(mode, since)
            quiescer.resume(mode, soon())
        assert writes_on(subject)

    def test_a_pause_keeps_the_identity(self, subject: Subject) -> None:
        quiescer = subject.quiescer()
        before = quiescer.observe()
        quiescer.quiesce(Quiesce.PAUSE, soon())
        during = quiescer.observe()
        quiescer.resume(Quiesce.PAUSE, soon())
        assert during.state is InstanceState.PAUSED
        assert before.identity == during.identity == quiescer.observe().identity

    def test_a_new_start_changes_the_identity(self, subject: Subject) -> None:
        before = subject.quiescer().observe()
        subject.stop()
        subject.start()
        assert subject.quiescer().observe().identity != before.identity

    def test_quiet_that_lasted_is_confirmed(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        quiescer.quiesce(mode, soon())
        since = quiescer.observe()
        time.sleep(LOOK_SECONDS)
        quiescer.confirm(mode, since)
        quiescer.confirm(mode, since)
        quiescer.resume(mode, soon())

    def test_a_pause_ended_by_somebody_else_is_not_confirmed(self, subject: Subject) -> None:
        quiescer = subject.quiescer()
        quiescer.quiesce(Quiesce.PAUSE, soon())
        since = quiescer.observe()
        subject.wake()
        with pytest.raises(QuiesceError):
            quiescer.confirm(Quiesce.PAUSE, since)
        quiescer.resume(Quiesce.PAUSE, soon())
        assert writes_on(subject)

    def test_a_start_by_somebody_else_is_not_confirmed(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        quiescer.quiesce(mode, soon())
        since = quiescer.observe()
        subject.stop()
        subject.start()
        with pytest.raises(QuiesceError):
            quiescer.confirm(mode, since)

    def test_what_is_not_offered_is_refused_and_harmless(self, subject: Subject) -> None:
        quiescer = subject.quiescer()
        for mode in set(Quiesce) - quiescer.modes:
            with pytest.raises(QuiesceError):
                quiescer.quiesce(mode, soon())
        assert writes_on(subject)

    def test_no_time_means_undone(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        with pytest.raises(QuiesceError):
            quiescer.quiesce(mode, soon(0.0))
        assert quiescer.observe().state is InstanceState.RUNNING
        assert writes_on(subject)

    def test_the_rescue_brings_it_back_and_may_be_repeated(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        command = quiescer.rescue_command(mode)
        quiescer.quiesce(mode, soon())
        assert run_rescue(command) == 0
        assert writes_on(subject)
        before = quiescer.observe()
        assert run_rescue(command) == 0
        assert quiescer.observe() == before

    def test_the_rescue_can_be_asked_for_at_any_time(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        quiescer.quiesce(mode, soon())
        assert run_rescue(quiescer.rescue_command(mode)) == 0
        assert writes_on(subject)

    def test_resuming_after_a_rescue_is_no_error(self, subject: Subject, mode: Quiesce) -> None:
        quiescer = subject.quiescer()
        command = quiescer.rescue_command(mode)
        quiescer.quiesce(mode, soon())
        assert run_rescue(command) == 0
        quiescer.resume(mode, soon())
        assert writes_on(subject)

    def test_the_rescue_of_a_pause_does_not_start_what_was_stopped(self, subject: Subject) -> None:
        command = subject.quiescer().rescue_command(Quiesce.PAUSE)
        subject.stop()
        assert run_rescue(command) == 0
        assert subject.quiescer().observe().state is InstanceState.STOPPED

    def test_a_pause_by_hand_is_seen(self, subject: Subject) -> None:
        subject.pause()
        assert subject.quiescer().observe().state is InstanceState.PAUSED
        subject.wake()
        assert subject.quiescer().observe().state is InstanceState.RUNNING

    def test_a_stop_by_hand_is_seen(self, subject: Subject) -> None:
        subject.stop()
        assert subject.quiescer().observe().state is InstanceState.STOPPED
        subject.start()
        assert subject.quiescer().observe().state is InstanceState.RUNNING
