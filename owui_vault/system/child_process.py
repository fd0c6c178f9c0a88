"""A child process that is spoken to line by line, unlike the programs of `process`, which are run to their end."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from owui_vault.errors import DeadlineExceededError
from owui_vault.model import NEVER
from owui_vault.system.lines import Lines

_TAIL = 2000
_KILLED_SECONDS = 5.0  # a process that is killed ends at once, unless it waits for a disk or a server


class CompanionEndedError(Exception):
    """The child ended, or closed its output, before it had answered."""

    def __init__(self, status: int, stderr_tail: str) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status
        self.stderr_tail = stderr_tail


class Companion:
    """One such child. It gets exactly this environment, a session of its own, and no descriptor but its three."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        # In memory: a pipe that nobody reads until the end would hold up whoever complains at length.
        self._complaints = os.fdopen(os.memfd_create("complaints"), "rb", buffering=0)
        self._child = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd="/",
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,
        )
        self._lines = Lines(self._child)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def send(self, line: str, timeout_seconds: float, cancel: threading.Event = NEVER) -> None:
        """Hand one line to the child. Raises CompanionEndedError, DeadlineExceededError, CancelledError."""
        try:
            self._lines.write(line, timeout_seconds, cancel)
        except BrokenPipeError as error:
            raise self._ended() from error
        except TimeoutError as error:
            raise DeadlineExceededError("the capture did not listen in time") from error

    def receive(self, timeout_seconds: float, cancel: threading.Event = NEVER) -> str:
        """The child's next line. Raises CompanionEndedError, DeadlineExceededError, CancelledError."""
        try:
            return self._lines.read(timeout_seconds, cancel)
        except EOFError as error:
            raise self._ended() from error
        except TimeoutError as error:
            raise DeadlineExceededError("the capture did not answer in time") from error

    def end(self) -> None:
        """Kill the child and wait for it: whatever locks it held are gone then.

        Raises DeadlineExceededError when it does not end: it waits inside the kernel, and ends once that lets it go.
        """
        try:
            self._killed()
        finally:
            self._lines.close()
            self._complaints.close()

    def _killed(self) -> int:
        with suppress(ProcessLookupError):
            self._child.kill()
        try:
            return self._child.wait(_KILLED_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DeadlineExceededError(
                f"process {self.pid} does not end although it was killed: it waits for a disk or a server",
                hint="Look whether every file system of the data directory answers.",
            ) from error

    def _ended(self) -> CompanionEndedError:
        status = self._killed()
        self._complaints.seek(max(0, self._complaints.seek(0, os.SEEK_END) - _TAIL))
        complaint = self._complaints.read()
        return CompanionEndedError(status, complaint.decode(errors="replace"))
