"""The parent's end of the talk with the capture's child, and the child's deeds as calls, their costs added up.

A child that had to be killed is replaced by another.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.messages import Answer, number, parts, texts, whole
from owui_vault.capture.stage import make_stage
from owui_vault.errors import CaptureError, DeadlineExceededError, NoSpaceError, UnsupportedInstanceError
from owui_vault.model import CaptureLimits, CapturePlan, Progress, ProgressSink, Step
from owui_vault.system.child_process import Companion, CompanionEndedError
from owui_vault.system.python import PACKAGE, environment, interpreter

_PREPARE_SECONDS = 24 * 3600.0  # copying ahead keeps nobody waiting and is bounded by the caller's `cancel`
_GATHER_SECONDS = 3600.0  # copying takes what it takes, and holds nobody
_GATHER_PATIENCE_SECONDS = 8.0
_FINISH_SECONDS = 3600.0
_SEAL_SECONDS = 3600.0
LOOKS_PER_ATTEMPT = 4  # before, after, and twice as much for comparing them with the stage
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ANSWER_SLACK_SECONDS = 1.5
# The package is found where this file is, whatever sys.path, the working directory or PYTHONPATH say, and behind the
# standard library. Two __init__ that bring along what the child must not need are not run.
_START = """
import sys, types
for name, folder in (("owui_vault", ""), ("owui_vault.capture", "/capture")):
    package = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + folder]
    sys.modules[name] = package
from owui_vault.capture.child.main import main
sys.exit(main(int(sys.argv[2])))
"""


@dataclass(slots=True)
class Tally:
    """What it took so far."""

    attempts: int = 0
    freeze_seconds: float = 0.0
    outage_seconds: float = 0.0
    settle_seconds: float = 0.0
    fence_seconds: float = 0.0
    weaker: list[str] = field(default_factory=list)
    latest: str = ""

    def note(self, reason: str) -> None:
        """Remember why something was not good enough, once."""
        self.latest = reason
        if reason not in self.weaker:
            self.weaker.append(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the child found before the first attempt."""

    filesystem: str
    obstacles: tuple[str, ...]
    shared: tuple[str, ...]  # where others than this kernel may write, so that no freeze here is a proof
    freeze_seconds: float  # estimated
    look_seconds: float


class Worker:
    """One capture's child process, or one after the other."""

    def __init__(
        self,
        plan: CapturePlan,
        limits: CaptureLimits,
        progress: ProgressSink,
        cancel: threading.Event,
    ) -> None:
        self.tally = Tally()
        self._plan = plan
        self._limits = limits
        self._progress = progress
        self._cancel = cancel
        self._session: Session | None = None
        self._pin = True

    def prepare(self, *, pin: bool = True) -> Outlook:
        """Look around and copy ahead; with `pin` what can be pinned is held from here on, for all attempts to come.

        Raises UnsupportedInstanceError, NoSpaceError, CancelledError.
        """
        self._pin = pin
        answer = self._ask_or_raise(
            "prepare", seconds=_PREPARE_SECONDS, pin=pin, copy_seconds=self._limits.copy_seconds
        )
        if answer["overlay"]:
            raise UnsupportedInstanceError(
                f"{self._plan.data_dir} is a layer of a container's file system:"
                " its locks are not shared with the application",
                hint="Keep the data in a volume or a bind mount, and configure that path.",
            )
        copying = number(answer, "freeze_bytes") / number(answer, "bytes_per_second")
        looking = number(answer, "look_seconds")
        return Outlook(
            filesystem=str(answer["filesystem"]),
            obstacles=texts(answer, "obstacles"),
            shared=texts(answer, "shared"),
            freeze_seconds=copying + LOOKS_PER_ATTEMPT * looking,
            look_seconds=looking,
        )

    def attempt(
        self,
        *,
        frozen: bool,
        held: bool = True,
        alone: bool = False,
        seconds: float,
        patience_seconds: float = 0.0,
    ) -> datetime | None:
        """Try to take an instant. None: it failed, and the reason is noted."""
        self.tally.attempts += 1
        try:
            self._require_prepared()
            details = {"frozen": frozen, "held": held, "alone": alone, "pin": self._pin}
            answer = self._ask("attempt", seconds=seconds, patience_seconds=patience_seconds, **details)
        except AttemptFailedError as failed:
            self.tally.note(str(failed))
            return None
        self.tally.settle_seconds += number(answer, "settle_seconds")
        self.tally.fence_seconds += number(answer, "fence_seconds")
        if answer["unsettled"]:
            self.tally.note("no process was left to write, so there was no wait for the file system's clock")
        return _moment(answer)

    def gather(self) -> tuple[datetime, tuple[str, ...]]:
        """Copy as much as possible without proof; also returns the names of what is not even consistent in itself."""
        self._require_prepared()
        answer = self._ask_or_raise("gather", seconds=_GATHER_SECONDS, patience_seconds=_GATHER_PATIENCE_SECONDS)
        return _moment(answer), texts(answer, "torn")

    def finish(self) -> Answer | None:
        """Bring what is pinned to the instant. None: that failed, and the reason is noted."""
        try:
            return self._ask("finish", seconds=_FINISH_SECONDS)
        except AttemptFailedError as failed:
            self.tally.note(str(failed))
            return None

    def seal(self) -> dict[str, tuple[str, ...]]:
        """Finish the stage and write the inventory; returns which attributes could not be given to copies, by name."""
        answer = self._ask_or_raise("seal", seconds=_SEAL_SECONDS)
        return {str(each["name"]): texts(each, "what") for each in parts(answer, "lost")}

    def end(self) -> None:
        """End the child and every lock it holds. Raises CaptureError when that cannot be done."""
        session, self._session = self._session, None  # first: one that hangs is waited for once
        if session is not None:
            session.end()

    def _require_prepared(self) -> None:
        if self._session is None:
            self.prepare(pin=self._pin)

    def _ask_or_raise(self, deed: str, *, seconds: float, **details: object) -> Answer:
        try:
            return self._ask(deed, seconds=seconds, **details)
        except AttemptFailedError as failed:
            raise CaptureError(
                f"{self._plan.data_dir} could not be captured: {failed}",
                hint="Check the disk and what else is using the data directory, then try again.",
            ) from failed

    def _ask(self, deed: str, *, seconds: float, **details: object) -> Answer:
        if self._session is None:
            make_stage(self._plan.work_dir)
            self._session = Session(self._plan, self._limits, self._progress, self._cancel)
        answered = False
        try:
            answer = self._session.ask(deed, seconds=seconds, **details)
            answered = True
        finally:
            if not answered and not self._session.obeys:
                self.end()
        return answer


