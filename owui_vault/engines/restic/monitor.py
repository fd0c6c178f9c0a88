"""Notices when restic only seems to be alive, and infers what it does when it does not say."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

from owui_vault.engines.common.unreachable import HOPELESS, HOPELESS_SECONDS
from owui_vault.engines.restic.errors import WHY_NOTHING_MOVES, message_of
from owui_vault.errors import DeadlineExceededError, EngineError, RepositoryUnreachableError, VaultError
from owui_vault.model import Progress, Step
from owui_vault.ports import Call
from owui_vault.system.clock import SystemClock

_RETRYING = "retrying after"
_HOPELESS = re.compile(HOPELESS, re.IGNORECASE)
_CLOCK = re.compile(r"^\[[0-9:]+\]")
_COUNTS = re.compile(r"^(\d+(?:\.\d+)?%)\s+\d+ / \d+ (.*)")
#: The lines that say what takes long; the others are about caches, locks, and what the report says anyway.
_PHASE = re.compile(r"(check|read|finding|searching|collecting|repacking|rebuilding|removing|deleting|snapshot) ")
_LAST_LINES = 50
_LOOKS_PER_IDLE_TIME = 10
_A_FEW_WORDS = 1 << 16  # what is on its way to us, and the words of a protocol in which nothing is stored
_LOOK_SECONDS = 1.0
_SHARE_OF_LOOKING = 20  # looking takes at most this part of the time


class Monitor:
    """Notices that restic only seems to be alive: it prints its status, or tries again, and nothing moves."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._position: object = None
        self._moved = self._looked = SystemClock().monotonic()
        self._complaining_since: float | None = None
        self._complaint = ""
        self._writer = Writer()
        self.clean: Callable[[str], str] = str
        self._failure: Callable[[str], VaultError] = EngineError

    def follow(self, record: Path, clean: Callable[[str], str], failure: Callable[[str], VaultError]) -> None:
        """The run that is watched notes its process number there. What it says is shown through `clean` only.

        `failure` is what a complaint means.
        """
        self._writer = Writer(record)
        self.clean = clean
        self._failure = failure

    def see(self, position: object) -> None:
        """Take a note of how far it is. Raises DeadlineExceededError."""
        now = SystemClock().monotonic()
        if position != self._position:
            self._position = position
            self._move(now)
        elif self._writes(now):
            self._move(now)
        elif now - self._moved > self._call.idle_seconds:
            raise DeadlineExceededError(
                f"restic made no progress for {self._call.idle_seconds:g} s",
                hint="Check whether its disk or host responds, or raise limits.idle.",
            )

    def hear(self, line: str) -> None:
        """Take a note of a complaint. Raises RepositoryUnreachableError when it goes on complaining."""
        self._writer.heard_bytes += len(line) + 1
        if _RETRYING not in line:
            return
        now = SystemClock().monotonic()
        self._complaint = line
        if self._complaining_since is None:  # one hiccup says nothing, however long it was still before
            self._complaining_since = now
        patience = self._call.timeout_seconds
        if _HOPELESS.search(line):
            patience = min(patience, HOPELESS_SECONDS)
        if now - self._complaining_since > patience:
            raise self._given_up(line)

    def why(self, error: DeadlineExceededError) -> VaultError:
        """What it complained of since it moved last says more than that it does not move."""
        meant = self._failure(self._complaint) if self._complaint else error
        return meant if isinstance(meant, WHY_NOTHING_MOVES) else error

    def _given_up(self, line: str) -> VaultError:
        meant = self._failure(line)
        if isinstance(meant, WHY_NOTHING_MOVES):
            return meant
        return RepositoryUnreachableError(
            f"the repository does not answer: {self.clean(message_of(line))[:300]}",
            engine="restic",
            hint="Check whether its host responds.",
        )

    def heard(self, line: str) -> None:
        """Take a note of a line of stdout, which is no sign that anything arrived anywhere."""
        self._writer.heard_bytes += len(line) + 1

    def tick(self) -> None:
        """Called all the time while it runs."""

    def _move(self, now: float) -> None:
        self._moved, self._complaining_since, self._complaint = now, None, ""

    def _writes(self, now: float) -> bool:
        """On a slow line it has read everything long before it is sent."""
        if now - self._looked < self._call.idle_seconds / _LOOKS_PER_IDLE_TIME:
            return False
        self._looked = now
        return self._writer.wrote()


class LineMonitor(Monitor):
    """Every line of stdout is something it did."""

    def heard(self, line: str) -> None:  # noqa: ARG002  # what it says means nothing here
        """Take a note of a line."""
        self._move(SystemClock().monotonic())


class Writer:
    """How much a run has written, to its repository or wherever, but for what it told us."""

    def __init__(self, record: Path | None = None) -> None:
        self._record = record
        self._known = 0
        self.heard_bytes = 0

    def wrote(self) -> bool:
        """Whether it has written something since this was asked last; more than a few words."""
        written = self._written() - self.heard_bytes
        grown = written - self._known > _A_FEW_WORDS
        if grown:
            self._known = written
        return grown

    def _written(self) -> int:
        try:
            leader = str(json.loads(self._record.read_bytes())["pid"]) if self._record else ""
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        pids = (pid for pid in os.listdir("/proc") if leader and pid.isdigit())
        return sum(_written_by(pid) for pid in pids if _group_of(pid) == leader)


def _group_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[2]
    except (OSError, IndexError):
        return ""


def _written_by(pid: str) -> int:
    """`wchar`: what it handed to write(2), whether that was a file, a socket or the pipe of an ssh."""
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split("wchar:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return 0


class TextMonitor:
    """The same for commands that print lines for people, such as `[0:07] 25.00%  1 / 4 packs`."""

    def __init__(self, call: Call, step: Step) -> None:
        self.monitor = Monitor(call)
        self.lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._call = call
        self._step = step
        self._told = ""

    def stdout(self, line: str) -> None:
        """Something it did: the clock in front does not count."""
        text = _CLOCK.sub("", line).strip()
        self.monitor.see(text)
        self.lines.append(line)
        told = _COUNTS.sub(r"\2 \1", text)  # a number that grows for an hour is no news, a share is
        if told != self._told and (told != text or _PHASE.match(text)):
            self._told = told
            self._call.progress(Progress(step=self._step, text=self.monitor.clean(told)))


class TargetMonitor(Monitor):
    """Looks at what a silent restore writes. restic < 0.17 says nothing while it restores."""

    def __init__(self, target: Path, call: Call) -> None:
        super().__init__(call)
        self._target = target
        self._before = _size_below(target)
        self._next = 0.0

    def tick(self) -> None:
        """Look now and then. Raises DeadlineExceededError when nothing grows any more."""
        now = SystemClock().monotonic()
        if now >= self._next:
            size = self.look()
            done = SystemClock().monotonic()
            self._next = done + max(_LOOK_SECONDS, _SHARE_OF_LOOKING * (done - now))
            self.see(size)

    def look(self) -> int:
        """Tell how much has come."""
        size = _size_below(self._target)
        self._call.progress(Progress(step=Step.FETCH, done_bytes=max(0, size - self._before)))
        return size


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
