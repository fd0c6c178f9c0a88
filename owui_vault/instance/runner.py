"""Starts and stops an instance by its own service, and asks whether it is well."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.errors import ResumeError, VaultError
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Application, ApplicationRunner, Clock, Observation, Quiescer

_HEALTH_SECONDS = 300.0
_DOWN_SECONDS = 20.0  # what fails to start is started again, but not for as long as something may start slowly
_WATCH_SECONDS = 10.0  # for what cannot be asked: it must not go down again that soon
_LOOK_SECONDS = 0.5
_TURN_SECONDS = 2.0  # of asking whether it is well; then whether it still runs is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRunner(ApplicationRunner):
    """`ports.ApplicationRunner` for an instance where it is, on the data that are there."""

    quiescer: Quiescer
    application: Application
    clock: Clock
    start_seconds: float
    stop_seconds: float

    def start(self) -> str:
        """Start the process, unit or container, and ask it, or watch it where it cannot be asked."""
        self.quiescer.resume(Quiesce.STOP, self._starting())
        return self._healthy() or self._watched()

    def stop(self) -> None:
        """Stop all of it."""
        self.quiescer.quiesce(Quiesce.STOP, self._deadline(self.stop_seconds))

    def _starting(self) -> Deadline:
        """As long as something may start slowly, but at an end once it is down although it has had its time."""
        # `resume` cannot be asked in turns: what is on its way then would be taken for what runs. So its clock looks.
        monotonic = self.clock.monotonic
        began = monotonic()

        def now() -> float:
            moment = monotonic()
            is_down = moment >= began + _DOWN_SECONDS and self._is_down()
            return max(moment, began + self.start_seconds) if is_down else moment

        return Deadline(began + self.start_seconds, now)

    def _healthy(self) -> str:
        """Ask it in short turns until it is well; between them see that it is not down."""
        until = self._deadline(_HEALTH_SECONDS)
        while True:
            turn = self._deadline(min(_TURN_SECONDS, until.remaining()))
            try:
                return self.application.wait_until_healthy(turn)
            except ResumeError:
                if not turn.passed() or until.passed() or self._is_down():
                    raise

    def _watched(self) -> str:
        """For what cannot be asked: whether it stays up for a while, and was not restarted meanwhile."""
        first, until = self._observation(), self._deadline(_WATCH_SECONDS)
        while not until.passed():
            self.clock.sleep(_LOOK_SECONDS)
            now = self._observation()
            if now is None:
                continue
            if now.state is not InstanceState.RUNNING or (first is not None and now.identity != first.identity):
                raise ResumeError(f"{self.quiescer.name} went down again", hint="Check its log.")
            first = first or now
        return f"not asked, it was not seen listening anywhere; it was still running after {_WATCH_SECONDS:g} s"

    def _is_down(self) -> bool:
        seen = self._observation()
        return seen is not None and seen.state is InstanceState.STOPPED

    def _observation(self) -> Observation | None:
        """What is to be seen; None while its engine does not answer, which says nothing about what runs."""
        try:
            return self.quiescer.observe()
        except VaultError:
            return None

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(self.clock.monotonic() + seconds, self.clock.monotonic)
