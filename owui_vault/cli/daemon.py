"""The loop of `daemon`: looks at the clock on the wall, and calls `run` once in each of its minutes.

Each call is a process of its own. So a configuration, a program or a package that has changed counts from the next
minute on, what a run needs of memory is given back, and whatever kills a run leaves the loop alive to tell of it. What
is due is decided there, by the same code as everywhere: a clock that jumps, a machine that slept and a second daemon
are its business, and the loop has no memory that could be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from owui_vault.ports import Clock

#: A machine that slept is back for so long at most before it is noticed.
LOOK_SECONDS = 30.0
_POLL_SECONDS = 0.2
_REPEAT_SECONDS = 3600.0


class Child(Protocol):
    """One call under way."""

    @property
    def pid(self) -> int:
        """Its process."""

    def poll(self) -> int | None:
        """Its exit code once it has ended."""

    def lines(self, *, to_the_end: bool = False) -> Iterable[str]:
        """What it has said since the last look."""

    def ask_to_end(self) -> None:
        """Have it undo what it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the loop works with. `wait` returns true, and soon, when it was asked to end; `beat` says that it lives."""

    clock: Clock
    start: Callable[[str], Child]
    wait: Callable[[float], bool]
    beat: Callable[[int], None]
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonReport:
    """What it did. `interrupted` is the exit code of the run that it had to break off; None: none was under way."""

    calls: int
    failed: int
    interrupted: int | None = None


def loop(around: Around) -> DaemonReport:
    """Recover, then call `run` in every minute until asked to end."""
    calls = failed = 0
    told = _Told(around)
    status, asked = _call(around, "recover", told)
    minute: datetime | None = None
    while not asked:
        now = around.clock.now()
        # Another minute, not a later one: a clock that is set back must not silence us until it has caught up.
        if (this := now.replace(second=0, microsecond=0)) != minute:
            minute = this
            status, asked = _call(around, "run", told)
            calls += 1
            failed += status != 0
            continue
        around.beat(0)
        asked = around.wait(min(LOOK_SECONDS, 60.0 - now.second - now.microsecond / 1e6))
        status = 0
    return DaemonReport(calls=calls, failed=failed, interrupted=status or None)


def _call(around: Around, command: str, told: _Told) -> tuple[int, bool]:
    """Its exit code, and whether we were asked to end meanwhile: then it is, and takes the time it needs."""
    child = around.start(command)
    told.begin()
    asked = False
    while (status := child.poll()) is None:
        around.beat(child.pid)
        for line in child.lines():
            told.line(line)
        if around.wait(_POLL_SECONDS) and not asked:
            asked = True
            child.ask_to_end()
    for line in child.lines(to_the_end=True):
        told.line(line)
    if status < 0 and not asked:
        told.line(f"owui-vault: `{command}` was killed by signal {-status}")
    told.end(status)
    return status, asked


class _Told:
    """Lets through what calls say. One that fails in the words of the one before is told again after an hour only."""

    def __init__(self, around: Around) -> None:
        self._around = around
        self._known: list[str] | None = None  # of the last one, if it failed
        self._at = 0.0
        self._held: list[str] | None = None
        self._all: list[str] = []

    def begin(self) -> None:
        recent = self._around.clock.monotonic() - self._at < _REPEAT_SECONDS
        self._held = [] if self._known is not None and recent else None
        self._all = []

    def line(self, text: str) -> None:
        self._all.append(text)
        if self._held is None:
            self._around.say(text)
            return
        self._held.append(text)
        if self._held != (self._known or [])[: len(self._held)]:
            self._let_go()

    def end(self, status: int) -> None:
        if status != 0 and self._held is not None and self._held == self._known:
            return
        self._let_go()
        self._known = self._all if status != 0 else None
        self._at = self._around.clock.monotonic()

    def _let_go(self) -> None:
        for each in self._held or ():
            self._around.say(each)
        self._held = None
