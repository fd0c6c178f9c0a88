"""One attempt: marks, settle, fence, pin, take, marks again. Equal marks prove that everything is from one moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from owui_vault.capture.child.classify import Database
from owui_vault.capture.child.databases import RawCopies, RawMark, raw_mark
from owui_vault.capture.child.errors import AttemptFailedError, SourceChangedError, UnreadableError
from owui_vault.capture.child.fences import CLOCK_STEP_NS, Now, clock_offset, tick, wall_ns
from owui_vault.capture.child.marks import Mark, Walk, require_layout
from owui_vault.capture.child.sqlite.pinned_copy import PinnedCopies
from owui_vault.capture.child.sqlite.wal import Commit
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.capture.child.watch import find_writers
from owui_vault.system.unwinding import undoing

_LONGEST_GRANULE_SECONDS = 3.0  # two on FAT, and as long may an attribute be remembered


@dataclass(slots=True)
class Look:
    """All marks of one pass."""

    tree: dict[str, Mark]
    raw: dict[str, RawMark]
    unreadable: set[str]
    strays: set[str] = field(default_factory=set)

    def files(self) -> dict[tuple[int, int], str]:
        """Names by device and inode."""
        files = {(mark.device, mark.inode): name for name, mark in self.tree.items() if mark.is_file}
        parts = ((name, mark) for name, raw in self.raw.items() for mark in raw.parts())
        return files | {(mark.device, mark.inode): name for name, mark in parts}

    def marks(self) -> Iterator[tuple[str, Mark]]:
        """All marks; those of a database's files by its own name."""
        yield from self.tree.items()
        for name, raw in self.raw.items():
            yield from ((name, part) for part in raw.parts())

    def not_past(self, now: Now) -> list[tuple[str, Mark]]:
        """What bears a time that is not surely past: few of very many."""
        early = now.surely_past_ns
        return [each for each in self.marks() if each[1].ctime_ns >= early or each[1].mtime_ns >= early]


