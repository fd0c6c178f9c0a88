"""Breaks the silence on stderr: who is waited for, whom we ask, what an engine complains about."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from owui_vault.cli.render.phrases import duration, printable
from owui_vault.model import Answered, Asking, Complaint, Notice, Waiting

ASKING_SECONDS = 0.3
_MOST_COMPLAINTS = 20
_NUMBER = re.compile(r"\d+")
_CLEAR_LINE = "\r\x1b[2K"


class Notices:
    """The sink of a vault's notices; called from any thread.

    Whom we ask is of interest to somebody who sits there, and gone with the answer; the rest stays, also in a log.
    While bars are shown they own the terminal: lines go above them, by `above`.
    """

    def __init__(self, stream: TextIO, verbosity: int) -> None:
        self._stream = stream
        self._quiet = verbosity < 0
        self._verbose = verbosity > 0
        self._asks_aloud = stream.isatty() and not self._quiet
        self._lock = threading.Lock()
        self._asked: dict[str, threading.Timer] = {}
        self._shown = False  # a line without its end
        self._said: set[str] = set()
        self.above: Callable[[str], None] | None = None

    def __call__(self, notice: Notice) -> None:
        """Say it, where it is of any use."""
        match notice:
            case Asking(repository=name):
                self._ask(name)
            case Answered(repository=name):
                self._answered(name)
            case Waiting():
                self.line(waiting(notice))
            case Complaint(repository=name, text=text):
                self._complain(f"{name}: {printable(text)}")

    def line(self, text: str) -> None:
        """A line of its own."""
        if self._quiet:
            return
        with self._lock:
            self._clear()
            with suppress(OSError, ValueError):  # whoever read it went away; the work goes on
                if self.above:
                    self.above(text)
                else:
                    print(text, file=self._stream, flush=True)

    def _ask(self, name: str) -> None:
        if not self._asks_aloud:
            return
        timer = threading.Timer(ASKING_SECONDS, self._still_asking, (name,))
        timer.daemon = True
        with self._lock:
            self._asked[name] = timer
        timer.start()

    def _still_asking(self, name: str) -> None:
        with self._lock:
            if name not in self._asked or self.above:
                return  # the bar says what goes on
            text = f"asking {', '.join(self._asked)} …"
            with suppress(OSError, ValueError):
                if self._verbose:  # log lines come in between
                    print(text, file=self._stream, flush=True)
                else:
                    self._stream.write(f"{_CLEAR_LINE}{text}")
                    self._stream.flush()
                    self._shown = True

    def _answered(self, name: str) -> None:
        with self._lock:
            timer = self._asked.pop(name, None)
            if timer:
                timer.cancel()
            self._clear()

    def _clear(self) -> None:
        if self._shown:
            self._shown = False
            with suppress(OSError, ValueError):
                self._stream.write(_CLEAR_LINE)
                self._stream.flush()

    def _complain(self, text: str) -> None:
        """Once: a program that tries again says the same with other numbers."""
        kind = _NUMBER.sub("0", text)
        if kind not in self._said and len(self._said) < _MOST_COMPLAINTS:
            self._said.add(kind)
            self.line(text)


def waiting(notice: Waiting) -> str:
    """`waiting for another run on /opt/open-webui (process 4711, since …); for 5 min at most`."""
    who = f" ({printable(notice.holder)})" if notice.holder else ""
    return f"waiting for another run on {printable(notice.what)}{who}; for {duration(notice.wait_seconds)} at most"
