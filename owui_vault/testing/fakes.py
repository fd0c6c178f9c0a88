"""A clock under the test's control and an instance made of one small file: for tests of code built on the Protocols.

`FakeQuiescer` passes the same conformance suite as the real ones. Its instance lives in a directory, so that its rescue
works from another process, as it must.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.guardian.rescue_command import rescue
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Observation, Quiescer
from owui_vault.system.durable_files import write_durably

_QUIET = {Quiesce.PAUSE: InstanceState.PAUSED, Quiesce.STOP: InstanceState.STOPPED}


class FakeClock:
    """Time that passes only when it is told to, or slept through (`ports.Clock`)."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The wall clock."""
        return self._now

    def monotonic(self) -> float:
        """Seconds."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Pass at once."""
        self.advance(timedelta(seconds=seconds))

    def advance(self, span: timedelta) -> None:
        """Let time pass on both clocks."""
        self._now += span
        self._monotonic += span.total_seconds()

    def set(self, now: datetime) -> None:
        """Set the wall clock, backwards if need be; the monotonic one does not notice."""
        self._now = now


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeState:
    """What the file of a fake instance says: also how often it was started, and how often made quiet."""

    state: str = InstanceState.RUNNING.value
    starts: int = 1
    sleeps: int = 0


class FakeInstance:
    """An instance that is nothing but its state. `set` is what an operator does to it behind our back."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "instance.json"
        if not self.path.exists():
            self._write(FakeState())

    def read(self) -> FakeState:
        """Its state now. Raises InstanceNotFoundError once its file is gone."""
        try:
            return FakeState(**json.loads(self.path.read_text()))
        except FileNotFoundError as error:
            raise InstanceNotFoundError(f"there is no instance at {self.path}") from error

    def set(self, state: InstanceState) -> None:
        """Pause, stop or start it. Starting it again changes its identity; waking it does not."""
        now = self.read()
        before = InstanceState(now.state)
        started = before is InstanceState.STOPPED and state is not InstanceState.STOPPED
        slept = before is InstanceState.RUNNING and state is not InstanceState.RUNNING
        self._write(replace(now, state=state.value, starts=now.starts + started, sleeps=now.sleeps + slept))

    def _write(self, state: FakeState) -> None:
        write_durably(self.path, json.dumps(asdict(state)).encode())


class FakeQuiescer(Quiescer):
    """Quiesces a `FakeInstance`.

    `failures` maps the name of a call to how many of its next calls raise what that call may raise.
    """

    def __init__(self, directory: Path, modes: frozenset[Quiesce] = frozenset(_QUIET)) -> None:
        self.instance = FakeInstance(directory)
        self.failures: dict[str, int] = {}
        self._modes = modes
        self._sleeps: int | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return "fake instance"

    @property
    def modes(self) -> frozenset[Quiesce]:
        """As made."""
        return self._modes

    def observe(self) -> Observation:
        """Look."""
        now = self.instance.read()
        return Observation(InstanceState(now.state), str(now.starts))

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        """Set the state."""
        if mode not in self._modes:
            raise QuiesceError(f"{self.name} cannot be quiesced by {mode.value}")
        if deadline.passed() or self._fails("quiesce"):
            raise QuiesceError(f"{self.name} did not become quiet in time")
        self.instance.set(_QUIET[mode])
        self._sleeps = self.instance.read().sleeps

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        """Compare state, identity and the count of sleeps."""
        now = self.observe()
        same = now.identity == since.identity and self.instance.read().sleeps == self._sleeps
        if now.state is not _QUIET[mode] or not same or self._fails("confirm"):
            raise QuiesceError(f"{self.name} did not stay quiet")

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        """Set the state, if it is the one this mode makes."""
        if deadline.passed() or self._fails("resume"):
            raise ResumeError(f"{self.name} did not come back", hint="This is a test.")
        _wake(self.instance, mode)
        self._sleeps = None

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        """`rescue fake …`."""
        return rescue("fake", str(self.instance.path.parent), mode.value)

    def _fails(self, call: str) -> bool:
        left = self.failures.get(call, 0)
        self.failures[call] = max(0, left - 1)
        return left > 0


def _wake(instance: FakeInstance, mode: Quiesce) -> None:
    if instance.read().state == _QUIET[mode].value:
        instance.set(InstanceState.RUNNING)


def _rescue(directory: str, mode: str) -> None:
    _wake(FakeInstance(Path(directory)), Quiesce(mode))


def _down(directory: str, mode: str) -> None:
    FakeInstance(Path(directory)).set(_QUIET[Quiesce(mode)])


def main(arguments: Sequence[str]) -> int:
    """What `python -m owui_vault.rescue fake` does."""
    if arguments[0] == "--down":
        _down(*arguments[1:])
    else:
        _rescue(*arguments)
    return 0
