"""Keeps an instance quiet for the length of a block, and resumes it whatever happens.

observe    already quiet before us: paused is refused, stopped is left stopped
journal    what is about to be done, durably
guardian   ready before anything is touched; it inherits the lock
quiesce    completely, or not at all
…          the block
resume     with a time budget of its own
journal, guardian: done
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from owui_vault.errors import QuiesceError, ResumeError, VaultError
from owui_vault.guardian.guardian import Guardian, GuardianTask
from owui_vault.guardian.journal import Journal, Record
from owui_vault.guardian.rescue_command import GONE, rescue_environment, with_current_interpreter
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Clock, Held, Observation, Quiescer, Quiet, Remarks
from owui_vault.system.process import Command, run
from owui_vault.system.unwinding import on_failure, undoing

_log = logging.getLogger(__name__)
_RESCUE_SECONDS = 900.0  # one that waits for a stop to land takes as long as that may take


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLimits:
    """Bounds of the single steps, in seconds. The block's own limit is given with each call."""

    pause_seconds: float = 10.0  # until everything is frozen
    stop_seconds: float = 60.0  # until everything has stopped
    resume_seconds: float = 600.0  # until it runs again: 20 s on a good day, minutes when busy or migrating
    pause_grace_seconds: float = 3.0  # how long a request sent just before our death may still land
    stop_grace_seconds: float = 60.0


class Holding(Held, Protocol):
    """An instance that is quiet right now, for a caller that starts and stops it inside the block."""

    @property
    def renew(self) -> Callable[[], None]:
        """Call it before each further stop: the rescue is written to the journal and passed to the guardian."""


class Hold(Quiet):
    """`ports.Quiet` over a quiescer. `lock_fd` is the run's lock, which the guardian inherits."""

    def __init__(
        self, quiescer: Quiescer, journal: Journal, lock_fd: int | None, clock: Clock, limits: HoldLimits | None = None
    ) -> None:
        self._quiescer = quiescer
        self._journal = journal
        self._lock_fd = lock_fd
        self._clock = clock
        self._limits = limits or HoldLimits()
        self._began = 0.0  # of what is quiet now
        self._quiet_seconds = 0.0
        self._remarks = Remarks()

    @property
    def remarks(self) -> Remarks:
        """What was not as it should be while it was quiet."""
        return self._remarks

    @property
    def quiet_seconds(self) -> float:
        """How long the instance was kept from working so far."""
        return self._quiet_seconds

    @property
    def modes(self) -> frozenset[Quiesce]:
        """Which modes are possible."""
        return self._quiescer.modes

    @contextmanager
    def __call__(self, mode: Quiesce, limit_seconds: float) -> Iterator[Holding]:
        """Quiet for the length of a `with` block.

        Raises QuiesceError if it cannot be made quiet or did not stay so for the whole block, and ResumeError, above
        everything else, if it could not be resumed; the guardian then keeps trying.
        """
        if mode not in self.modes:
            raise QuiesceError(f"{self._quiescer.name} cannot be quiesced by {mode.value}")
        seen = self._quiescer.observe()
        if seen.state is InstanceState.PAUSED:
            raise QuiesceError(
                f"{self._quiescer.name} is already paused, not by owui_vault",
                hint="Resume it first, or use `live`.",
            )
        if seen.state is InstanceState.STOPPED:
            yield _HeldByNobody(self._quiescer, seen)
            return
        with self._guarded(mode, limit_seconds) as (guardian, renew):
            self._require_same_as_written(seen)
            self._quiescer.quiesce(mode, self._deadline(self._becoming_quiet(mode, limit_seconds)))
            guardian.held(limit_seconds - self._already_frozen(mode))
            held = _HeldByUs(self._quiescer, mode, self._quiescer.observe(), guardian, renew)
            held.require_same(seen, mode)
            self._remarks += self._quiescer.remarks
            _log.info("quiesced %s by %s", self._quiescer.name, mode.value)
            yield held
            held.require_unbroken()

    @contextmanager
    def _guarded(self, mode: Quiesce, limit_seconds: float) -> Iterator[tuple[Guardian, Callable[[], None]]]:
        rescue = self._quiescer.rescue_command(mode)
        record = self._written_down(mode, rescue)
        stopping = mode is Quiesce.STOP
        task = GuardianTask(
            rescue=rescue,
            limit_seconds=limit_seconds + (self._limits.stop_seconds if stopping else 0.0),
            grace_seconds=self._limits.stop_grace_seconds if stopping else self._limits.pause_grace_seconds,
            record=self._journal.path(record),
            lock_fd=self._lock_fd,
        )
        with undoing(self._journal.done, record):
            guardian = Guardian(task)

        def renew() -> None:
            command = self._quiescer.rescue_command(mode)
            self._journal.renew(record, command)
            guardian.instruct(command)

        try:
            self._began = self._clock.monotonic()
            yield guardian, renew
        finally:
            self._bring_back(mode, record, guardian)

    def _written_down(self, mode: Quiesce, rescue: tuple[str, ...]) -> Record:
        try:
            return self._journal.begin(mode.value, self._quiescer.name, self._clock, rescue=rescue)
        except OSError as error:
            raise QuiesceError(
                f"cannot record a {mode.value} of {self._quiescer.name} in the journal: {error.strerror}",
                hint="Nothing was changed. Check the state directory: is its disk full, or read-only?",
            ) from error

    def _bring_back(self, mode: Quiesce, record: Record, guardian: Guardian) -> None:
        """Resume; a second time when the first was interrupted (Ctrl-C, the exception of a signal handler)."""

        def finish() -> None:
            self._count_quiet()
            self._journal.done(record)
            guardian.done()

        def again(error: BaseException) -> None:
            if isinstance(error, ResumeError):
                guardian.abandon()
                return
            with undoing(guardian.abandon):
                self._resume(mode)
            finish()

        with on_failure(again):
            self._resume(mode)
        finish()

    def _require_same_as_written(self, seen: Observation) -> None:
        """The rescue that was written down leaves alone what was restarted since it was looked at."""
        if self._quiescer.observe().identity != seen.identity:
            raise QuiesceError(f"{self._quiescer.name} was restarted just now", hint="Try again.")

    def _count_quiet(self) -> None:
        took = self._clock.monotonic() - self._began
        self._quiet_seconds += took
        _log.info("%s runs again, quiet for %.3f s", self._quiescer.name, took)

    def _resume(self, mode: Quiesce) -> None:
        try:
            self._quiescer.resume(mode, self._deadline(self._limits.resume_seconds))
        except ResumeError:
            raise
        except VaultError as error:
            raise ResumeError(
                f"{self._quiescer.name} could not be resumed: {error.message}", hint=error.hint
            ) from error

    def _becoming_quiet(self, mode: Quiesce, limit_seconds: float) -> float:
        """How long that may take. A pause stands still from its first signal on, so all of it counts as frozen."""
        return self._limits.stop_seconds if mode is Quiesce.STOP else min(self._limits.pause_seconds, limit_seconds)

    def _already_frozen(self, mode: Quiesce) -> float:
        """What becoming quiet has used up of the limit."""
        return 0.0 if mode is Quiesce.STOP else self._clock.monotonic() - self._began

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(self._clock.monotonic() + seconds, self._clock.monotonic)


