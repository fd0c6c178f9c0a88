"""Noticing that restic only seems to be alive, and what it does where it does not say."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from pathlib import Path

from owui_vault.engines.restic_errors import message_of
from owui_vault.errors import DeadlineExceededError, RepositoryUnreachableError
from owui_vault.model import Progress, Step
from owui_vault.ports import Call

_RETRYING = "retrying after"
_CLOCK = re.compile(r"^\[[0-9:]+\]")
_LAST_LINES = 50
_LOOK_SECONDS = 1.0
_SHARE_OF_LOOKING = 20  # looking takes at most this part of the time


class Watch:
    """Notices that restic only seems to be alive: it prints its status, or tries again, and nothing moves."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._position: object = None
        self._moved = time.monotonic()

    def see(self, position: object) -> None:
        """Take a note of how far it is. Raises DeadlineExceededError."""
        now = time.monotonic()
        if position != self._position:
            self._position, self._moved = position, now
        elif now - self._moved > self._call.idle_seconds:
            raise DeadlineExceededError(
                f"restic made no progress for {self._call.idle_seconds:g} s",
                hint="Look whether its disk or host answers, or raise limits.idle.",
            )

    def hear(self, line: str) -> None:
        """Take a note of a complaint. Raises RepositoryUnreachableError when it goes on complaining."""
        if _RETRYING in line and time.monotonic() - self._moved > self._call.timeout_seconds:
            raise RepositoryUnreachableError(
                f"the repository does not answer: {message_of(line)[:300]}",
                engine="restic",
                hint="Look whether its host answers.",
            )


class TextWatch:
    """The same for commands that print lines for people, such as `[0:07] 25.00%  1 / 4 packs`."""

    def __init__(self, call: Call) -> None:
        self._watch = Watch(call)
        self.lines: deque[str] = deque(maxlen=_LAST_LINES)

    def stdout(self, line: str) -> None:
        """Something it did: the clock in front does not count."""
        self._watch.see(_CLOCK.sub("", line))
        self.lines.append(line)

    def stderr(self, line: str) -> None:
        """A complaint."""
        self._watch.hear(line)


class TargetWatch(threading.Event):
    """Looks at what a silent restore writes. restic < 0.17 says nothing while it restores.

    It stands where the `cancel` of a program stands, because that is looked at all the time, and from the same thread.
    """

    def __init__(self, target: Path, call: Call) -> None:
        super().__init__()
        self._target = target
        self._call = call
        self._watch = Watch(call)
        self._before = _size_below(target)
        self._next = 0.0

    def is_set(self) -> bool:
        """Whether to cancel. Raises DeadlineExceededError when nothing grows any more."""
        now = time.monotonic()
        if now >= self._next:
            size = _size_below(self._target)
            self._next = time.monotonic() + max(_LOOK_SECONDS, _SHARE_OF_LOOKING * (time.monotonic() - now))
            self._watch.see(size)
            self._call.progress(Progress(step=Step.FETCH, done_bytes=max(0, size - self._before)))
        return self._call.cancel.is_set()


def _size_below(folder: Path) -> int:
    """Bytes on disk, so that files made long before they are filled do not count."""
    size = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                size += os.lstat(f"{place}/{name}").st_blocks * 512
            except FileNotFoundError:
                continue
    return size
