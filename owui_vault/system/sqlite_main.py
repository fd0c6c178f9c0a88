"""A database of ours, opened by a process that can reach nothing but the database's folder. Standard library only.

    sqlite_main.py PARENT NAME OPTIONS        in the folder; started by path, with `python -I -S`

SQLite opens a database, and the log and journal beside it, by a path that it spells out itself, every link resolved.
Whoever may rename a parent folder can redirect that path between two of those steps. Here the folder is the root of all
paths, so there is nowhere else to go. For a user without that right the kernel refuses everything outside the folder
(Landlock); where that is not available either, it is checked whether the right file was opened.

Reads requests and writes answers, both by `marshal`: the same interpreter is at both ends.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import sqlite3
import struct
import sys
from typing import Any, BinaryIO
from urllib.parse import quote

ROWS_AT_ONCE = 1000
_NEW_USER_NAMESPACE = 0x10000000
_NO_NEW_PRIVILEGES = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # of Landlock, on every architecture
_ALL_OF_FILES = 0x1FFF  # the rights of its first version: execute, read, write, make, remove
_LOOK_EVERY_STEPS = 1_000_000


def main(arguments: list[str]) -> int:
    """Open it and answer until the input ends."""
    parent, name, options = int(arguments[0]), arguments[1], arguments[2]
    rooted = confine()
    place = f"/{name}" if rooted else os.path.join(os.getcwd(), name)
    confined = rooted or restrict()
    answers = sys.stdout.buffer
    try:
        connection = connect(place, options, confined=confined)
    except (sqlite3.Error, OSError) as error:
        say(answers, ("error", "OperationalError", str(error)))
        return 1
    connection.set_progress_handler(lambda: os.getppid() != parent, _LOOK_EVERY_STEPS)
    say(answers, ("rows", [], False))
    serve(connection, sys.stdin.buffer, answers)
    connection.close()
    return 0


def confine() -> bool:
    """Make the present folder the root of all paths; False where this user may not."""
    try:
        os.chroot(".")
    except PermissionError:
        if ctypes.CDLL(None).unshare(_NEW_USER_NAMESPACE) != 0:
            return False
        try:
            os.chroot(".")
        except PermissionError:
            return False
    os.chdir("/")
    return True


def restrict() -> bool:
    """Let this process open, make and remove nothing outside the present folder; False where the kernel cannot."""
    libc = ctypes.CDLL(None)
    attributes = ctypes.c_uint64(_ALL_OF_FILES)
    rules = libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(8), ctypes.c_uint32(0))
    if rules < 0:
        return False
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    beneath = ctypes.create_string_buffer(struct.pack("=Qi", _ALL_OF_FILES, here))
    added = libc.syscall(_ADD_RULE, rules, ctypes.c_int(1), beneath, ctypes.c_uint32(0))
    quiet = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    done = added == 0 and quiet == 0 and libc.syscall(_RESTRICT_SELF, rules, ctypes.c_uint32(0)) == 0
    os.close(rules)
    os.close(here)
    return bool(done)


def connect(place: str, options: str, *, confined: bool) -> sqlite3.Connection:
    """Open the database. Where we are not confined it must have been the one that is in the present folder."""
    connection = sqlite3.connect(f"file:{quote(os.fsencode(place))}?{options}", uri=True, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    # Files for sorting would be beside the database: there is no other folder.
    connection.execute("PRAGMA temp_store=MEMORY").close()
    if not confined:
        name = os.path.basename(place)
        wanted = os.lstat(name)
        opened = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
        found = [os.stat(each) for each in opened if os.path.exists(each)]
        if (wanted.st_dev, wanted.st_ino) not in [(each.st_dev, each.st_ino) for each in found]:
            raise OSError(f"{name} was replaced while it was opened")
    return connection


def serve(connection: sqlite3.Connection, requests: BinaryIO, answers: BinaryIO) -> None:
    """Run one statement after the other, and hand out their rows in portions."""
    running: dict[int, sqlite3.Cursor] = {}
    while True:
        try:
            request: tuple[Any, ...] = marshal.load(requests)  # noqa: S302  our own parent's
        except EOFError:
            return
        number = request[1]
        try:
            if request[0] == "execute":
                running[number] = connection.execute(request[2], request[3])
            if request[0] == "close":
                running.pop(number, None)
                continue
            rows = running[number].fetchmany(ROWS_AT_ONCE)
        except (sqlite3.Error, UnicodeError) as error:
            running.pop(number, None)
            kind = type(error).__name__ if isinstance(error, sqlite3.Error) else "OperationalError"
            say(answers, ("error", kind, str(error)))
            continue
        if len(rows) < ROWS_AT_ONCE:
            running.pop(number, None)
        say(answers, ("rows", rows, len(rows) == ROWS_AT_ONCE))


def say(answers: BinaryIO, answer: tuple[Any, ...]) -> None:
    """One answer."""
    marshal.dump(answer, answers)
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