def _moment(answer: Answer) -> datetime:
    return _EPOCH + timedelta(microseconds=whole(answer, "at_ns") // 1000)


def as_text(path: str | Path) -> str:
    """A path as the child understands it: UTF-8 whatever the locale here, undecodable bytes as surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


class Session:
    """One child process. `ask` raises AttemptFailedError, CaptureError, NoSpaceError, CancelledError."""

    def __init__(
        self, plan: CapturePlan, limits: CaptureLimits, progress: ProgressSink, cancel: threading.Event
    ) -> None:
        self._job: dict[str, object] | None = {
            "data_dir": as_text(plan.data_dir),
            "work_dir": as_text(plan.work_dir),
            "databases": plan.databases,
            "write_once": plan.write_once,
            "rewritten": plan.rewritten,
            "links": [{"name": link, "real": as_text(real)} for link, real in plan.links],
            "mounted": plan.mounted,
            "known_uploads": [{"path": as_text(path), "parent": parent} for path, parent in plan.known_uploads],
            "processes": plan.processes,
            "exclude": plan.exclude,
            "include": plan.include,
            "reserve_bytes": limits.reserve_bytes,
            "wal_growth_bytes": limits.wal_growth_bytes,
        }
        self._progress = progress
        self._cancel = cancel
        self.obeys = (
            True  # false once an answer was not waited for: whatever comes then would answer the wrong question
        )
        argv = (interpreter(), "-I", "-S", "-X", "utf8", "-c", _START, as_text(PACKAGE), str(os.getpid()))
        self._child = Companion(argv, environment())

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def ask(self, deed: str, *, seconds: float, **details: object) -> Answer:
        """Send one request; the child is stopped if it does not answer in time."""
        message: dict[str, object] = {"do": deed, "seconds": seconds, **details}
        if self._job is not None:
            message["job"], self._job = self._job, None
        self.obeys = False
        try:
            self._child.send(json.dumps(message), seconds + _ANSWER_SLACK_SECONDS, self._cancel)
            answer = self._answer(seconds + _ANSWER_SLACK_SECONDS)
        except DeadlineExceededError as error:  # whoever called ends the child
            raise AttemptFailedError(f"the capture did not finish `{deed}` in time") from error
        except CompanionEndedError as error:
            raise CaptureError(
                f"the capture's process ended unexpectedly (status {error.status}): {_last_line(error.stderr_tail)}",
                hint="Try again; if it happens again, report it with the debug log.",
            ) from error
        self.obeys = True
        if "failed" in answer:
            raise AttemptFailedError(str(answer["failed"]))
        if "no_room" in answer:
            raise NoSpaceError(
                str(answer["no_room"]), hint="Free some space, or move the state directory to where there is more."
            )
        return answer

    def end(self) -> None:
        """End the child, and with it every lock and read transaction. Raises CaptureError when that cannot be done."""
        try:
            self._child.end()
        except DeadlineExceededError as error:
            raise CaptureError(f"the capture could not be stopped: {error.message}", hint=error.hint) from error

    def _answer(self, seconds: float) -> Answer:
        while True:
            answer: Answer = json.loads(self._child.receive(seconds, self._cancel))
            step = answer.get("progress")
            if not isinstance(step, list):
                return answer
            self._progress(Progress(step=Step.CAPTURE, done_bytes=step[0], total_bytes=step[1]))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
