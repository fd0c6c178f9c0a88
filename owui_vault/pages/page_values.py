"""What the page is made of: the status, and what is known of the time before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from owui_vault.model.runs import RunRecord
from owui_vault.model.status import StatusReport


class Depth(IntEnum):
    """What is known of a snapshot, from the worst to the best."""

    INCOMPLETE = 0
    COMPLETE = 1
    VERIFIED = 2
    ALL_READ = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOnPage:
    """A snapshot of the series, wherever it is. `is_gone`: no repository that answered holds it any more."""

    id: str
    instant: datetime
    depth: Depth
    size_bytes: int | None = None
    added_bytes: int | None = None
    is_gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a repository took at one time."""

    repository: str
    at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """All of it. `points` and `runs` are oldest first."""

    series: str
    version: str
    status: StatusReport
    runs: Sequence[RunRecord] = ()
    points: Sequence[PointOnPage] = ()
    measurements: Sequence[Measurement] = ()
