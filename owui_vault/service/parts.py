"""What everything unattended works with: the plans of a vault, and the operations that they consist of."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from owui_vault.context.context import OperationContext, require_valid_tags
from owui_vault.errors import ConfigError
from owui_vault.model import NAME_PATTERN
from owui_vault.model.plans import MOST_INTERVAL, MOST_JITTER, CronSchedule, Plan
from owui_vault.operations.notifications import is_regular, silence_warnings
from owui_vault.service.run_ledger import RunLedger
from owui_vault.service.timetable import Timetable, timetable
from owui_vault.service.told import ToldMemory
from owui_vault.system import cron

if TYPE_CHECKING:  # each tick imports this, and most find nothing due
    from owui_vault.model import (
        ProgressSink,
        PrunePlan,
        PruneReport,
        Quiesce,
        ReplicationPlan,
        ReplicationReport,
        RetentionPolicy,
        Snapshot,
        SnapshotList,
        SnapshotReport,
        VerifyReport,
    )


class Operations(Protocol):
    """What a plan consists of: a vault's own operations."""

    def snapshot(  # noqa: PLR0913  as a vault has it
        self,
        to: Sequence[str] | str | None = None,
        tags: Collection[str] = (),
        quiesce: Quiesce | None = None,
        *,
        dry_run: bool = False,
        plan: str = "",
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> SnapshotReport:
        """Take one instant and store it."""

    def snapshots(
        self, repository: str | None = None, instance: str | None = None, *, everything: bool = False
    ) -> SnapshotList:
        """List the snapshots of a series."""

    def plan_prune(
        self, policy: RetentionPolicy | None = None, repository: Sequence[str] | str | None = None
    ) -> PrunePlan:
        """Plan what pruning would remove."""

    def prune(
        self, plan: PrunePlan, *, progress: ProgressSink | None = None, cancel: threading.Event | None = None
    ) -> PruneReport:
        """Carry out that plan."""

    def plan_replication(
        self,
        source: str | None = None,
        to: Sequence[str] | str = (),
        snapshots: Sequence[Snapshot | str] | None = None,
        *,
        instance: str | None = None,
    ) -> ReplicationPlan:
        """Plan what one repository lacks of another."""

    def replicate(
        self, plan: ReplicationPlan, *, progress: ProgressSink | None = None, cancel: threading.Event | None = None
    ) -> ReplicationReport:
        """Carry out that plan."""

    def verify(  # noqa: PLR0913  as a vault has it
        self,
        snapshot: Snapshot | str = "latest",
        repository: str | None = None,
        read_data: float = 0.0,
        *,
        instance: str | None = None,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> VerifyReport:
        """Compare what a repository returns with the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The plans of a vault, and what they are carried out with."""

    context: OperationContext
    plans: tuple[Plan, ...]
    operations: Operations

    @property
    def ledger(self) -> RunLedger:
        """The ledger of this series."""
        return RunLedger(self.context.state, self.context.series())

    @property
    def told(self) -> ToldMemory:
        """What was told to whom."""
        return ToldMemory(self.context.state, self.context.series())

    def silent_plans(self) -> tuple[str, ...]:
        """A warning of the plans of which nobody would hear that they do not run any more."""
        context = self.context
        return tuple(
            silence_warnings(
                [each.name for each in self.plans],
                has_heartbeat=context.heartbeat is not None,
                with_heartbeat=tuple(context.plan_heartbeats),
                regularly_told=[each.plans for each in context.notifiers if is_regular(each.when)],
            )
        )

    def timetables(self) -> dict[str, Timetable]:
        """The due times of each plan. Raises ConfigError for a time zone that this machine does not know."""
        zone, host = cron.local_zone(self.context.environ), host_name()
        found = {}
        for plan in self.plans:
            try:
                found[plan.name] = timetable(plan, zone, host)
            except ValueError as error:
                raise ConfigError(f"plan {plan.name!r}: {error}", hint="Correct its timezone.") from None
        return found

    def select(self, names: Sequence[str]) -> tuple[Plan, ...]:
        """The plans of these names, in configuration order; all without names. Raises ConfigError."""
        known = [plan.name for plan in self.plans]
        if not known:
            raise ConfigError("no plan is configured", hint="Add one under `plans`; docs/scheduling.md has examples.")
        for name in names:
            if name not in known:
                raise ConfigError(f"there is no plan named {name!r}", hint=f"Configured: {', '.join(known)}.")
        return tuple(each for each in self.plans if not names or each.name in names)

    def repositories_of(self, plan: Plan) -> tuple[str, ...]:
        """The names of the repositories that a plan is about, in configuration order.

        Without any named: those in which it stores, which are not its mirrors; where it takes no snapshot, these.
        """
        if plan.repositories or not plan.replicate:
            return tuple(each.name for each in self.context.select(plan.repositories or None))
        mirrors = plan.mirrors
        return tuple(each.name for each in self.context.repositories if (each.name in mirrors) is not plan.snapshot)

    def due_in(self, plan: Plan) -> tuple[str, ...]:
        """Where it is due: where it stores, or of a plan that only replicates, its mirrors."""
        return plan.mirrors if plan.replicate and not plan.snapshot else self.repositories_of(plan)

    def places_of(self, plan: Plan) -> tuple[str, ...]:
        """The same, and its mirrors: what it stores is in all of them in the end."""
        wanted = {*self.repositories_of(plan), *plan.mirrors}
        return tuple(each.name for each in self.context.repositories if each.name in wanted)


def host_name() -> str:
    """What tells this machine from others: systemd's id of it, or else its name."""
    with suppress(OSError):
        known = Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip()
        if known:
            return known
    return os.uname().nodename


def require_valid_plans(plans: Sequence[Plan], repositories: Collection[str]) -> None:
    """Raise ConfigError for a plan that could not be carried out: as for a configuration that is read from a file."""
    names = [plan.name for plan in plans]
    if len(set(names)) < len(names):
        raise ConfigError("two plans have the same name", hint="Give each a name of its own.")
    for plan in plans:
        wrong = _mistake(plan, repositories)
        if wrong:
            raise ConfigError(f"plan {plan.name!r} {wrong}", hint="docs/scheduling.md says what a plan may be.")
        require_valid_tags(plan.tags)


def _mistake(plan: Plan, repositories: Collection[str]) -> str:
    named = (*plan.repositories, *(each.source for each in plan.replicate), *plan.mirrors)
    unknown = [each for each in dict.fromkeys(named) if each not in repositories]
    wrong = _mistake_of_bounds(plan) or _mistake_of_schedule(plan)
    if not re.fullmatch(NAME_PATTERN, plan.name):
        return "cannot be called that: use at most 63 of a-z 0-9 . _ -, beginning with a letter or digit"
    if unknown:
        return f"names repositories that there are not: {', '.join(unknown)}"
    if not (plan.snapshot or plan.replicate or plan.prune or plan.verify):
        return "does nothing"
    return wrong or _mistake_of_replication(plan, repositories)


def _mistake_of_replication(plan: Plan, repositories: Collection[str]) -> str:
    if any(each.source in each.to or not each.to for each in plan.replicate):
        return "copies a repository to itself, or to none"
    if plan.snapshot and set(plan.mirrors) & set(plan.repositories):
        return "copies to where it stores its snapshots itself"
    if plan.snapshot and plan.mirrors and set(plan.mirrors).issuperset(plan.repositories or repositories):
        return "copies to all repositories, and leaves none to store its snapshots in"
    return ""


def _mistake_of_bounds(plan: Plan) -> str:
    if not 0 <= plan.read_data <= 1 or (plan.read_data and not plan.verify):
        return "has a read_data that is no share from 0 to 1 of what it verifies"
    if not 0 <= plan.jitter.total_seconds() <= MOST_JITTER.total_seconds():
        return f"has a jitter that is not between nothing and {MOST_JITTER}"
    if plan.grace is not None and not 0 <= plan.grace.total_seconds() <= MOST_INTERVAL.total_seconds():
        return f"has a grace that is not between nothing and {MOST_INTERVAL}"
    return ""


def _mistake_of_schedule(plan: Plan) -> str:
    schedule = plan.schedule
    if not isinstance(schedule, CronSchedule):
        right = 0 < schedule.every.total_seconds() <= MOST_INTERVAL.total_seconds()
        return "" if right else f"has an interval that is not between nothing and {MOST_INTERVAL}"
    try:
        cron.check_expression(schedule.expression)
        if schedule.timezone:
            cron.named_zone(schedule.timezone)
    except ValueError as error:
        return f"has a schedule that cannot be followed: {error}"
    return ""
