"""The log as a file of JSON lines, with rotation: for whoever wants to know afterwards what was done.

Several processes may write to it. That it cannot be written is said once on stderr, and harms nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from contextlib import suppress
from datetime import UTC, datetime
from errno import EINVAL, ENOSPC
from pathlib import Path

from owui_vault.config import LogFileSettings
from owui_vault.errors import LockHeldError
from owui_vault.system.lock import Patience, wait_for

_PACKAGE = "owui_vault"
_PATIENCE = Patience(wait_seconds=0.5)
_MODE = 0o600  # it names repositories and folders


class LogFile(logging.Handler):
    """A handler that adds each record to a file, and puts the file aside once it is full."""

    def __init__(self, settings: LogFileSettings, command: str) -> None:
        super().__init__(logging.INFO)
        self._path = settings.path
        self._size = settings.size
        self._keep = settings.keep
        self._command = command
        self._cut = False  # the last line was not written to its end
        self._failed = False
        self.wrote = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Nothing is raised."""
        try:
            self._append(self._line(record))
            self.wrote = True
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                reason = getattr(error, "strerror", None) or error
                sys.stderr.write(f"owui-vault: the log file {self._path} cannot be written: {reason}\n")

    def _line(self, record: logging.LogRecord) -> bytes:
        """No traceback: values of others may stand in one."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        value = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "command": self._command,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(value).encode() + b"\n"

    def _append(self, data: bytes) -> None:
        if self._is_full(len(data)):
            self._rotate(len(data))
        # Never through a link: it may be in a folder of somebody else's. Nor to a FIFO that nobody reads.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, _MODE)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(EINVAL, "it is no ordinary file")
            data = b"\n" + data if self._cut else data
            written = os.write(descriptor, data)
            self._cut = 0 < written < len(data)
            if written < len(data):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        finally:
            os.close(descriptor)

    def _is_full(self, more: int) -> bool:
        try:
            size = self._path.lstat().st_size
        except FileNotFoundError:
            return False
        return size > 0 and size + more > self._size

    def _rotate(self, more: int) -> None:
        """Put it aside, unless another process has just done so. A line of one who writes meanwhile goes with it."""
        lock = os.open(self._path.parent / f".{self._path.name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _MODE)
        try:
            wait_for(lock, _PATIENCE, what=os.fspath(self._path))
            if not self._is_full(more):
                return
            for number in range(self._keep - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            if self._keep:
                self._path.replace(self._numbered(1))
            else:
                self._path.unlink()
        except LockHeldError:
            pass  # whoever rotates is done in a moment; nobody waits for one who is not
        finally:
            os.close(lock)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def write_log_to(settings: LogFileSettings, command: str) -> LogFile:
    """Let the package's log go to this file as well."""
    log = logging.getLogger(_PACKAGE)
    handler = LogFile(settings, command)
    if not log.handlers and logging.lastResort:
        log.addHandler(logging.lastResort)  # warnings still go to stderr, which they do by themselves without any other
    log.addHandler(handler)
    if not log.isEnabledFor(logging.INFO):
        log.setLevel(logging.INFO)
    return handler


def end_log(handler: LogFile, exit_code: int, error: str) -> None:
    """How the command ended: for the file alone, since a person is told. A tick that had nothing to do says nothing."""
    log = logging.getLogger(_PACKAGE)
    log.removeHandler(handler)
    if not (handler.wrote or exit_code):
        return
    told = f": {error}" if error else ""
    level = logging.ERROR if error else logging.WARNING if exit_code else logging.INFO
    handler.emit(log.makeRecord(f"{_PACKAGE}.cli", level, "", 0, f"ended with {exit_code}{told}", (), None))
