"""Marks: what is read of a path before and after, to prove that nothing happened in between."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from owui_vault.capture.child.errors import AttemptFailedError, SourceChangedError, cannot_be_read
from owui_vault.capture.child.job import Job
from owui_vault.system.filesystem import open_to_read
from owui_vault.system.sqlite_format import MAGIC, SIDE_SUFFIXES

OWN_DIRECTORY = ".owui-vault"
_SHARED_MEMORY = "-shm"
_DEEPEST = 100  # folders below each other, and
_LONGEST = 3000  # bytes of a name: what lies deeper could not be copied, stored and restored below any other folder


class Mark(NamedTuple):
    """A path at one look. Directories have no size; the top level has no times (the stage may be in it)."""

    device: int
    inode: int
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    user: int
    group: int

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """A directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_symlink(self) -> bool:
        """A symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_special(self) -> bool:
        """A socket, FIFO or device: nothing that could be stored."""
        return not (self.is_file or self.is_directory or self.is_symlink)

    @property
    def times(self) -> tuple[int, ...]:
        """Those that it has; entries whose times are nobody's matter have none."""
        return tuple(each for each in (self.mtime_ns, self.ctime_ns) if each)

    def but_for_ctime(self, other: Mark) -> bool:
        """Whether only the time of the last change of the inode may differ, which our own link moves."""
        return self._replace(ctime_ns=0) == other._replace(ctime_ns=0)


def mark_from(status: os.stat_result) -> Mark:
    """The mark in an answer of stat."""
    directory = stat.S_ISDIR(status.st_mode)
    return Mark(
        status.st_dev,
        status.st_ino,
        status.st_mode,
        0 if directory else status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_uid,
        status.st_gid,
    )


def mark_of(path: str) -> Mark | None:
    """The mark of a path itself, no link followed; None when it is absent."""
    try:
        return mark_from(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


class Walk:
    """Everything that belongs to the snapshot but the databases, first listed, then looked at.

    What cannot be listed or looked at, or is too deep, is gathered in `unreadable`. An entry that vanishes meanwhile
    raises SourceChangedError, or is left out when the walk is `tolerant`.
    """

    def __init__(self, job: Job, *, tolerant: bool = False) -> None:
        self.unreadable: set[str] = set()
        self.strays: set[str] = set()  # named like a log of a database that is a link: SQLite looks beside its target
        self._job = job
        self._tolerant = tolerant
        self._databases = job.database_paths()
        self._companions = {name + suffix for name in job.databases for suffix in SIDE_SUFFIXES}
        self._links = dict(job.links)

    def __iter__(self) -> Iterator[tuple[str, Mark]]:
        top = mark_of(self._job.data_dir)
        if top is None or not top.is_directory:
            raise SourceChangedError("", "vanished")
        yield "", top._replace(mtime_ns=0, ctime_ns=0)
        yield from self._below("")

    def _below(self, folder: str) -> Iterator[tuple[str, Mark]]:
        path = self._job.locate(folder)
        for entry in self._listing(path, folder):
            name = f"{folder}/{entry}" if folder else entry
            real = self._links.get(name) or f"{path}/{entry}"
            wanted = self._job.selection.has(name)
            if self._is_apart(name, real) or not (wanted or self._job.selection.may_have_below(name)):
                continue
            if entry.endswith(_SHARED_MEMORY) and is_database(real.removesuffix(_SHARED_MEMORY)):
                continue  # mapped by whoever has the database open, and created again from its log
            if _is_too_deep(name):
                self.unreadable.add(name)
                continue
            try:
                mark = mark_of(real)
            except OSError as error:
                self._leave_out(name, error)
                continue
            if mark is None:
                if not self._tolerant:
                    raise SourceChangedError(name, "disappeared while it was being examined")
            elif mark.is_directory:
                yield from self._directory(name, mark, wanted)
            elif wanted:
                # Bytes that pass through a FIFO move its times; nothing of it is stored.
                yield name, mark._replace(mtime_ns=0, ctime_ns=0) if mark.is_special else mark

    def _is_apart(self, name: str, real: str) -> bool:
        """Databases are looked at on their own, what is ours not at all."""
        job = self._job
        if name in self._companions and real not in self._databases:
            self.strays.add(name)
            return True
        return real in self._databases or name in job.databases or real == job.home or name == OWN_DIRECTORY

    def _directory(self, name: str, mark: Mark, wanted: bool) -> Iterator[tuple[str, Mark]]:
        """A directory and what is in it; one that is excluded itself counts only when something in it is included."""
        if wanted:
            yield name, mark
            yield from self._below(name)
            return
        for number, each in enumerate(self._below(name)):
            if number == 0:
                yield name, mark._replace(mtime_ns=0, ctime_ns=0)  # its excluded entries are nobody's matter
            yield each

    def _listing(self, path: str, name: str) -> list[str]:
        try:
            with os.scandir(path) as entries:
                return sorted(entry.name for entry in entries)
        except (FileNotFoundError, NotADirectoryError) as error:
            if self._tolerant:
                return []
            raise SourceChangedError(name, "disappeared while it was being listed") from error
        except OSError as error:
            self._leave_out(name, error)
            return []

    def _leave_out(self, name: str, error: OSError) -> None:
        if not cannot_be_read(error):
            raise error
        self.unreadable.add(name)


def _is_too_deep(name: str) -> bool:
    return name.count("/") > _DEEPEST or len(os.fsencode(name)) > _LONGEST


def is_database(path: str) -> bool:
    """Whether a file with one name begins as SQLite's do. Of several names, one could be a database that is pinned."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            return False
        descriptor = open_to_read(path)
        try:
            return os.pread(descriptor, len(MAGIC), 0) == MAGIC
        finally:
            os.close(descriptor)
    except OSError:
        return False


def require_layout(job: Job, tree: Mapping[str, Mark]) -> None:
    """Raise AttemptFailedError unless links and directories are what they were when the capture was planned.

    Where a directory with a database in it became a link, a copy in the stage would be made through that link.
    """
    for link, real in job.links:
        if os.path.realpath(real if link in job.mounted else f"{job.data_dir}/{link}") != real:
            raise AttemptFailedError(f"{link} now points somewhere else than when this run began; run it again")
    for database in job.databases:
        folder = os.path.dirname(database)
        while folder:
            mark = tree.get(folder) or mark_of(job.locate(folder))
            if mark is not None and not mark.is_directory:
                raise AttemptFailedError(f"{folder} is no longer a directory; run it again")
            folder = os.path.dirname(folder)


def symlink_leaves(job: Job, name: str, target: str) -> bool:
    """Whether a link inside the data directory points out of it."""
    real = job.locate(name)
    goal = os.path.realpath(os.path.join(os.path.dirname(real), target))
    homes = [job.data_dir, *(home for _, home in job.links)]
    return not any(goal == home or goal.startswith(f"{home}/") for home in homes)
