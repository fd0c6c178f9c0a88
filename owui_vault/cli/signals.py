"""SIGINT, SIGTERM and SIGHUP: the running operation is asked to stop and clean up, also the second time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_STDERR = 2
_STOPPING = b"stopping, and cleaning up ...\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Raised out of work that cannot be asked to stop. No `except Exception` holds it up."""


class Interruption:
    """Which signal came, if any, and the event that stops a running operation."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.cancel = threading.Event()
        self._cancellable = False

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as in a shell."""
        return 128 + (self.number or signal.SIGINT)

    @contextmanager
    def cancellable(self) -> Iterator[threading.Event]:
        """While the block runs, signals only set the event: the operation undoes what it began, then raises."""
        self._cancellable = True
        try:
            yield self.cancel
        finally:
            self._cancellable = False

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Take over the signals for the length of a block; what is ignored (nohup) stays ignored."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in taken:
            signal.signal(number, self._receive)
        try:
            yield self
        finally:
            for number in taken:
                signal.signal(number, before[number])

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        first = self.number is None
        self.number = self.number or number
        self.cancel.set()
        if first:
            with suppress(OSError):  # by the descriptor: the stream may be in the middle of a line
                os.write(_STDERR, _STOPPING)
        # Only the first one: the second must not disturb the clean-up that the first one began.
        if first and not self._cancellable:
            raise Interrupted
