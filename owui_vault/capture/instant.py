"""The way to one instant: live first, frozen if necessary, and if nothing can be proven, the best copy available.

The library's own process never opens a live database or anything beside it; a child does, one per capture
(`child.main`).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from owui_vault.capture.child_client import LOOKS_PER_ATTEMPT, Outlook, Worker
from owui_vault.capture.result import TORN, Taken, captured, in_words, lost_warnings, read_contents, with_torn
from owui_vault.capture.stage import clear_stage
from owui_vault.errors import CaptureError, InstanceNotFoundError, NotProvenError, QuiesceError
from owui_vault.model import (
    NEVER,
    Captured,
    CaptureLimits,
    CapturePlan,
    Findings,
    Progress,
    ProgressSink,
    Proof,
    Quiesce,
    Step,
    ignore_progress,
)
from owui_vault.ports import Clock, Quiet, Remarks
from owui_vault.system.unwinding import undoing

Examine = Callable[[Path], Findings]

_BETWEEN_BROKEN_SECONDS = 0.5  # half a rewrite of an index can be quiet for longer than an attempt
_STOP_ATTEMPTS = 3
_PAUSE_PATIENCE_SECONDS = 0.05  # an unsettled mark costs more in a freeze than it is worth
_STOP_PATIENCE_SECONDS = 5.0
_SHARE_OF_FREEZE = 0.8  # the rest is for confirming and thawing before the guardian does


def take_instant(  # noqa: PLR0913  the parts of one capture, each given from outside
    plan: CapturePlan,
    *,
    mode: Quiesce,
    quiet: Quiet | None,
    examine: Examine,
    limits: CaptureLimits | None = None,
    unproven: bool = True,
    clock: Clock,
    progress: ProgressSink = ignore_progress,
    cancel: threading.Event = NEVER,
) -> Captured:
    """Bring everything in the plan to rest in the stage, as it was at one moment.

    `quiet` makes the instance quiet for the length of a block, None where that is impossible. `examine` looks at the
    captured tree while another attempt is still possible. When nothing can be proven, `unproven` decides between a
    capture without proof and NotProvenError.

    Raises NotProvenError, NoSpaceError, CancelledError, UnsupportedInstanceError (the data directory is a layer of an
    overlay), CaptureError; after any of these the stage is gone. ResumeError passes through from `quiet`.
    """
    limits = limits or CaptureLimits()
    worker = Worker(plan, limits, progress, cancel)
    run = _Run(
        worker=worker, plan=plan, mode=mode, quiet=quiet, examine=examine, limits=limits, clock=clock, cancel=cancel
    )
    progress(Progress(step=Step.CAPTURE))

    def clear() -> None:
        run.worker.end()
        with suppress(CaptureError):  # what cannot be removed is told by the next run; this error comes first
            clear_stage(plan.work_dir)

    with undoing(clear):
        found = run.escalate(unproven=unproven)
    run.worker.end()
    progress(Progress(step=Step.CAPTURE, text=f"took one instant ({found.proof.mode.value})"))
    return found


@dataclass(slots=True, kw_only=True)
class _Run:
    """The decisions of one capture."""

    worker: Worker
    plan: CapturePlan
    quiet: Quiet | None
    examine: Examine
    limits: CaptureLimits
    clock: Clock
    cancel: threading.Event
    mode: Quiesce
    began: float = field(init=False)
    failed_checks: tuple[tuple[str, str, str], ...] = ()
    broken_before: object = None  # what was broken in the last attempt, and in which state of the vectors

    def __post_init__(self) -> None:
        self.began = self.clock.monotonic()

    def escalate(self, *, unproven: bool) -> Captured:
        """Try what the mode allows, in the order of what it costs the instance."""
        live, pause, stop = (Proof.LIVE, self._live), (Proof.PAUSE, self._pause), (Proof.STOP, self._stop)
        idle = (Proof.IDLE, self._idle)
        ways = {
            Quiesce.AUTO: (live, pause, idle),
            Quiesce.LIVE: (live, idle),
            Quiesce.PAUSE: (pause,),
            Quiesce.STOP: (stop,),
        }
        for proof, way in ways[self.mode]:
            taken = way()
            if taken is not None:
                return self._captured(taken, proof)
        if not unproven:
            raise NotProvenError(
                f"no instant could be proven: {self.worker.tally.latest}",
                hint="Try at a quieter time, allow a pause, or set instance.unproven to store.",
            )
        return self._captured(self._without_proof(), Proof.UNPROVEN)

    def _live(self) -> Taken | None:
        left = self.limits.live_seconds
        for number in range(self.limits.live_attempts):
            if number:
                self.clock.sleep(random.uniform(0.02, 0.1))  # noqa: S311 (only keeps us out of step with the writer)
            outlook = self.worker.prepare()
            if outlook.obstacles:
                self.worker.tally.note(f"not live: {outlook.obstacles[0]}")
                return None
            if not number:
                # The limit is meant for a writer that never rests, not for a hundred thousand uploads.
                left += LOOKS_PER_ATTEMPT * outlook.look_seconds
            began = self.clock.monotonic()
            at = self.worker.attempt(frozen=False, seconds=max(left, 0.1))
            left -= self.clock.monotonic() - began
            taken = self._conclude(at)
            if taken is not None:
                return taken
            if left <= 0:
                break
        return None

    def _pause(self) -> Taken | None:
        quiet = self._quiet_by(Quiesce.PAUSE)
        if quiet is None:
            return None
        limit = self.limits.freeze_seconds
        for number in range(self.limits.freezes):
            if number:
                self.clock.sleep(_BETWEEN_BROKEN_SECONDS)
            obstacle = _no_pause(self.worker.prepare(), limit)
            if obstacle:
                self.worker.tally.note(f"{obstacle}; stop the instance for a proven instant")
                return None
            taken = self._conclude(self._quiet_attempt(quiet, Quiesce.PAUSE, limit, self._frozen_attempt))
            if taken is not None:
                return taken
        return None

    def _stop(self) -> Taken | None:
        quiet = self._quiet_by(Quiesce.STOP)
        if quiet is None:
            return None
        outlook = self.worker.prepare(pin=False)  # whoever closes a database last must be the application
        for each in outlook.shared:
            self.worker.tally.note(f"not checked: whether another machine wrote meanwhile: {each}")
        limit = self.limits.stop_seconds + 2 * outlook.freeze_seconds
        at = self._quiet_attempt(quiet, Quiesce.STOP, limit, lambda held: self._cold_attempts(limit, held))
        return self._conclude(at, last=True)

    def _idle(self) -> Taken | None:
        """For an instance that is not running and has no quiescer: no process may have its files open for writing.

        The file system does not matter then: there are no pending writes to wait for.
        """
        outlook = self.worker.prepare()
        said = self.worker.tally.latest
        if outlook.shared:
            self.worker.tally.note(
                f"that nothing is running here proves nothing about another machine: {outlook.shared[0]}"
            )
            at = None
        else:
            seconds = self.limits.stop_seconds
            at = self.worker.attempt(frozen=True, held=False, alone=True, seconds=seconds)
        taken = self._conclude(at, last=True)
        if taken is None and said:
            self.worker.tally.latest = f"{said}; {self.worker.tally.latest}"
        return taken

    def _quiet_by(self, mode: Quiesce) -> Quiet | None:
        """What makes the instance quiet in this mode; None, and a note, if nothing can."""
        if self.quiet is not None and mode in self.quiet.modes:
            return self.quiet
        tally = self.worker.tally
        said = tally.latest
        tally.note(f"{mode.value} is not available for this instance")
        tally.latest = f"{said}; {tally.latest}" if said else tally.latest
        return None

    def _frozen_attempt(self, held: bool) -> datetime | None:
        seconds = self.limits.freeze_seconds * _SHARE_OF_FREEZE
        patience = _PAUSE_PATIENCE_SECONDS
        return self.worker.attempt(frozen=True, held=held, seconds=seconds, patience_seconds=patience)

    def _cold_attempts(self, seconds: float, held: bool) -> datetime | None:
        patience = _STOP_PATIENCE_SECONDS
        for number in range(_STOP_ATTEMPTS):
            if number:
                self.clock.sleep(_BETWEEN_BROKEN_SECONDS)  # the last threads may outlive the first
            at = self.worker.attempt(frozen=True, held=held, seconds=seconds, patience_seconds=patience)
            if at is not None:
                return at
        return None

    def _quiet_attempt(
        self, quiet: Quiet, mode: Quiesce, limit: float, attempt: Callable[[bool], datetime | None]
    ) -> datetime | None:
        """The result of `attempt` inside a quiet; None if the quiet could not be established or was broken."""
        tally = self.worker.tally
        began = self._quiet_so_far()
        try:
            with quiet(mode, limit) as held:
                at = attempt(not held.stopped_before)
                held.confirm()
        except QuiesceError as error:
            tally.note(f"the {mode.value} did not hold: {error.message}")
            at = None
        except InstanceNotFoundError as error:
            if self.mode is not Quiesce.AUTO:
                raise
            tally.note(f"{mode.value} is not available for this instance: {error.message}")
            at = None
        finally:
            took = self._quiet_so_far() - began
            if mode is Quiesce.STOP:
                tally.outage_seconds += took
            else:
                tally.freeze_seconds += took
        return at

    def _quiet_so_far(self) -> float:
        """A clock that runs while the instance is quiet, where there is one, else all the time."""
        known = self.quiet.quiet_seconds if self.quiet else None
        return self.clock.monotonic() if known is None else known

    def _conclude(self, at: datetime | None, *, last: bool = False) -> Taken | None:
        """Check what an attempt took. None: not good enough, another one may be better."""
        if at is None:
            return None
        taken = self._look(at)
        if taken is None:
            return None
        known, self.failed_checks = self.failed_checks, taken.contents.failed_checks
        fresh = [each for each in self.failed_checks if each not in known and each[0] not in taken.contents.pinned]
        for path, complaint, _ in fresh:
            self.worker.tally.note(f"the copy of {path} failed its check: {complaint}")
        # The same bytes with the same complaint twice, or out of a transaction: so it is at the source.
        if fresh and not last:
            return None
        damaged = tuple(in_words(path, complaint) for path, complaint, _ in self.failed_checks)
        broken = taken.findings.broken
        before, self.broken_before = self.broken_before, (broken, taken.contents.vector_state)
        # Nobody wrote to the vectors since, and they still do not belong together: that is how they are.
        if broken and not damaged and not last and before != self.broken_before:
            self.worker.tally.note(broken[0])
            self.clock.sleep(_BETWEEN_BROKEN_SECONDS)
            return None
        return Taken(at, taken.contents, taken.findings, (*damaged, *taken.findings.broken))

    def _look(self, at: datetime) -> Taken | None:
        answer = self.worker.finish()
        if answer is None:
            return None
        tree = self.plan.work_dir / "stage" / "data"
        contents = read_contents(answer, tree, self.plan.databases, self.cancel, encrypted=self.plan.encrypted)
        return Taken(at, contents, self.examine(tree))

    def _without_proof(self) -> Taken:
        at, torn = self.worker.gather()
        taken = self._look(at)
        if taken is None:
            raise NotProvenError(
                f"not even an unproven copy could be taken: {self.worker.tally.latest}",
                hint="Check the disk and what else is using the data directory, then try again.",
            )
        contents = with_torn(taken.contents, torn)
        problems = [f"not one proven instant: {self.worker.tally.latest}"]
        problems += [f"{name} was written to while it was copied" for name in torn]
        failed = [each for each in contents.failed_checks if each[1] != TORN]
        problems += [in_words(path, complaint) for path, complaint, _ in failed]
        return Taken(at, contents, taken.findings, (*problems, *taken.findings.broken))

    def _captured(self, taken: Taken, proof: Proof) -> Captured:
        lost = {**self.worker.seal(), **taken.contents.lost}
        remarks = self.quiet.remarks if self.quiet else Remarks()
        seconds = self.clock.monotonic() - self.began
        remarks += Remarks(warnings=lost_warnings(lost))
        return captured(self.plan, taken, proof=proof, tally=self.worker.tally, seconds=seconds, remarks=remarks)


def _no_pause(outlook: Outlook, limit_seconds: float) -> str:
    """Why freezing the instance would not do; empty where it would."""
    if outlook.shared:
        return f"a pause here does not stop a writer on another machine: {outlook.shared[0]}"
    if outlook.freeze_seconds > limit_seconds:
        return f"a pause would last about {outlook.freeze_seconds:.0f} s, more than the limit of {limit_seconds:g} s"
    return ""
