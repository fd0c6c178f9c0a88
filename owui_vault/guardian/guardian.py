"""Our end of the guardian: the process that resumes the instance if we cannot (`guardian_main`)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from owui_vault.errors import QuiesceError
from owui_vault.guardian.rescue_command import rescue_environment
from owui_vault.system.child_process import Detached
from owui_vault.system.python import environment, interpreter

_PROGRAM = Path(__file__).with_name("guardian_main.py")
_READY_SECONDS = 20.0
_LEAVE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardianTask:
    """What the guardian must know before anything is touched.

    `limit_seconds` counts from now, for becoming quiet and being quiet; `held` gives it a new limit. After our death it
    looks again for `grace_seconds`, strikes `record` from the journal, and holds `lock_fd` until then.
    """

    rescue: tuple[str, ...]
    limit_seconds: float
    grace_seconds: float
    record: Path | None = None
    lock_fd: int | None = None


class Guardian:
    """A guardian that is ready. Everything after construction is safe to lose: it acts on our end of file."""

    def __init__(self, task: GuardianTask) -> None:
        fds = () if task.lock_fd is None else (task.lock_fd,)
        self._child = Detached((interpreter(), "-I", "-S", str(_PROGRAM)), environment(), fds)
        self._verdict = ""
        self._child.say(_encode(task))
        if self._child.heard(_READY_SECONDS) != "ready":
            self._child.say("done")
            self._child.let_go()
            raise QuiesceError("the guardian did not start; nothing was changed", hint="Is this machine out of memory?")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def held(self, limit_seconds: float) -> None:
        """The instance is quiet now: it has to thaw after so many seconds, whatever we do."""
        self._child.say(f"held {limit_seconds:.3f}")

    def instruct(self, rescue: tuple[str, ...]) -> None:
        """Rescue in this way from now on. Raises QuiesceError unless it understood in time."""
        self._child.say(f"rescue {json.dumps(rescue)}")
        if self._hear(_READY_SECONDS) != "understood":
            raise QuiesceError(f"lost contact with the guardian process: {self.broken() or 'it does not answer'}")

    def broken(self) -> str:
        """Why the quiet cannot be trusted any more; empty while it can."""
        self._hear(0)
        if not self._verdict and self._child.ended:
            self._verdict = "the guardian was killed"
        return self._verdict

    def _hear(self, seconds: float) -> str | None:
        line = self._child.heard(seconds)
        if line == "overrun":
            self._verdict = "it was held for longer than the limit, and the guardian resumed it"
        return line

    def done(self) -> None:
        """The instance runs again: send it away, and wait so that the lock is ours alone once more."""
        self._child.say("done")
        self._child.wait(_LEAVE_SECONDS)
        self._child.let_go()

    def abandon(self) -> None:
        """We could not resume the instance: let the guardian try for as long as it can."""
        self._child.let_go()


def _encode(task: GuardianTask) -> str:
    return json.dumps(
        {
            "parent": os.getpid(),
            "rescue": task.rescue,
            "environment": rescue_environment(),
            "limit": task.limit_seconds,
            "grace": task.grace_seconds,
            "record": "" if task.record is None else str(task.record),
            "lock": task.lock_fd,
        }
    )
