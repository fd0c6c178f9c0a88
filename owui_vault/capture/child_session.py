"""The parent's end of the talk with the capture's child process."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.messages import Answer
from owui_vault.errors import CaptureError, DeadlineExceededError, NoSpaceError
from owui_vault.model import CaptureLimits, CapturePlan, Progress, ProgressSink, Step
from owui_vault.system.child_process import Companion, CompanionEndedError
from owui_vault.system.python import PACKAGE, environment, interpreter

_ANSWER_SLACK_SECONDS = 1.5
# The package is found where this file lies, whatever sys.path, the working directory or PYTHONPATH say, and behind the
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
        """Have one thing done; the child is ended when it does not answer in time."""
        message: dict[str, object] = {"do": deed, "seconds": seconds, **details}
        if self._job is not None:
            message["job"], self._job = self._job, None
        self.obeys = False
        try:
            self._child.send(json.dumps(message), seconds + _ANSWER_SLACK_SECONDS, self._cancel)
            answer = self._answer(seconds + _ANSWER_SLACK_SECONDS)
        except DeadlineExceededError as error:  # whoever called ends the child
            raise AttemptFailedError(f"the capture did not get through {deed} in time") from error
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
                str(answer["no_room"]), hint="Free some space, or put the state directory where there is more."
            )
        return answer

    def end(self) -> None:
        """End the child, and with it every lock and read transaction. Raises CaptureError when that cannot be done."""
        try:
            self._child.end()
        except DeadlineExceededError as error:
            raise CaptureError(f"the capture could not be ended: {error.message}", hint=error.hint) from error

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
