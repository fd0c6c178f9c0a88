"""Stops the instance for a swap. Every way of starting it again first rolls back a swap that was not finished."""

from __future__ import annotations

from pathlib import Path

from owui_vault.context.context import Limits, OperationContext
from owui_vault.errors import ResumeError, VaultError
from owui_vault.guardian.bounded_hold import Hold, HoldLimits
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import rescue
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.operations.recovery.rollback import require_databases_closed
from owui_vault.operations.recovery.swap import RECORD, InPlace, Swap, pending_swap, roll_back
from owui_vault.ports import Launch, Observation, Quiescer, Remarks

HOLD_SECONDS = 3600.0  # renames take no time; start, health check and the way back do


def guarded_hold(context: OperationContext, quiescer: Quiescer, place: InPlace, lock: int) -> Hold:
    """Holds `quiescer` for a run that has the lock of the data directory, with guardian and journal behind it."""
    journal = Journal(context.state.journal_folder(context.the_instance().name, place.data.shown))
    return Hold(RollbackQuiescer(quiescer, place), journal, lock, context.clock, hold_limits(context.limits))


def hold_limits(limits: Limits) -> HoldLimits:
    """The bounds of a stop, as configured."""
    stop_seconds = limits.capture.stop_seconds
    return HoldLimits(stop_seconds=stop_seconds, stop_grace_seconds=stop_seconds)


class RollbackQuiescer(Quiescer):
    """A quiescer that rolls back an incomplete swap before it resumes, as its rescue does."""

    def __init__(self, quiescer: Quiescer, place: InPlace) -> None:
        self._quiescer = quiescer
        self._place = place

    @property
    def name(self) -> str:
        """The quiescer's own."""
        return self._quiescer.name

    @property
    def modes(self) -> frozenset[Quiesce]:
        """The quiescer's own."""
        return self._quiescer.modes

    @property
    def remarks(self) -> Remarks:
        """The quiescer's own."""
        return self._quiescer.remarks

    def launch(self) -> Launch | None:
        """The quiescer's own."""
        return self._quiescer.launch()

    def places(self) -> tuple[Path, ...]:
        """The quiescer's own."""
        return self._quiescer.places()

    def observe(self) -> Observation:
        """Look."""
        return self._quiescer.observe()

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        """Stop it."""
        self._quiescer.quiesce(mode, deadline)

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        """Whether it stayed so."""
        self._quiescer.confirm(mode, since)

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        """Roll back what is half finished, then start. Raises ResumeError, with nothing started, if that fails."""
        try:
            swap = pending_swap(self._place)
            if swap:
                self._ensure_stopped(swap, deadline)
                roll_back(self._place)
        except (OSError, VaultError) as error:
            reason = error.message if isinstance(error, VaultError) else error
            raise ResumeError(
                f"the data in {self._place.data.shown} are half replaced and could not be rolled back: {reason}",
                hint="Nothing was started on them. Remove what is in the way, then run `recover`.",
            ) from error
        self._quiescer.resume(mode, deadline)

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        """`rescue rollback …`, with the quiescer's own rescue behind it."""
        return (*rescue("rollback", self._place.work.called(RECORD)), *self._quiescer.rescue_command(mode))

    def _ensure_stopped(self, swap: Swap, deadline: Deadline) -> None:
        if self._quiescer.observe().state is not InstanceState.STOPPED:
            self._quiescer.quiesce(Quiesce.STOP, deadline)
        require_databases_closed(self._place, swap)
