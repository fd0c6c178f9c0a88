"""SQLite's full check of database copies, in a process of its own. Standard library only; started by path, isolated.

    python -I -S full_check_main.py PARENT < JOB

JOB is one JSON object: `folder`, where a scratch copy may lie, and `databases`, each with its `name` and the number of
an inherited `descriptor`. For each in turn lines of JSON are written: `complaints` or `undone`, then, where something
is damaged, `reindex`; then `ended`. Nothing is written to what is checked, or beside it, and the process ends with its
parent, in whatever way that ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sqlite3
import sys
from contextlib import ExitStack, closing, suppress
from typing import Any

MOST_COMPLAINTS = 100
CURED = "cured"
_SET_PARENT_DEATH_SIGNAL = 1
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY = 0xFF  # what an extended error code begins with
_SPARE_BYTES = 64 << 20
_COPY_BYTES = 64 << 20
_NICE = 19  # the engine that stores, and the application, go first


class UndoneError(Exception):
    """The check could not be done; the text says why."""


def main(arguments: list[str]) -> int:
    """Do what the docstring of this module says."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at once, also in the middle of a check
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(arguments[0]):
        return 1
    with suppress(OSError):
        os.nice(_NICE)
    job = json.loads(sys.stdin.read())
    os.environ["SQLITE_TMPDIR"] = job["folder"]  # where REINDEX sorts
    for each in job["databases"]:
        _examine(str(each["name"]), int(each["descriptor"]), str(job["folder"]))
    return 0


def _examine(name: str, descriptor: int, folder: str) -> None:
    try:
        complaints = complaints_about(descriptor)
    except UndoneError as error:
        _tell(name, undone=str(error))
    else:
        _tell(name, complaints=complaints)
        if complaints:
            _tell(name, reindex=try_reindex(descriptor, folder))
    _tell(name, ended=True)


def _tell(name: str, **words: Any) -> None:
    sys.stdout.write(json.dumps({"name": name, **words}) + "\n")
    sys.stdout.flush()


def complaints_about(descriptor: int) -> list[str]:
    """What the full check says of an open file that nobody writes to; nothing where it is sound."""
    try:
        with closing(open_exactly(descriptor)) as connection:
            return _full_check(connection)
    except sqlite3.Error as error:
        return [_damage_in(error)]


def _full_check(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(f"PRAGMA integrity_check({MOST_COMPLAINTS})").fetchall()
    lines = [" ".join(line.split()) for row in rows for line in str(row[0]).splitlines()]
    return [] if lines == ["ok"] else [line for line in lines if line]


def _damage_in(error: sqlite3.Error) -> str:
    """The text of an error that damage has caused. Raises UndoneError for any other."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & _PRIMARY in _DAMAGE:
        return str(error)
    raise UndoneError(str(error)) from error


def open_exactly(descriptor: int) -> sqlite3.Connection:
    """A connection that reads this very file. SQLite goes by names: what it has opened is compared with the descriptor.

    Raises UndoneError when it is another file: somebody has exchanged what is there.
    """
    before = _open_now()
    uri = f"file:/proc/self/fd/{descriptor}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    with ExitStack() as unless_right:
        unless_right.callback(connection.close)
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        expected = os.fstat(descriptor)
        opened = [status for number, status in _open_now().items() if number not in before]
        if not opened or any((each.st_dev, each.st_ino) != (expected.st_dev, expected.st_ino) for each in opened):
            raise UndoneError("the copy was replaced while it was being opened")
        unless_right.pop_all()
    return connection


def _open_now() -> dict[str, os.stat_result]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one of the listing itself
            found[number] = os.fstat(int(number))
    return found


def try_reindex(descriptor: int, folder: str) -> str:
    """Whether `REINDEX` cures it, tried on a copy: CURED, or why not."""
    size = os.fstat(descriptor).st_size
    free = os.statvfs(folder)
    needed = 2 * size + _SPARE_BYTES  # the copy, and what is sorted for the largest index
    if free.f_bavail * free.f_frsize < needed:
        return f"not tried: it needs {needed / 1e6:,.0f} MB in {folder}"
    place = os.path.join(folder, "reindexed.db")
    try:
        _copy(descriptor, size, place)
        with closing(sqlite3.connect(place, isolation_level=None)) as connection:
            for pragma in ("journal_mode=OFF", "synchronous=OFF"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("REINDEX").fetchall()
            left = _full_check(connection)
    except (OSError, sqlite3.Error) as error:
        return f"it ended with: {error}"
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(place + suffix)
    return f"afterwards: {left[0]}" if left else CURED


def _copy(descriptor: int, size: int, place: str) -> None:
    with open(place, "xb") as target:
        offset = 0
        while offset < size:
            count = os.sendfile(target.fileno(), descriptor, offset, min(_COPY_BYTES, size - offset))
            if not count:
                raise OSError("the copy ended too early")
            offset += count


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
