"""The cutover of an in-place restore: stop, swap, start, and roll back if the instance does not come up.

However it ends, the data are rolled back before the instance is started, unless the swap was complete: by us, by the
guardian behind us, or by `recover`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.errors import CancelledError, RestoreError, ResumeError, RollbackError, VaultError
from owui_vault.guardian.bounded_hold import Holding
from owui_vault.model import Deadline, InstanceState, Progress, Quiesce, Step
from owui_vault.operations.recovery.rollback import require_databases_closed
from owui_vault.operations.recovery.rollback_quiescer import HOLD_SECONDS, guarded_hold, hold_limits
from owui_vault.operations.recovery.swap import InPlace, Swap, exchange, roll_back, write_down
from owui_vault.ports import Application, Observation, Quiescer

_HEALTH_SECONDS = 300.0
_DOWN_SECONDS = 20.0  # what fails to start is started again, but not for as long as something may start slowly
_WATCH_SECONDS = 10.0  # for what cannot be asked: it must not go down again that soon
_LOOK_SECONDS = 0.5
_TURN_SECONDS = 2.0  # of asking whether it is well; then whether it still runs is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoverResult:
    """An exchange that is complete, on which the instance runs again if it ran before."""

    swap: Swap
    outage: timedelta
    health: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutover:
    """One exchange in one data directory, whose lock is held."""

    context: OperationContext
    application: Application
    lock: int
    place: InPlace

    def run(self, swap_now: Callable[[], Swap], callbacks: Callbacks) -> CutoverResult:
        """Carry out the swap that `swap_now` returns once nothing is running any more.

        Raises RestoreError with everything as it was, QuiesceError likewise, or RollbackError.
        """
        if callbacks.cancel.is_set():  # nothing was changed yet; from here on it is brought to an end, one or the other
            raise CancelledError("stopped before anything was replaced")
        callbacks.progress(Progress(step=Step.REPLACE, text=f"replacing the data in {self.place.data.shown}"))
        quiescer = self.context.quiescer
        if quiescer is None or quiescer.observe().state is InstanceState.STOPPED:
            require_databases_closed(self.place)
            swap = self._exchanged(swap_now)
            return CutoverResult(swap=swap, outage=timedelta(), health="not asked: it was not running before")
        began = self.context.clock.monotonic()
        done = self._stopped_and_started(swap_now, quiescer)
        return replace(done, outage=timedelta(seconds=self.context.clock.monotonic() - began))

    def _stopped_and_started(self, swap_now: Callable[[], Swap], quiescer: Quiescer) -> CutoverResult:
        hold = guarded_hold(self.context, quiescer, self.place, self.lock)
        with hold(Quiesce.STOP, HOLD_SECONDS) as held:
            warnings = hold.remarks.warnings
            require_databases_closed(self.place)
            swap = self._exchanged(swap_now)
            try:
                return CutoverResult(swap=swap, outage=timedelta(), health=self._start(quiescer), warnings=warnings)
            except (VaultError, OSError) as error:
                self._roll_back(swap, quiescer, held, _text(error))
                raise RestoreError(
                    f"Open WebUI did not come up on the restored data ({_text(error)}); everything is as it was before",
                    hint="Check its log. The snapshot can be restored into a separate directory to look at it.",
                ) from error

    def _exchanged(self, swap_now: Callable[[], Swap]) -> Swap:
        swap = swap_now()
        try:
            self._write(swap)
            exchange(swap, self.place)
        except OSError as error:  # whoever is above rolls back what was done of it
            raise RestoreError(
                f"the data in {self.place.data.shown} could not be replaced ({error}); everything is as it was before",
                hint="Remove what is in the way, then try again.",
            ) from error
        return swap

    def _write(self, swap: Swap) -> None:
        write_down(swap, self.place.work)

    def _start(self, quiescer: Quiescer) -> str:
        quiescer.resume(Quiesce.STOP, self._starting(quiescer))
        return self._healthy(quiescer) or self._watched(quiescer)

    def _starting(self, quiescer: Quiescer) -> Deadline:
        """As long as something may start slowly, but at an end once it is down although it has had its time."""
        # `resume` cannot be asked in turns: what is on its way then would be taken for what runs. So its clock looks.
        monotonic = self.context.clock.monotonic
        began, seconds = monotonic(), hold_limits(self.context).resume_seconds

        def now() -> float:
            moment = monotonic()
            is_down = moment >= began + _DOWN_SECONDS and _is_down(quiescer)
            return max(moment, began + seconds) if is_down else moment

        return Deadline(began + seconds, now)

    def _healthy(self, quiescer: Quiescer) -> str:
        """Ask it in short turns until it is well; between them see that it is not down."""
        until = self._deadline(_HEALTH_SECONDS)
        while True:
            turn = self._deadline(min(_TURN_SECONDS, until.remaining()))
            try:
                return self.application.wait_until_healthy(turn)
            except ResumeError:
                if not turn.passed() or until.passed() or _is_down(quiescer):
                    raise

    def _watched(self, quiescer: Quiescer) -> str:
        """For what cannot be asked: whether it stays up for a while, and was not restarted meanwhile."""
        first, until = _seen(quiescer), self._deadline(_WATCH_SECONDS)
        while not until.passed():
            self.context.clock.sleep(_LOOK_SECONDS)
            now = _seen(quiescer)
            if now is None:
                continue
            if now.state is not InstanceState.RUNNING or (first is not None and now.identity != first.identity):
                raise ResumeError(f"{quiescer.name} went down again", hint="Check its log.")
            first = first or now
        return f"not asked, it was not seen listening anywhere; it was still running after {_WATCH_SECONDS:g} s"

    def _roll_back(self, swap: Swap, quiescer: Quiescer, held: Holding, reason: str) -> None:
        try:
            # A rescue knows what was started since, or it would take that for somebody else's.
            held.renew()
            # From here on a crash must roll back, although the exchange was complete: the mark comes before the stop.
            self._write(replace(swap, back=True))
            quiescer.quiesce(Quiesce.STOP, self._deadline(hold_limits(self.context).stop_seconds))
            require_databases_closed(self.place, swap)
            roll_back(self.place)
            self._start(quiescer)
        except (VaultError, OSError) as error:
            raise RollbackError(
                f"Open WebUI did not come up on the restored data ({reason}),"
                f" nor on the previous data ({_text(error)})",
                hint=f"Check its log, and what is in {self.place.data.shown}; `recover` rolls back what is half done.",
            ) from error

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(self.context.clock.monotonic() + seconds, self.context.clock.monotonic)


def _seen(quiescer: Quiescer) -> Observation | None:
    """What is to be seen; None while its engine does not answer, which says nothing about what runs."""
    try:
        return quiescer.observe()
    except VaultError:
        return None


def _is_down(quiescer: Quiescer) -> bool:
    seen = _seen(quiescer)
    return seen is not None and seen.state is InstanceState.STOPPED


def _text(error: Exception) -> str:
    return error.message if isinstance(error, VaultError) else str(error)
