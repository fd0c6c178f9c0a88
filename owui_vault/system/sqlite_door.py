"""The door through which databases at rest are opened: copies in the stage, and restored ones.

Such a folder may be inside the data directory, where the application may rename what is ours. SQLite would follow its
own spelling of a path to whatever is there then, and checkpoint or roll back another database with our rights. Where
any other user could do that, a separate process opens the database (`sqlite_main`), and the connection that is returned
here talks to it; anywhere else it is an ordinary one.
"""

from __future__ import annotations

import marshal
import os
import select
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from owui_vault.system.python import environment, interpreter
from owui_vault.system.unwinding import undoing

_PROGRAM = Path(__file__).with_name("sqlite_main.py")
_POLL_MILLISECONDS = 100
_CLOSE_SECONDS = 600.0
_STICKY = 0o1000
_WRITABLE_BY_OTHERS = 0o022


def open_database(path: str | Path, options: str) -> sqlite3.Connection:
    """Open a database at rest, in autocommit mode; `options` as in SQLite's addresses, `mode=ro&immutable=1` say.

    The path is followed once, as the kernel follows it; a path that leads through an open descriptor is good. Text
    that is not UTF-8 comes back as surrogates. Raises sqlite3.OperationalError.
    """
    place = Path(path)
    try:
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise sqlite3.OperationalError(f"unable to open database file: {error.strerror}") from error
    try:
        if others_may_move(Path(os.readlink(f"/proc/self/fd/{folder}"))):
            return _Confined(folder, place.name, options)
    finally:
        os.close(folder)
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(place.absolute()))}?{options}", uri=True, isolation_level=None
    )
    connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    return connection


def others_may_move(folder: Path) -> bool:
    """Whether anybody but root and us may put something else in the place of a folder, or of one above it."""
    for each in (folder, *folder.parents):
        try:
            status = each.stat()
        except OSError:
            return True
        writable = status.st_mode & _WRITABLE_BY_OTHERS and not status.st_mode & _STICKY
        if status.st_uid not in (0, os.geteuid()) or writable:
            return True
    return False


class _Confined(sqlite3.Connection):
    """A connection whose database another process has open. Statements and their rows, nothing else."""

    def __init__(self, folder: int, name: str, options: str) -> None:
        import subprocess  # noqa: PLC0415  slow, and rarely needed by the child of a capture and by the probe

        super().__init__(":memory:")
        self._numbers = count()
        self._interrupts: Callable[[], object] | None = None
        self._child = subprocess.Popen(
            [interpreter(), "-I", "-S", "-X", "utf8", os.fspath(_PROGRAM), str(os.getpid()), name, options],
            cwd=f"/proc/self/fd/{folder}",
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with undoing(self.close):
            self.receive()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement."""
        return _Rows(self, next(self._numbers), sql, tuple(parameters))

    def set_progress_handler(self, progress_handler: Callable[[], object] | None, n: int) -> None:  # noqa: ARG002  we ask ten times a second
        """Ask this now and then while a statement runs; whatever is true ends it."""
        self._interrupts = progress_handler

    def close(self) -> None:
        """Close it there, which may bring a log into the database, and wait for the end of the process."""
        import subprocess  # noqa: PLC0415  there since this was opened

        child = self._child
        with suppress(OSError):
            if child.stdin:
                child.stdin.close()
        try:
            child.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()
        super().close()

    def ask(self, *request: Any) -> tuple[list[Any], bool]:
        """Rows, and whether there may be more."""
        self.send(*request)
        return self.receive()

    def send(self, *request: Any) -> None:
        """What needs no answer."""
        try:
            if self._child.stdin:
                marshal.dump(request, self._child.stdin)
                self._child.stdin.flush()
        except BrokenPipeError as error:
            raise sqlite3.OperationalError("the process that had the database open ended") from error

    def receive(self) -> tuple[list[Any], bool]:
        """The next answer."""
        stream = self._child.stdout
        if stream is None:
            raise TypeError("it is a pipe")
        poller = select.poll()
        poller.register(stream.fileno(), select.POLLIN)
        while not poller.poll(_POLL_MILLISECONDS):
            if self._interrupts and self._interrupts():
                self._child.kill()
                raise sqlite3.OperationalError("interrupted")
        try:
            answer = marshal.load(stream)  # noqa: S302  our own child's
        except (EOFError, ValueError, TypeError) as error:
            raise sqlite3.OperationalError("the process that had the database open ended") from error
        if answer[0] == "error":
            raise getattr(sqlite3, answer[1], sqlite3.OperationalError)(answer[2])
        return answer[1], answer[2]

    def _no(self, *_arguments: object, **_options: object) -> Any:
        raise sqlite3.NotSupportedError("a database at rest is asked by `execute` only")

    cursor = executemany = executescript = backup = iterdump = commit = rollback = blobopen = serialize = _no


class _Rows(sqlite3.Cursor):
    """The rows of one statement."""

    def __init__(self, connection: _Confined, number: int, sql: str, parameters: tuple[Any, ...]) -> None:
        self._door = connection
        self._number = number
        self._rows, self._more = connection.ask("execute", number, sql, parameters)
        self._next = 0

    def fetchone(self) -> Any:
        """The next row, or None."""
        if self._next >= len(self._rows):
            if not self._more:
                return None
            self._rows, self._more = self._door.ask("next", self._number)
            self._next = 0
            return self.fetchone()
        self._next += 1
        return self._rows[self._next - 1]

    def fetchall(self) -> list[Any]:
        """All that are left."""
        return list(self)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator is one
        """One row after the other."""
        while (row := self.fetchone()) is not None:
            yield row

    def __next__(self) -> Any:
        """The next row."""
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def close(self) -> None:
        """Give up what is left."""
        if self._more:
            self._more = False
            self._door.send("close", self._number)
