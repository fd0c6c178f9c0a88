"""Whether everything is as new as it should be: what `status` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path

from owui_vault.model.retention import Collapse
from owui_vault.model.runs import ErrorNote, RunRecord


class Verdict(Enum):
    """What is to be thought of it."""

    FINE = "fine"
    OVERDUE = "overdue"  # older than the schedule, or `max_age`, allows
    WRONG = "wrong"  # something went wrong, and nothing has put it right since
    UNKNOWN = "unknown"  # nobody could be asked, or nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFact:
    """A restore point, in short. `all_read_at`: when it was last verified by reading every file of it."""

    id: str
    instant: datetime
    size_bytes: int | None = None
    verified_at: datetime | None = None
    all_read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryState:
    """One plan, or one series, in one repository.

    `newest` is the newest COMPLETE restore point, `verified` the newest of them that was verified and not found wrong.
    `as_of` is when that was known: now where the repository was asked, otherwise when this machine last had to do with
    it; None: nobody knows anything. `due` is by when the next one is due, and `late_after` when that is overdue;
    `overdue` says whether it is, whatever else the verdict says.
    `reasons` say in words what is not fine.
    """

    repository: str
    series: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    newest: PointFact | None = None
    verified: PointFact | None = None
    restore_points: int | None = None
    as_of: datetime | None = None
    due: datetime | None = None
    late_after: datetime | None = None
    overdue: bool = False
    error: ErrorNote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanState:
    """One plan: when it is due next, how its last run went, and what it has in each repository."""

    plan: str
    schedule: str
    verdict: Verdict
    next_due: datetime | None
    last_run: RunRecord | None
    repositories: tuple[RepositoryState, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySpace:
    """What a repository takes, how fast that grows, and when its place is full. None: it is not known.

    `growth_bytes_per_day` is of the last thirty days. `until_full_seconds` goes by that or by how fast the free space
    shrinks, whichever is faster; it is None, too, where neither is so. `as_of` is when it was measured.
    """

    repository: str
    size_bytes: int | None = None
    free_bytes: int | None = None
    growth_bytes_per_day: float | None = None
    until_full_seconds: float | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Everything at one moment. Without plans, `series` has each series in each repository instead.

    `collapse` is what stops retention everywhere, where repositories were asked.
    """

    at: datetime
    verdict: Verdict
    offline: bool
    plans: tuple[PlanState, ...] = ()
    series: tuple[RepositoryState, ...] = ()
    space: tuple[RepositorySpace, ...] = ()
    warnings: tuple[str, ...] = ()
    collapse: Collapse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Files that are written anew after each run: an HTML page, and Prometheus's text. None: that one is not."""

    report: Path | None = None
    metrics: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page or a text about the status at one moment, and the file that it was written into, if it was."""

    at: datetime
    verdict: Verdict
    text: str = field(repr=False)
    file: Path | None = None
    warnings: tuple[str, ...] = ()