@dataclass(frozen=True, slots=True)
class _HeldByUs(Held):
    quiescer: Quiescer
    mode: Quiesce
    since: Observation
    guardian: Guardian
    renew: Callable[[], None]

    def confirm(self) -> None:
        """Raise QuiesceError unless it has been quiet, and the same one, since the beginning."""
        try:
            self.quiescer.confirm(self.mode, self.since)
        except QuiesceError:
            self.require_unbroken()  # that the limit passed says more than that it is awake
            raise
        self.require_unbroken()  # last: the guardian speaks before it wakes anybody

    def require_unbroken(self) -> None:
        why = self.guardian.broken()
        if why:
            raise QuiesceError(f"{self.quiescer.name} may have written while it was held: {why}", hint="Try again.")

    def require_same(self, seen: Observation, mode: Quiesce) -> None:
        """Somebody may have started it again between our look and our deed."""
        if mode is Quiesce.PAUSE and seen.identity != self.since.identity:
            raise QuiesceError(f"{self.quiescer.name} was restarted while it was being paused", hint="Try again.")


@dataclass(frozen=True, slots=True)
class _HeldByNobody(Held):
    """Stopped before we came; that is quiet enough, and it is not ours to start."""

    quiescer: Quiescer
    seen: Observation

    @property
    def stopped_before(self) -> str:
        """Who was found stopped."""
        return self.quiescer.name

    @property
    def renew(self) -> Callable[[], None]:
        """Nothing of ours has to be undone."""
        return lambda: None

    def confirm(self) -> None:
        """Raise QuiesceError when it was started meanwhile."""
        now = self.quiescer.observe()
        if now.state is not InstanceState.STOPPED or now.identity not in (self.seen.identity, ""):
            raise QuiesceError(f"{self.quiescer.name} was started meanwhile", hint="Try again.")


def recover(journal: Journal) -> tuple[str, ...]:
    """Resume what earlier runs left quiet; what was done, as text. Only what the journal says is touched.

    For the holder of the instance's lock: no other run is active then, so every record is left over, also one of this
    very process, which may live long and fail to resume.
    Records without a rescue of their own (an in-place restore's) are left to whoever knows how. Raises ResumeError
    after having tried all of them; the records of those that failed stay.
    """
    actions: list[str] = []
    failures: list[ResumeError] = []
    for record in journal.records():
        if not record.rescue:
            continue
        try:
            actions.append(_rescue(journal, record))
        except ResumeError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return tuple(actions)


def _rescue(journal: Journal, record: Record) -> str:
    what = f"{record.subject}, left by a {record.action} of {record.began:%Y-%m-%d %H:%M:%S} UTC"
    hint = f"Resume or start it by hand, then remove {journal.path(record)}."
    try:
        argv = with_current_interpreter(record.rescue)
        done = run(Command(argv=argv, environment=rescue_environment(), timeout_seconds=_RESCUE_SECONDS))
    except VaultError as error:
        raise ResumeError(f"{what}, could not be resumed: {error.message}", hint=hint) from error
    if done.status == GONE:
        journal.done(record)  # told once: whatever a person creates again is another one, which is not ours to start
        raise ResumeError(
            f"{what}, can no longer be resumed: {done.stderr_tail.strip()}",
            hint="This is not tried again. Check whether Open WebUI is running.",
        )
    if done.status != 0:
        raise ResumeError(f"{what}, could not be resumed: {done.stderr_tail.strip()}", hint=hint)
    journal.done(record)
    return f"{what}, is as it was before"
