"""What to keep: the policy, the decision, and the plan to carry it out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from owui_vault.model.snapshots import Snapshot, UnansweredRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How many snapshots to keep per calendar bucket (UTC). Each rule counts on its own, as restic's do.

    0 means: this rule keeps nothing. `within` keeps all younger than that, measured from the newest.
    `tags` keeps every snapshot that carries one of them.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        if any(count < 0 for count in counts):
            raise ValueError("a retention count is never negative")
        if self.within is not None and self.within <= timedelta():
            raise ValueError("within is a positive duration")

    @property
    def is_empty(self) -> bool:
        """Whether it would keep nothing at all."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return not any(counts) and self.within is None and not self.tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A snapshot that stays, and why."""

    snapshot: Snapshot
    reasons: tuple[str, ...]  # ("last 1 of 3", "daily 2026-11-20")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPrune:
    """What would happen to one series in one repository. Nothing else in it is touched."""

    repository: str
    instance: str
    policy: RetentionPolicy
    kept: tuple[Kept, ...]  # newest first
    removed: tuple[Snapshot, ...]  # newest first


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What `Vault.prune` would do, one entry per repository that answered; nothing happens to the others."""

    repositories: tuple[RepositoryPrune, ...]
    unanswered: tuple[UnansweredRepository, ...] = ()
