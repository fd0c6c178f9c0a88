"""A child process that is spoken to line by line, unlike the programs of `process`, which are run to their end.

A companion works for us and ends with us. A detached child has a life of its own: it outlives us, and our death (end of
file on its stdin) is its signal to act. An attached program is one of our own commands, which has our stdout.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO

from owui_vault.errors import CancelledError, DeadlineExceededError
from owui_vault.model import NEVER

_POLL_SECONDS = 0.1
_CHUNK = 1 << 16
_TAIL = 2000
_SEND_SECONDS = 10.0
_KILLED_SECONDS = 5.0  # a process that is killed ends at once, unless it waits for a disk or a server


class CompanionEndedError(Exception):
    """The child ended, or closed its output, before it had answered."""

    def __init__(self, status: int, stderr_tail: str) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status
        self.stderr_tail = stderr_tail


class _Lines:
    """Whole lines to and from a child, over its pipes, within a time."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        if child.stdin is None or child.stdout is None:
            raise TypeError("both streams are pipes")
        self._child = child
        self._in: IO[bytes] = child.stdin
        self._out: IO[bytes] = child.stdout
        self._rest = b""
        os.set_blocking(self._in.fileno(), False)  # our end only; a child that does not read must not hold us up

    def write(self, line: str, seconds: float, cancel: threading.Event = NEVER) -> None:
        """All of one line. Raises BrokenPipeError when nobody reads it any more, TimeoutError, CancelledError."""
        left = memoryview(line.encode("ascii") + b"\n")
        if self._in.closed:
            raise BrokenPipeError
        until = time.monotonic() + seconds
        while left:
            try:
                # A pipe takes what it has room for, and a signal may come after the first part of it.
                left = left[os.write(self._in.fileno(), left) :]
            except BlockingIOError:
                _wait(self._in, select.POLLOUT, until, cancel)

    def read(self, seconds: float, cancel: threading.Event = NEVER) -> str:
        """The next line. Raises EOFError when none can come any more, TimeoutError, CancelledError."""
        until = time.monotonic() + seconds
        parts = [self._rest]
        try:
            while b"\n" not in parts[-1]:
                if self._out.closed:
                    raise EOFError
                _wait(self._out, select.POLLIN, until, cancel)
                data = os.read(self._out.fileno(), _CHUNK)
                if not data:
                    raise EOFError
                parts.append(data)
        finally:
            self._rest = b"".join(parts)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("ascii", errors="replace")

    def close(self) -> None:
        """Close our ends; end of file is the child's signal. Somebody waits for it, so that it leaves no zombie."""
        for stream in (self._in, self._out):
            with suppress(BrokenPipeError):
                stream.close()
        if self._child.poll() is None:
            threading.Thread(target=self._child.wait, name=f"wait-{self._child.pid}", daemon=True).start()


def _wait(stream: IO[bytes], event: int, until: float, cancel: threading.Event) -> None:
    poller = select.poll()  # select() refuses descriptors above 1023, which a bigger program may well have
    poller.register(stream.fileno(), event)
    while True:
        if cancel.is_set():
            raise CancelledError("the capture was ended on request")
        left = until - time.monotonic()
        # Asked for at least once: with no time at all, what is there already is taken.
        if poller.poll(max(0.0, min(left, _POLL_SECONDS)) * 1000):
            return
        if left <= 0:
            raise TimeoutError


class _Child:
    """One such child: a session of its own, `/` as its directory, exactly this environment and these descriptors."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        stderr: IO[bytes] | int,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._child = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd="/",
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
        self._lines = _Lines(self._child)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid


class Companion(_Child):
    """A child that works for us. It has no descriptor but its three."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        # In memory: a pipe that nobody reads until the end would hold up whoever complains at length.
        self._complaints = os.fdopen(os.memfd_create("complaints"), "rb", buffering=0)
        super().__init__(argv, environment, stderr=self._complaints)

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
                f"process {self.pid} was killed but does not exit: it is waiting for a disk or a server",
                hint="Check whether every file system of the data directory responds.",
            ) from error

    def _ended(self) -> CompanionEndedError:
        status = self._killed()
        self._complaints.seek(max(0, self._complaints.seek(0, os.SEEK_END) - _TAIL))
        complaint = self._complaints.read()
        return CompanionEndedError(status, complaint.decode(errors="replace"))


class Detached(_Child):
    """A child with a life of its own."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        super().__init__(argv, environment, stderr=subprocess.DEVNULL, pass_fds=pass_fds)
        self._ended = False

    def say(self, line: str) -> bool:
        """Send one line; whether the child took it."""
        try:
            self._lines.write(line, _SEND_SECONDS)
        except (BrokenPipeError, TimeoutError):
            return False
        return True

    def heard(self, timeout_seconds: float) -> str | None:
        """The next line, or None when none came in time or none can come any more (`ended` tells which)."""
        if self._ended:
            return None
        try:
            return self._lines.read(timeout_seconds)
        except EOFError:
            self._ended = True
        except TimeoutError:
            pass
        return None

    @property
    def ended(self) -> bool:
        """Whether the child closed its output, which it does by ending."""
        return self._ended

    def let_go(self) -> None:
        """Close our ends. The child goes on as it likes."""
        self._ended = True
        self._lines.close()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        try:
            self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Attached:
    """Runs from now on, in a session of its own: what interrupts us at a terminal does not reach it by itself."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], *, stdout_to_stderr: bool = False) -> None:
        self._child = subprocess.Popen(
            list(argv),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if stdout_to_stderr else None,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        self._rest = b""

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.pid

    def poll(self) -> int | None:
        """Its exit code once it has ended, negative for a signal."""
        return self._child.poll()

    def lines(self, *, to_the_end: bool = False) -> Iterator[str]:
        """What it has said on stderr since the last look. Whatever it leaves running and talking is not waited for."""
        stream = self._child.stderr
        while stream is not None and not stream.closed and select.select([stream], [], [], 0)[0]:
            data = os.read(stream.fileno(), _CHUNK)
            if not data:
                stream.close()
                break
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from (each.decode(errors="replace") for each in lines)
        if to_the_end:
            if self._rest:
                yield self._rest.decode(errors="replace")
            if stream is not None:
                stream.close()

    def ask_to_end(self) -> None:
        """It undoes what it began, and takes the time it needs."""
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)


def reap_orphans(own: int = 0) -> bool:
    """Collect what has ended and nobody waits for, where we are the first process; whether anybody is left to wait for.

    `own` is waited for elsewhere.
    """
    if os.getpid() != 1:
        return False
    with suppress(ChildProcessError):
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == own:
                return True
            os.waitpid(ended.si_pid, 0)
    return False