@dataclass(slots=True)
class Instant:
    """A proven (or at least taken) moment, and the last commit of each pinned database then."""

    at_ns: int
    databases: tuple[Database, ...]
    commits: dict[str, Commit]
    look: Look
    unsettled: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Attempt:
    """The circumstances of one attempt.

    `pin`: what can be pinned was pinned and copied ahead; otherwise databases are treated as plain files.
    `frozen`: no possible writer should be running; one that does is named, and the attempt fails. `held`: this is so
    because we froze or stopped them.
    """

    writer: StageWriter
    raw: RawCopies
    pinned: PinnedCopies
    pin: bool
    frozen: bool
    held: bool
    patience_seconds: float  # how long settling is waited for when everybody is seen to be frozen
    until: float
    alone: bool = False  # that nobody runs is all there is for a proof, so whoever cannot be looked at spoils it
    settle_seconds: float = 0.0
    databases: tuple[Database, ...] = ()
    _all_seen: bool | None = None  # whether the kernel told of everybody that nobody else writes
    _ahead: dict[str, int] = field(default_factory=dict)  # what was trusted because it is dated ahead
    _since: dict[tuple[str, Mark], float] = field(default_factory=dict)  # of what another machine's clock stamps

    def run(self) -> Instant:
        """Steps 4 to 12 of the procedure. Raises AttemptFailedError, NoRoomError."""
        offset = clock_offset()
        databases = self.pinned.classify()
        if not self.pin:
            databases = tuple(replace(database, obstacle="not pinned") for database in databases)
        self.databases = databases
        unpinned = [database for database in databases if not database.pinnable]
        pinned = [database for database in databases if database.pinnable]
        self.pinned.require_copied(pinned)
        with undoing(self.pinned.end_reference):
            look, unsettled = self._rest(unpinned)
            at_ns, commits = self.pinned.at_one_moment(pinned) if pinned else (wall_ns(), {})
            self._take(unpinned, look, unsettled)
            self._compare(unpinned, look)
            self._require_still_ahead()
            if self.alone:
                self._look_for_writers(look)
            if abs(clock_offset() - offset) * 1e9 > CLOCK_STEP_NS:
                raise AttemptFailedError("the system clock was set during the capture")
            self.raw.examine(unpinned)
        return Instant(at_ns, databases, commits, look, unsettled)

    def _rest(self, unpinned: Sequence[Database]) -> tuple[Look, set[str]]:
        """Marks that can be trusted: settled by the file system's clock, no journal at work, fenced."""
        began = time.monotonic()
        number = 0
        while True:
            reason = "the data kept changing"
            try:
                look = self.look(unpinned)
                self._refuse_writers(look)  # first: whoever writes while nobody is held is not waited for
                self._refuse_journals(unpinned, look)
                now = self.writer.read_clock()
                recent = look.not_past(now)
                unsettled = [each for each in recent if not now.settled(each[1]) and not self._held_still(*each, now)]
                impatient = self.held and self._all_seen and time.monotonic() - began > self.patience_seconds
                if not unsettled or impatient:
                    self._fence(unpinned, look)
                    self.settle_seconds += time.monotonic() - began
                    late = {name for name, _ in unsettled}
                    ahead = ((name, now.ahead(mark)) for name, mark in recent if name not in late)
                    self._ahead = {name: when for name, when in ahead if when is not None}
                    return look, late
                reason = self._what_is_waited_for(unsettled, now)
            except SourceChangedError as changed:
                reason = str(changed)
            self._within_time(reason)
            time.sleep(min(tick(number), max(0.0, self.until - time.monotonic())))
            number += 1

    def _held_still(self, name: str, mark: Mark, now: Now) -> bool:
        """Whether a mark that another machine's clock made has stayed for longer than any of them counts at once."""
        moment = time.monotonic()
        return now.is_foreign(mark) and moment - self._since.setdefault((name, mark), moment) > _LONGEST_GRANULE_SECONDS

    def _what_is_waited_for(self, unsettled: Sequence[tuple[str, Mark]], now: Now) -> str:
        """For the message. Raises AttemptFailedError at once for what cannot come within the time that is left."""
        name, mark = min(unsettled, key=lambda each: (-now.seconds_to_wait(each[1]), each[0]))
        what, seconds = name or "the data directory", now.seconds_to_wait(mark)
        if seconds <= 0:
            return f"{what} was changed only a moment ago"
        reason = f"{what} has a change time {seconds:.1f} s ahead of its file system's clock"
        if time.monotonic() + seconds > self.until and not (self.held and self._all_seen):
            raise AttemptFailedError(reason)
        return reason

    def _require_still_ahead(self) -> None:
        """A change at the very time that a file bears already would not have moved it."""
        now = self.writer.read_clock()
        for name, when in self._ahead.items():
            if now.reached(when):
                raise SourceChangedError(name, "had a change time in the future, which has now passed")

    def look(self, unpinned: Sequence[Database]) -> Look:
        """Read all marks once."""
        walk = Walk(self.writer.job)
        tree = dict(walk)
        require_layout(self.writer.job, tree)
        return Look(tree, {each.name: raw_mark(self.writer, each) for each in unpinned}, walk.unreadable, walk.strays)

    def _refuse_writers(self, look: Look) -> None:
        """Check once what else has the data open for writing. If a process may be hidden, only settled marks count."""
        if self.frozen and self._all_seen is None:
            self._all_seen = self._look_for_writers(look)

    def _look_for_writers(self, look: Look) -> bool:
        """Whether every process could be examined. Raises AttemptFailedError for one that could write."""
        files, pinner = look.files(), self.pinned.process()
        watched = find_writers(self.writer.job, files, self.databases, self.writer.mappers, pinner=pinner)
        if watched.writers:
            raise AttemptFailedError("; ".join(watched.writers))
        if self.alone and not watched.complete:
            raise AttemptFailedError(
                "it cannot be proven that nothing is running: not every process is visible from here (run as root on"
                " this machine, or configure its unit, container or pid file)"
            )
        return watched.complete

    def _refuse_journals(self, unpinned: Sequence[Database], look: Look) -> None:
        """Pages are written only while a journal lives; where we hold the writer, and after a crash, it is taken along.

        A transaction of a process that we do not hold would continue.
        """
        holding = self.frozen and self.held
        for database in unpinned:
            if look.raw[database.name].journal_lives and not (holding or database.left_journal):
                raise SourceChangedError(database.name, "is in a transaction")

    def _fence(self, unpinned: Sequence[Database], look: Look) -> None:
        """Wait for writes on their way into anything that was not fenced at this mark before."""
        for name, mark in look.tree.items():
            if mark.is_file and not self.writer.has(name, mark):
                try:
                    self.writer.fences.wait(self.writer.job.locate(name), mark, name)
                except UnreadableError:
                    self.writer.unreadable.add(name)
        for database in unpinned:
            self.raw.fence(database, look.raw[database.name])

    def _take(self, unpinned: Sequence[Database], look: Look, unsettled: set[str]) -> None:
        """Link and copy whatever the stage does not hold yet, and remove from it what is not in the look."""
        self.writer.drop_all_but(look.tree)
        names = {database.name for database in unpinned}
        for name in [each for each in self.raw.taken if each not in names]:
            self.raw.forget(name)
        for name, mark in look.tree.items():
            late = name in unsettled
            self.writer.put(name, mark, link=not late and self.writer.job.is_write_once(name), unsettled=late)
            if mark.is_file:
                self._within_time(f"copying {name} took too long")
        for database in unpinned:
            self.raw.take(database, look.raw[database.name], once=database.name in unsettled)
            self._within_time(f"copying {database.name} took too long")

    def _compare(self, unpinned: Sequence[Database], look: Look) -> None:
        """Raise SourceChangedError unless everything is as it was, but for the times that our own links moved."""
        walk = Walk(self.writer.job)
        count = 0
        for name, mark in walk:
            count += 1
            before = look.tree.get(name)
            if before is None:
                raise SourceChangedError(name, "appeared")
            # Our own links move the ctime of what they link to, under all of its names.
            if mark != before and not (mark.but_for_ctime(before) and self.writer.has_link(name, mark)):
                raise SourceChangedError(name)
        if count != len(look.tree):
            raise SourceChangedError("", "lost a file")
        require_layout(self.writer.job, look.tree)
        if walk.unreadable != look.unreadable:
            raise SourceChangedError("", "changed who may read it")
        for database in unpinned:
            self.raw.changed_since(database, look.raw[database.name])

    def _within_time(self, reason: str) -> None:
        if time.monotonic() > self.until:
            raise AttemptFailedError(reason)
