"""What a person who waits is told while nothing else moves: a closed set of notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A repository was asked for something, and has not answered yet."""

    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """It has answered, or failed."""

    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Somebody else has the lock of `what`, a data directory or a repository. `holder` is who, as far as known."""

    what: str
    holder: str
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One line that an engine complains with while it works on a repository. It may yet succeed."""

    repository: str
    text: str


Notice: TypeAlias = Asking | Answered | Waiting | Complaint
NoticeSink = Callable[[Notice], None]


def ignore_notice(_notice: Notice) -> None:
    """The sink of those who do not listen."""
