"""What to keep: the policy, the decision, and the plan to carry it out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from owui_vault.errors import ConfigError
from owui_vault.model.snapshots import Snapshot, UnansweredRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPolicy:
    """The rules of the snapshots that carry one tag. They have none but these, and take no place of the others'."""

    tag: str
    keep: RetentionPolicy

    def __post_init__(self) -> None:
        if self.keep.is_empty or self.keep.tags or self.keep.tag_policies:
            raise ConfigError(f"the rules of tag {self.tag!r} are counts or a duration, at least one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How many snapshots to keep per calendar bucket (UTC). Each rule counts on its own, as restic's do.

    0 means: this rule keeps nothing. `within` keeps all younger than that, measured from the newest.
    `tags` keeps every snapshot that carries one of them. What carries a tag of `tag_policies` is kept by that policy
    alone (or by several, where it carries several), and the other rules are about the rest.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta | None = None
    tags: tuple[str, ...] = ()
    tag_policies: tuple[TagPolicy, ...] = ()

    def __post_init__(self) -> None:
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        if any(isinstance(count, bool) or not isinstance(count, int) or count < 0 for count in counts):
            raise ConfigError(
                "a retention count is a number, and never negative", hint="0 means: this rule keeps nothing."
            )
        if self.within is not None and self.within <= timedelta():
            raise ConfigError("within is a positive duration")
        if len({each.tag for each in self.tag_policies}) < len(self.tag_policies):
            raise ConfigError("a tag has one policy")
        if self.tag_policies and not self.has_rules:
            raise ConfigError("tags with rules of their own need a rule for the other snapshots beside them")

    @property
    def has_rules(self) -> bool:
        """Whether it keeps anything that carries no tag."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return any(counts) or self.within is not None

    @property
    def is_empty(self) -> bool:
        """Whether it would keep nothing at all."""
        return not self.has_rules and not self.tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A snapshot that stays, and why."""

    snapshot: Snapshot
    reasons: tuple[str, ...]  # ("last 1 of 3", "daily 2026-11-20 UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPrune:
    """What would happen to one series in one repository. Nothing else in it is touched."""

    repository: str
    instance: str
    policy: RetentionPolicy
    kept: tuple[Kept, ...]  # newest first
    removed: tuple[Snapshot, ...]  # newest first


@dataclass(frozen=True, slots=True, kw_only=True)
class CollapseLimits:
    """From when on a fall of the numbers stops retention: by more than these shares, of numbers of at least `least`."""

    users: float = 0.5
    chats: float = 0.3
    uploads: float = 0.3
    least: int = 20

    def __post_init__(self) -> None:
        if not all(0 < share <= 1 for share in (self.users, self.chats, self.uploads)) or self.least < 0:
            raise ValueError("a collapse is a fall by a share of more than 0 and up to 1, of numbers of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """The newest complete snapshot of a series holds much less than kept ones, or its databases failed their check.

    Nothing is pruned in any repository until this snapshot is accepted.
    """

    snapshot: str  # our id
    sequence: int
    instant: datetime
    reasons: tuple[str, ...]  # "12 chats, and 480 in 4e1c0a9f"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What `Vault.prune` would do, one entry per repository that answered; nothing happens to the others.

    Under a `collapse` nothing would be removed anywhere. `append_only` are those that are never pruned from here.
    """

    repositories: tuple[RepositoryPrune, ...]
    unanswered: tuple[UnansweredRepository, ...] = ()
    append_only: tuple[str, ...] = ()
    collapse: Collapse | None = None
