"""Errors by which the steps of an attempt say that it cannot be used. None of them leaves the capture."""

from __future__ import annotations

import errno

_UNREADABLE = {errno.EACCES, errno.EPERM, errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA, errno.ENOKEY}


class AttemptFailedError(Exception):
    """This attempt proves nothing; the reason is for people."""


class SourceChangedError(AttemptFailedError):
    """Something changed while it was being examined."""

    def __init__(self, name: str, what: str = "changed") -> None:
        super().__init__(f"{name or 'the data directory'} {what}")
        self.name = name


class NoRoomError(Exception):
    """A file system is, or would become, full."""


class UnreadableError(Exception):
    """The source's bytes are not given out: no right, or a broken disk. It is left out of the snapshot and named."""


def cannot_be_read(error: OSError) -> bool:
    """Whether this error means that the file stays unreadable, however often it is tried."""
    return error.errno in _UNREADABLE
