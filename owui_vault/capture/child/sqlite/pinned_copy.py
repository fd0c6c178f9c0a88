"""Copies of pinned databases: made ahead, and brought to one moment by the pages in their WAL.

What is copied ahead belongs to no single moment: the application keeps checkpointing meanwhile. But every page it
checkpoints is in the WAL, which is not restarted while the database is pinned; so the pages in the WAL, up to the last
commit at that moment, make the copy exact.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from owui_vault.capture.child.classify import Database, classify
from owui_vault.capture.child.errors import AttemptFailedError, NoRoomError, SourceChangedError
from owui_vault.capture.child.marks import Mark, mark_of
from owui_vault.capture.child.sqlite.pin_process import Pinner, PinnerGoneError
from owui_vault.capture.child.sqlite.recovery import open_copy
from owui_vault.capture.child.sqlite.statements import answer
from owui_vault.capture.child.sqlite.wal import Commit, bring_in
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.system.filesystem import copy_beside_others, is_full, open_to_read, start_writing
from owui_vault.system.unwinding import undoing

_FILES = ("", "-wal", "-shm")
_LOOK_UP_EVERY_BYTES = 16 << 20
_FLUSH_EVERY_SECONDS = 0.05
_TRIES = 3
_BETWEEN_TRIES_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Ahead:
    """One database that is pinned and copied ahead, and the files that it was then."""

    database: Database
    marks: tuple[Mark | None, ...]

    def same_files(self) -> bool:
        """Whether the paths still lead to them."""
        now = _look(self.database.real)
        return [_file(mark) for mark in now] == [_file(mark) for mark in self.marks]


@dataclass(slots=True)
class PinnedCopies:
    """Which databases are pinned and copied ahead, by name."""

    writer: StageWriter
    ahead: dict[str, Ahead] = field(default_factory=dict)
    _pinner: Pinner | None = None

    def classify(self) -> tuple[Database, ...]:
        """Look at all databases of the plan. Those pinned are as they were, since our own locks would be seen.

        One that was replaced is let go.
        """
        self._start_over_if_gone()
        for name in [name for name, each in self.ahead.items() if not each.same_files()]:
            self.forget(name)
        found = {each.name: each for each in classify(self.writer.job, but=frozenset(self.ahead))}
        found |= {name: each.database for name, each in self.ahead.items()}
        return tuple(found[name] for name in self.writer.job.databases)

    def begin(self, database: Database, until: float, progress: Callable[[int, int], None]) -> None:
        """Pin a database and copy it ahead. Raises AttemptFailedError, NoRoomError; then nothing is left of it."""
        name = database.name
        if name in self.ahead:
            return
        marks = _look(database.real)
        self._pin(name, database.real)
        self.ahead[name] = Ahead(database, marks)
        try:
            with self._whole_or_nothing(name):
                self._copy(database, marks[0], until, progress)
                if not self.ahead[name].same_files():
                    raise SourceChangedError(name, "was replaced")
        except OSError as error:
            raise AttemptFailedError(f"{name} could not be copied: {error.strerror}") from error

    def _pin(self, name: str, real: str) -> None:
        for _ in range(_TRIES - 1):
            with suppress(AttemptFailedError):  # somebody recovers it, or closes it, just now
                return self._process().pin(name, real)
            time.sleep(_BETWEEN_TRIES_SECONDS)
        return self._process().pin(name, real)

    def _copy(self, database: Database, mark: Mark | None, until: float, progress: Callable[[int, int], None]) -> None:
        name = database.name
        if mark is None:
            raise SourceChangedError(name, "vanished")
        self.writer.forget_database(name)
        source = self.writer.fences.open(database.real, mark, name)
        try:
            size = os.fstat(source).st_size  # what it grows by from here on is in the log
            target = os.open(
                self.writer.place_for_database(name),
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
            )
            flush = _Flush(source)
            looked_up = 0

            def between(done: int) -> None:
                nonlocal looked_up
                flush()
                if time.monotonic() > until:
                    raise AttemptFailedError(f"{name} could not be copied: it took too long")
                if done - looked_up >= _LOOK_UP_EVERY_BYTES or done == size:
                    looked_up = done
                    self._require_room(database)
                    self._process().require_held(name)
                    progress(done, size)

            try:
                copy_beside_others(source, target, size, between)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _require_room(self, database: Database) -> None:
        self.writer.require_room(0)
        self.writer.require_room(0, os.path.dirname(database.real))  # the log grows there until it is let go

    def require_copied(self, databases: Iterable[Database]) -> None:
        """Raise AttemptFailedError unless all of these were copied ahead."""
        for database in databases:
            if database.name not in self.ahead:
                raise AttemptFailedError(f"{database.name} no longer matches the copy taken beforehand")

    def at_one_moment(self, databases: Sequence[Database]) -> tuple[int, dict[str, Commit]]:
        """The moment and the last commit of each then. Raises AttemptFailedError."""
        at_ns, commits = self._process().at_one_moment([database.name for database in databases])
        for database in databases:
            if not self.ahead[database.name].same_files():
                raise SourceChangedError(database.name, "was replaced")
        return at_ns, commits

    def end_reference(self) -> None:
        """The last moment is of no interest any more."""
        if self._pinner is not None and not self._pinner.gone:
            self._pinner.end_reference()

    def complete(self, name: str, commit: Commit, until: float) -> None:
        """Bring a copy to its moment and compare it with what SQLite itself said then, then let the database go.

        Raises AttemptFailedError; then nothing is left of it.
        """
        try:
            with self._whole_or_nothing(name):
                told = self._process().reference_answers(name)
                self._bring_in(name, commit, until)
                self._process().require_held(name)
                self._compare(name, told)
        except AttemptFailedError as error:
            raise AttemptFailedError(f"{name} could not be copied: {error}") from error
        self.release(name)

    @contextmanager
    def _whole_or_nothing(self, name: str) -> Iterator[None]:
        """Whatever goes wrong in the block, the database is let go and nothing is left of its copy."""
        with undoing(self.forget, name):
            try:
                yield
            except OSError as error:
                if is_full(error):
                    raise NoRoomError(f"not enough space for a copy of {name}") from error
                raise

    def _bring_in(self, name: str, commit: Commit, until: float) -> None:
        real = self.ahead[name].database.real
        descriptors: list[int] = []
        try:
            descriptors.append(open_to_read(real))
            descriptors.append(open_to_read(f"{real}-wal"))
            place = self.writer.inside.place(name)
            descriptors.append(os.open(place, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
            flush = _Flush(descriptors[0])

            def between() -> None:
                flush()
                if time.monotonic() > until:
                    raise AttemptFailedError("it took too long")

            between()
            bring_in(descriptors[1], descriptors[2], commit, between)
        finally:
            for each in descriptors:
                os.close(each)

    def _compare(self, name: str, told: dict[str, str]) -> None:
        """Rows counted at the moment and in the copy must be the same; of large databases the newest rows."""
        with closing(open_copy(self.writer.place(name), immutable=True)) as copy:
            if any(answer(copy, statement) != told[statement] for statement in told):
                raise AttemptFailedError("the copy differs from what was pinned")

    def changed_ns(self, name: str) -> int:
        """The last time a database or its log was written to."""
        return max((mark.mtime_ns for mark in _look(self.ahead[name].database.real)[:2] if mark), default=0)

    def process(self) -> int | None:
        """The process with the pins, which holds locks as an application does."""
        return self._pinner.pid if self._pinner is not None else None

    def release(self, name: str) -> None:
        """Let a database go; its copy stays."""
        self.ahead.pop(name)
        if self._pinner is not None and not self._pinner.gone:
            with suppress(PinnerGoneError):  # with everything it held
                self._pinner.release(name)

    def forget(self, name: str) -> None:
        """Let a database go and remove its copy."""
        self.release(name)
        self.writer.forget_database(name)

    def end(self) -> None:
        """Let everything go, and end the process with the pins."""
        self.ahead.clear()
        if self._pinner is not None:
            self._pinner.end()
            self._pinner = None

    def _start_over_if_gone(self) -> None:
        """What a process held that is gone is not held, so that its copy cannot be brought to any moment."""
        if self._pinner is not None and self._pinner.gone:
            for name in list(self.ahead):
                self.forget(name)
            self.end()

    def _process(self) -> Pinner:
        if self._pinner is None:
            self._pinner = Pinner(self.writer.job.wal_growth_bytes)
        return self._pinner


class _Flush:
    """Now and then begins to write what the application brought from the log into its database.

    SQLite waits for all of it at once in the commit that ends its log, and that one comes only when we let go.
    """

    def __init__(self, database: int) -> None:
        self._database = database
        self._next = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            start_writing(self._database)
            self._next = now + _FLUSH_EVERY_SECONDS


def _look(real: str) -> tuple[Mark | None, ...]:
    return tuple(mark_of(real + suffix) for suffix in _FILES)


def _file(mark: Mark | None) -> tuple[int, int] | None:
    return (mark.device, mark.inode) if mark else None
