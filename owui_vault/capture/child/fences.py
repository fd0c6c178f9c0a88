"""When a mark can be trusted: the file system's own clock has moved on, and no write is still on its way."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from owui_vault.capture.child.errors import SourceChangedError, UnreadableError, cannot_be_read
from owui_vault.capture.child.marks import Mark, mark_from, mark_of
from owui_vault.system.filesystem import fence, open_to_read

_FIRST_TICK_SECONDS = 0.002
_LONGEST_TICK_SECONDS = 0.25
_CLOSE_NS = 1_000_000
_NEAR_NS = 1_000_000_000  # waiting for it costs no more; an attempt that takes longer than that looks again
_FOREIGN_NS = 3600 * 1_000_000_000  # by how much the clock of a file server may be wrong
_COARSEST_NS = 2_000_000_000  # FAT counts by two seconds
CLOCK_STEP_NS = 10_000_000  # a clock that was set by more than that fails the attempt
_READINGS = 20


class Probe:
    """A file of ours on the data's file system: writing to it shows that file system's time."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.device = os.fstat(self._descriptor).st_dev

    def now_ns(self) -> int:
        """The time a write gets that happens now."""
        os.pwrite(self._descriptor, b"x", 0)
        return os.fstat(self._descriptor).st_mtime_ns

    def is_coarse(self) -> bool:
        """Whether this file system counts whole seconds only."""
        return self.now_ns() % 1_000_000_000 == 0 and self.now_ns() % 1_000_000_000 == 0

    def close(self) -> None:
        """Let the file go."""
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Now:
    """What time it is for the files that are looked at, and which of their marks can be trusted.

    A change stamps a file with the time at which it happens, whatever was there before: on each file system, as
    tests/capture/child/test_future.py shows. So the next one shows unless it could happen at the very time that a mark
    bears:

    * a time in the past: it cannot come again;
    * the present one, as exactly as the file system counts: wait for its clock to move on;
    * a time ahead, of a file dated by hand or by a clock that ran ahead: only when the clock comes there. One far
      ahead is trusted at once, and whether the clock came there after all is looked at in the end (`reached`).

    Both times are looked at, since the second is moved by our own links. `foreign` are devices that another machine's
    clock stamps: around the present nothing is known there.
    """

    probe_ns: int
    device: int  # the probe's; a time there is as exact as the probe's
    foreign: frozenset[int] = frozenset()

    @property
    def surely_past_ns(self) -> int:
        """Whatever bears only earlier times is settled."""
        return self.probe_ns - (_FOREIGN_NS if self.foreign else _COARSEST_NS)

    def settled(self, mark: Mark) -> bool:
        """Whether any later change must show."""
        past, ahead = self._margins(mark)
        return all(each < self.probe_ns - past or each > self.probe_ns + ahead for each in mark.times)

    def ahead(self, mark: Mark) -> int | None:
        """The first time of a mark that is still to come."""
        return min((each for each in mark.times if each > self.probe_ns), default=None)

    def reached(self, time_ns: int) -> bool:
        """Whether a change may bear this time by now, also where the clock was set back by less than is noticed."""
        return time_ns <= self.probe_ns + CLOCK_STEP_NS

    def seconds_to_wait(self, mark: Mark) -> float:
        """Until the clock has passed what is near; nothing for what nobody knows how to wait for."""
        past, ahead = self._margins(mark)
        near = [each for each in mark.times if self.probe_ns <= each <= self.probe_ns + ahead]
        return (max(near) - self.probe_ns + past) / 1e9 if near else 0.0

    def is_foreign(self, mark: Mark) -> bool:
        """Whether another machine's clock stamps it."""
        return mark.device in self.foreign

    def _margins(self, mark: Mark) -> tuple[int, int]:
        if self.is_foreign(mark):
            return _FOREIGN_NS, _FOREIGN_NS
        exact = mark.device == self.device or any(each % 1_000_000_000 for each in mark.times)
        return 0 if exact else _COARSEST_NS, _NEAR_NS


def wall_ns() -> int:
    """The kernel's wall clock, which also stamps files; not the clock that a caller may have replaced."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def steady_ns() -> int:
    """The kernel's clock that cannot be set."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def clock_offset() -> float:
    """Wall clock minus steady clock: the same at two looks, unless somebody set the wall clock between them.

    Both are read again until they were read together: on a busy machine this process may have to wait in between, which
    would look like a step.
    """
    offset_ns = 0
    for _ in range(_READINGS):
        before, wall, after = steady_ns(), wall_ns(), steady_ns()
        offset_ns = wall - before
        if after - before < _CLOSE_NS:
            break
    return offset_ns / 1e9


@dataclass(slots=True)
class Fences:
    """Opens what was marked, and waits for writes on their way."""

    seconds: float = 0.0

    def open(self, path: str, mark: Mark, name: str) -> int:
        """A descriptor of exactly the file that was marked. Raises SourceChangedError, UnreadableError."""
        try:
            descriptor = open_to_read(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceChangedError(name, "vanished") from error
        except OSError as error:
            if cannot_be_read(error):
                raise UnreadableError(name) from error
            raise SourceChangedError(name, f"cannot be opened ({error.strerror})") from error
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (mark.device, mark.inode):
            os.close(descriptor)
            raise SourceChangedError(name, "was replaced")
        return descriptor

    def wait(self, path: str, mark: Mark, name: str) -> None:
        """Fence one file and see that its mark still holds. Raises SourceChangedError, UnreadableError."""
        descriptor = self.open(path, mark, name)
        try:
            self.through(descriptor, name)
            if mark_from(os.fstat(descriptor)) != mark or mark_of(path) != mark:
                raise SourceChangedError(name)
        finally:
            os.close(descriptor)

    def through(self, descriptor: int, name: str) -> None:
        """Fence an open file. Raises UnreadableError."""
        began = time.monotonic()
        try:
            fence(descriptor)
        except OSError as error:
            if cannot_be_read(error):
                raise UnreadableError(name) from error
            raise
        self.seconds += time.monotonic() - began


def tick(number: int) -> float:
    """How long to sleep before the probe is touched again."""
    return float(min(_FIRST_TICK_SECONDS * 2**number, _LONGEST_TICK_SECONDS))
