"""The moment of truth of an in-place restore: stop, exchange, start, and back again if it does not come up.

Whatever ends it, the data are led back before the instance is started, unless the exchange was complete: by us, by the
guardian that stands behind us, or by `recover`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from owui_vault.errors import QuiesceError, RestoreError, ResumeError, RollbackError, VaultError
from owui_vault.instance.surroundings import look_around
from owui_vault.model import Deadline, InstanceState, Progress, Quiesce, Step
from owui_vault.ports import Application, Observation, Quiescer
from owui_vault.vault import aside
from owui_vault.vault.hold import Hold, HoldLimits
from owui_vault.vault.journal import Journal
from owui_vault.vault.parts import Parts, Watch
from owui_vault.vault.swap import Swap, exchange, lead_back, undo, write_down

_HEALTH_SECONDS = 300.0
_HOLD_SECONDS = 3600.0  # renames take no time; start, health check and the way back do


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An exchange that is complete, on which the instance runs again if it ran before."""

    swap: Swap
    outage: timedelta
    health: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutover:
    """One exchange in one data directory, whose lock is held."""

    parts: Parts
    application: Application
    lock: int
    data_dir: Path

    def carry_out(self, swap_now: Callable[[], Swap], watch: Watch) -> Done:
        """Exchange what `swap_now` says once nothing runs any more.

        Raises RestoreError with everything as it was, QuiesceError likewise, or RollbackError.
        """
        watch.progress(Progress(step=Step.REPLACE, text=f"exchanging the data in {self.data_dir}"))
        quiescer = self.parts.quiescer
        if quiescer is None or quiescer.observe().state is InstanceState.STOPPED:
            swap = self._written(swap_now())
            exchange(swap)
            return Done(swap=swap, outage=timedelta(), health="not asked: nothing ran before")
        began = self.parts.clock.monotonic()
        swap, health = self._stopped_and_started(swap_now, quiescer)
        return Done(swap=swap, outage=timedelta(seconds=self.parts.clock.monotonic() - began), health=health)

    def _stopped_and_started(self, swap_now: Callable[[], Swap], quiescer: Quiescer) -> tuple[Swap, str]:
        stop_seconds = self.parts.limits.capture.stop_seconds
        limits = HoldLimits(stop_seconds=stop_seconds, stop_grace_seconds=stop_seconds)
        journal = Journal(self.parts.state.journal_folder(self.parts.the_instance().name))
        guarded = _SwapGuarded(quiescer, aside.running_swap(self.data_dir))

        def start() -> str:
            quiescer.resume(Quiesce.STOP, self._deadline(limits.resume_seconds))
            return self.application.wait_until_healthy(self._deadline(_HEALTH_SECONDS))

        with Hold(guarded, journal, self.lock, self.parts.clock, limits)(Quiesce.STOP, _HOLD_SECONDS) as held:

            def stop() -> None:
                held.renew()  # a rescue knows what was started since, or it would take that for somebody else's
                quiescer.quiesce(Quiesce.STOP, self._deadline(limits.stop_seconds))

            _demand_nobody(self.data_dir)
            swap = self._written(swap_now())
            exchange(swap)
            try:
                return swap, start()
            except VaultError as error:
                self._roll_back(swap, start, stop, error)
                raise RestoreError(
                    f"Open WebUI did not come up on the restored data ({error.message});"
                    " everything is as it was before",
                    hint="Look at its log. The snapshot can be restored into a directory of its own to look at it.",
                ) from error

    def _written(self, swap: Swap) -> Swap:
        write_down(swap, aside.running_swap(self.data_dir))
        return swap

    def _roll_back(self, swap: Swap, start: Callable[[], str], stop: Callable[[], None], reason: VaultError) -> None:
        try:
            stop()
            # From here on a crash must lead back, although the exchange was complete.
            self._written(replace(swap, back=True))
            undo(swap)
            start()
        except VaultError as error:
            raise RollbackError(
                f"Open WebUI did not come up on the restored data ({reason.message}),"
                f" and not on those from before either ({error.message})",
                hint=f"The data from before are in place in {swap.data_dir}. Look at its log and start it by hand.",
            ) from error

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(self.parts.clock.monotonic() + seconds, self.parts.clock.monotonic)


def _demand_nobody(data_dir: Path) -> None:
    """Somebody who still has the data open would go on writing into what was set aside."""
    left = look_around(data_dir).holders.found
    if left:
        raise QuiesceError(
            f"{', '.join(f'{each.name} ({each.pid})' for each in left)} still has the data open after the stop",
            hint="Another instance works on the same directory; stop it first.",
        )


class _SwapGuarded:
    """A quiescer whose rescue first leads an exchange back that was not complete."""

    def __init__(self, quiescer: Quiescer, path: Path) -> None:
        self._quiescer = quiescer
        self._path = path

    @property
    def name(self) -> str:
        return self._quiescer.name

    @property
    def modes(self) -> frozenset[Quiesce]:
        return self._quiescer.modes

    def observe(self) -> Observation:
        return self._quiescer.observe()

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        self._quiescer.quiesce(mode, deadline)

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        self._quiescer.confirm(mode, since)

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        try:
            lead_back(self._path)
        except OSError as error:
            raise ResumeError(
                f"the data in {self._path.parent.parent} are half exchanged and could not be led back: {error}",
                hint="Nothing was started on them. Remove what is in the way, then run `recover`.",
            ) from error
        self._quiescer.resume(mode, deadline)

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        inner = self._quiescer.rescue_command(mode)
        return (sys.executable, "-m", "owui_vault.vault.swap", os.fspath(self._path), *inner)
