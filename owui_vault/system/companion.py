"""A child process that is spoken to line by line, unlike the programs of `process`, which are run to their end."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from owui_vault.errors import CancelledError, DeadlineExceededError
from owui_vault.model import NEVER

_POLL_SECONDS = 0.1
_CHUNK = 1 << 16
_TAIL = 2000


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
        self._rest = b""

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def send(self, line: str) -> None:
        """Hand one line to the child. Raises CompanionEndedError."""
        try:
            _stream(self._child.stdin).write(line.encode("ascii") + b"\n")
        except BrokenPipeError as error:
            raise self._ended() from error

    def receive(self, timeout_seconds: float, cancel: threading.Event = NEVER) -> str:
        """The child's next line. Raises CompanionEndedError, DeadlineExceededError, CancelledError."""
        until = time.monotonic() + timeout_seconds
        poller = select.poll()  # select() refuses descriptors above 1023, which a bigger program may well have
        poller.register(_stream(self._child.stdout).fileno(), select.POLLIN)
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            if cancel.is_set():
                raise CancelledError("the capture was ended on request")
            remaining = until - time.monotonic()
            if remaining <= 0:
                raise DeadlineExceededError("the capture did not answer in time")
            if poller.poll(min(remaining, _POLL_SECONDS) * 1000):
                parts.append(self._read())
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line.decode("ascii")

    def end(self) -> None:
        """Kill the child and wait for it. Whatever locks it held are gone then."""
        with suppress(ProcessLookupError):
            self._child.kill()
        self._child.wait()
        for stream in (_stream(self._child.stdin), _stream(self._child.stdout), self._complaints):
            stream.close()

    def _read(self) -> bytes:
        data = os.read(_stream(self._child.stdout).fileno(), _CHUNK)
        if not data:
            raise self._ended()
        return data

    def _ended(self) -> CompanionEndedError:
        self._child.kill()
        status = self._child.wait()
        self._complaints.seek(max(0, self._complaints.seek(0, os.SEEK_END) - _TAIL))
        complaint = self._complaints.read()
        return CompanionEndedError(status, complaint.decode(errors="replace"))


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise TypeError("both streams are pipes")
    return stream
