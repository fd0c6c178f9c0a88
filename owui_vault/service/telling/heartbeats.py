"""Signs of life of a run: at its start, and after its success or failure."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from owui_vault.model import Beat, BeatKind, EventKind
from owui_vault.model.runs import RunOutcome, RunRecord
from owui_vault.operations.notifications import in_time
from owui_vault.ports import Heartbeat
from owui_vault.service.parts import Service
from owui_vault.service.telling.notification_text import run_lines
from owui_vault.service.telling.troubles import Trouble
from owui_vault.system.unwinding import on_failure

_log = logging.getLogger(__name__)


class Pulse:
    """The heartbeats of one call of `run`. What cannot be reached is in `warnings`, and nobody's failure."""

    def __init__(self, service: Service) -> None:
        self._whole = service.context.heartbeat
        self._own = service.context.plan_heartbeats
        self._open: list[str] = []
        self.warnings: list[str] = []

    def start(self, plans: Sequence[str]) -> None:
        """These plans are going to run."""
        self._beat(self._whole, "heartbeat", Beat(kind=BeatKind.START, summary=", ".join(plans)))

    def begin(self, plan: str) -> None:
        """This one runs now."""
        self._open.append(plan)
        self._of(plan, Beat(kind=BeatKind.START, summary=plan))

    def end(self, run: RunRecord) -> None:
        """It ran."""
        self._open.remove(run.plan)
        good = run.outcome is RunOutcome.SUCCESS
        self._of(
            run.plan,
            Beat(
                kind=BeatKind.SUCCESS if good else BeatKind.FAILURE,
                summary=_summary(run),
                log=_log_of([run]),
                took_seconds=run.took_seconds,
            ),
        )

    def finish(self, runs: Sequence[RunRecord], troubles: Sequence[Trouble]) -> None:
        """All have run. A success while another plan is not well would call all of it well."""
        wrong = [each for each in troubles if each.kind is not EventKind.WARNING]
        good = not wrong and all(each.outcome is RunOutcome.SUCCESS for each in runs)
        unwell = [f"{plan} is not well" for plan in dict.fromkeys(each.plan for each in wrong)]
        self._beat(
            self._whole,
            "heartbeat",
            Beat(
                kind=BeatKind.SUCCESS if good else BeatKind.FAILURE,
                summary="; ".join([*map(_summary, runs), *unwell]),
                log=_log_of(runs),
                took_seconds=sum(each.took_seconds for each in runs),
            ),
        )

    def failed(self, plans: Sequence[str], summary: str) -> None:
        """Something is wrong with these plans, and no run says it."""
        beat = Beat(kind=BeatKind.FAILURE, summary=summary)
        for plan in plans:
            self._of(plan, beat)
        self._beat(self._whole, "heartbeat", beat)

    def failed_to_start(self) -> None:
        """Nothing could be begun, of any plan."""
        self.failed(list(self._own), "could not be started")

    @contextmanager
    def failing_if_interrupted(self) -> Iterator[None]:
        """Whoever is asked to stop, or finds the instance not as it was, still says so."""

        def fail(error: BaseException) -> None:
            if isinstance(error, Exception):
                self.failed(self._open, f"{', '.join(self._open)}: did not run to the end")

        with on_failure(fail):
            yield

    def _of(self, plan: str, beat: Beat) -> None:
        self._beat(self._own.get(plan), f"heartbeat of {plan}", beat)

    def _beat(self, heartbeat: Heartbeat | None, name: str, beat: Beat) -> None:
        failed = in_time(partial(heartbeat.beat, beat)) if heartbeat else ""
        if failed:
            _log.warning("%s: %s", name, failed)
            warning = f"{name} could not be told: {failed}"
            self.warnings += [warning] if warning not in self.warnings else []


def _summary(run: RunRecord) -> str:
    return f"{run.plan}: {run.outcome.value}"


def _log_of(runs: Sequence[RunRecord]) -> str:
    return "\n".join(line for run in runs for line in (_summary(run), *run_lines(run)))
