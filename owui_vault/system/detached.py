"""A child with a life of its own: it outlives us, and our death (end of file on its stdin) is its signal to act."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

_CHUNK = 4096


class Detached:
    """One such child: a session of its own, `/` as its directory, exactly this environment and these descriptors."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        self._child = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd="/",
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
        if self._child.stdin is None or self._child.stdout is None:
            raise AssertionError("both were asked for as pipes")
        self._stdin, self._stdout = self._child.stdin, self._child.stdout
        self._rest = b""
        self._ended = False

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def say(self, line: str) -> bool:
        """Send one line; whether the child could still take it."""
        try:
            self._stdin.write(line.encode("ascii") + b"\n")
        except (BrokenPipeError, ValueError):
            return False
        return True

    def heard(self, timeout_seconds: float) -> str | None:
        """The next line, or None when none came in time or none can come any more (`ended` tells which)."""
        if self._ended:
            return None
        poller = select.poll()
        poller.register(self._stdout.fileno(), select.POLLIN)
        while b"\n" not in self._rest:
            if self._ended or not poller.poll(timeout_seconds * 1000):
                return None
            data = os.read(self._stdout.fileno(), _CHUNK)
            self._ended = not data
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("ascii", errors="replace")

    @property
    def ended(self) -> bool:
        """Whether the child closed its output, which it does by ending."""
        return self._ended

    def let_go(self) -> None:
        """Close our ends. The child goes on as it likes; somebody waits for it, so that it leaves no zombie."""
        self._ended = True
        for stream in (self._stdin, self._stdout):
            with suppress(BrokenPipeError):
                stream.close()
        if self._child.poll() is None:
            threading.Thread(target=self._child.wait, name=f"wait-{self._child.pid}", daemon=True).start()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        try:
            self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
