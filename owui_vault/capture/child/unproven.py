"""What is stored if no instant can be proven: each database consistent in itself, every file as it was found."""

from __future__ import annotations

import os
import time

from owui_vault.capture.child.attempt import Instant, Look
from owui_vault.capture.child.classify import Database
from owui_vault.capture.child.databases import RawCopies, RawMark, raw_mark
from owui_vault.capture.child.errors import AttemptFailedError, SourceChangedError
from owui_vault.capture.child.fences import tick, wall_ns
from owui_vault.capture.child.marks import Mark, Walk, mark_of, require_layout
from owui_vault.capture.child.sqlite.pinned_copy import PinnedCopies
from owui_vault.capture.child.sqlite.recovery import copy_under_lock
from owui_vault.capture.child.sqlite.wal import Commit
from owui_vault.capture.child.stage_writer import StageWriter

_TRIES_PER_FILE = 5
_TRIES_PER_DATABASE = 200  # a small one changes faster than it is looked at
_LONGEST_LOCK_SECONDS = 2.0  # well below the time after which the application gives up a commit


def gather(writer: StageWriter, raw: RawCopies, pinned: PinnedCopies, until: float) -> tuple[Instant, list[str]]:
    """Databases first, then vectors, then the rest: a file without a row is harmless, a row without a file is not.

    Returns the names that could not be copied consistently.
    """
    databases = pinned.classify()
    torn: list[str] = []
    commits: dict[str, Commit] = {}
    for number, database in enumerate(databases):
        now = time.monotonic()
        share = now + (until - now) / (len(databases) - number)  # the first must not use up the time of all
        if database.pinnable and _pin(database, pinned, commits, share):
            raw.taken.pop(database.name, None)
        elif not _whole(writer, raw, database, share):
            torn.append(database.name)
    at_ns = wall_ns()
    tree, strays, moved = _files(writer)
    return Instant(at_ns, databases, commits, Look(tree, dict(raw.taken), set(), strays)), torn + moved


def _pin(database: Database, pinned: PinnedCopies, commits: dict[str, Commit], until: float) -> bool:
    """Each by itself: they need not be from one moment here."""
    try:
        pinned.begin(database, until, ignore)
        commits |= pinned.at_one_moment([database])[1]
    except AttemptFailedError:
        if database.name in pinned.ahead:
            pinned.forget(database.name)
        return False
    return True


def ignore(_done: int, _total: int) -> None:
    """Progress is not reported here."""


def _whole(writer: StageWriter, raw: RawCopies, database: Database, until: float) -> bool:
    """Copy one database between two of its transactions; when that never succeeds, as it is."""
    number = 0
    while True:
        try:
            mark = raw_mark(writer, database)
            now = writer.read_clock()
            idle = database.left_journal or not mark.journal_lives
            if idle and all(map(now.settled, mark.parts())):
                raw.fence(database, mark)
                raw.take(database, mark)
                raw.changed_since(database, mark)
                return _makes_sense(raw, database)
        except SourceChangedError:
            raw.forget(database.name)
        if time.monotonic() > until:
            return _under_lock(writer, raw, database) or _as_it_is(writer, raw, database)
        time.sleep(tick(number))
        number += 1


def _makes_sense(raw: RawCopies, database: Database) -> bool:
    try:
        raw.examine([database])
    except AttemptFailedError:
        return False
    return True


def _under_lock(writer: StageWriter, raw: RawCopies, database: Database) -> bool:
    """Copy the application's own database in a read transaction, whose end its writer waits for.

    Never the vectors' database: a lock held on that one stops the whole server.
    """
    if database.mode != "delete" or writer.job.is_vector_file(database.name):
        return False
    raw.forget(database.name)
    place = writer.place_for_database(database.name)
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    complaint = copy_under_lock(database.real, writer.place(database.name), _LONGEST_LOCK_SECONDS)
    if complaint:
        raw.forget(database.name)
        return False
    mark = mark_of(database.real)
    raw.taken[database.name] = RawMark(mark, None, None, None, b"", journal_lives=False)
    writer.once.add(database.name)
    return True


def _as_it_is(writer: StageWriter, raw: RawCopies, database: Database) -> bool:
    for _ in range(_TRIES_PER_DATABASE):
        try:
            mark = raw_mark(writer, database)
            raw.take(database, mark, once=True)
        except SourceChangedError:
            continue
        return False
    return False


def _files(writer: StageWriter) -> tuple[dict[str, Mark], set[str], list[str]]:
    walk = Walk(writer.job, tolerant=True)
    tree = dict(walk)
    require_layout(writer.job, tree)
    writer.drop_all_but(tree)
    order = sorted(tree, key=lambda name: (writer.job.is_write_once(name), name))
    moved = [name for name in order if not _put(writer, name, tree[name])]
    writer.unreadable |= walk.unreadable
    return tree, walk.strays, moved


def _put(writer: StageWriter, name: str, mark: Mark) -> bool:
    found: Mark | None = mark
    for _ in range(_TRIES_PER_FILE):
        if found is None:
            return False
        try:
            settled = writer.read_clock().settled(found)
            writer.put(name, found, link=settled and writer.job.is_write_once(name), fenced=True, unsettled=not settled)
        except SourceChangedError:
            found = mark_of(writer.job.locate(name))
            require_layout(writer.job, {name: found} if found else {})
        else:
            return True
    _put_as_met(writer, name)
    return False


def _put_as_met(writer: StageWriter, name: str) -> None:
    """Copy a file that is written to constantly: half of it is better than nothing."""
    for _ in range(_TRIES_PER_FILE):
        mark = mark_of(writer.job.locate(name))
        if mark is None or not mark.is_file:
            return
        try:
            writer.put_as_met(name, mark)
        except SourceChangedError:  # another file by this name
            continue
        return
