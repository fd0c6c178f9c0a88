"""The cutover of an in-place restore: stop, swap, start, and roll back if the instance does not come up.

However it ends, the data are rolled back before the instance is started, unless the swap was complete: by us, by the
guardian behind us, or by `recover`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.errors import CancelledError, RestoreError, RollbackError, VaultError
from owui_vault.guardian.bounded_hold import Holding
from owui_vault.instance.runner import InstanceRunner
from owui_vault.model import InstanceState, Progress, Quiesce, Step
from owui_vault.operations.recovery.rollback import require_databases_closed
from owui_vault.operations.recovery.rollback_quiescer import HOLD_SECONDS, guarded_hold, hold_limits
from owui_vault.operations.recovery.swap import InPlace, Swap, exchange, roll_back, write_down
from owui_vault.ports import Application, ApplicationRunner, Quiescer


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
        limits = hold_limits(self.context.limits)
        runner = InstanceRunner(
            quiescer=quiescer,
            application=self.application,
            clock=self.context.clock,
            start_seconds=limits.resume_seconds,
            stop_seconds=limits.stop_seconds,
        )
        hold = guarded_hold(self.context, quiescer, self.place, self.lock)
        with hold(Quiesce.STOP, HOLD_SECONDS) as held:
            warnings = hold.remarks.warnings
            require_databases_closed(self.place)
            swap = self._exchanged(swap_now)
            try:
                return CutoverResult(swap=swap, outage=timedelta(), health=runner.start(), warnings=warnings)
            except (VaultError, OSError) as error:
                self._roll_back(swap, runner, held, _text(error))
                raise RestoreError(
                    f"Open WebUI did not come up on the restored data ({_text(error)}); everything is as it was before",
                    hint="Check its log. The snapshot can be restored into a separate directory to look at it.",
                ) from error

    def _exchanged(self, swap_now: Callable[[], Swap]) -> Swap:
        swap = swap_now()
        try:
            write_down(swap, self.place.work)
            exchange(swap, self.place)
        except OSError as error:  # whoever is above rolls back what was done of it
            raise RestoreError(
                f"the data in {self.place.data.shown} could not be replaced ({error}); everything is as it was before",
                hint="Remove what is in the way, then try again.",
            ) from error
        return swap

    def _roll_back(self, swap: Swap, runner: ApplicationRunner, held: Holding, reason: str) -> None:
        try:
            # A rescue knows what was started since, or it would take that for somebody else's.
            held.renew()
            # From here on a crash must roll back, although the exchange was complete: the mark comes before the stop.
            write_down(replace(swap, back=True), self.place.work)
            runner.stop()
            require_databases_closed(self.place, swap)
            roll_back(self.place)
            runner.start()
        except (VaultError, OSError) as error:
            raise RollbackError(
                f"Open WebUI did not come up on the restored data ({reason}),"
                f" nor on the previous data ({_text(error)})",
                hint=f"Check its log, and what is in {self.place.data.shown}; `recover` rolls back what is half done.",
            ) from error


def _text(error: Exception) -> str:
    return error.message if isinstance(error, VaultError) else str(error)
