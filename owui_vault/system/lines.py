"""Whole lines to and from a child, over its pipes, within a time."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO

from owui_vault.errors import CancelledError
from owui_vault.model import NEVER

_POLL_SECONDS = 0.1
_CHUNK = 1 << 16


class Lines:
    """A child that was started with pipes for stdin and stdout."""

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
