"""How the steps of an attempt say that it cannot be used. None of these leaves the capture."""

from __future__ import annotations


class AttemptFailedError(Exception):
    """This attempt proves nothing; the reason is for people."""


class SourceChangedError(AttemptFailedError):
    """Something moved while it was looked at."""

    def __init__(self, name: str, what: str = "changed") -> None:
        super().__init__(f"{name or 'the data directory'} {what}")
        self.name = name


class NoRoomError(Exception):
    """A file system is, or would become, full."""
