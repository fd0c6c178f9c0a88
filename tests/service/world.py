"""A home server whose weeks pass in moments: plans, repositories that come and go, and a clock that does as it is told.

Repositories are real ones of the directory engine, and what lists, plans and prunes is a real vault. Only taking a
snapshot and verifying are played, so that a restore point can be of any day.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from owui_vault.context.context import Callbacks, Repository, Subscription
from owui_vault.errors import ConfigError, EngineError, RepositoryFullError, VaultError
from owui_vault.model import (
    Event,
    Label,
    LedgerEntry,
    Manifest,
    Outcome,
    Plan,
    ProgressSink,
    Proof,
    ProofRecord,
    PrunePlan,
    PruneReport,
    Quiesce,
    ReplicationPlan,
    ReplicationReport,
    ReplicationResult,
    RepositoryResult,
    RetentionPolicy,
    RunReport,
    Secret,
    Snapshot,
    SnapshotList,
    SnapshotReport,
    VerifyReport,
)
from owui_vault.ports import Call, Engine, Heartbeat, Notifier
from owui_vault.service.parts import Service
from owui_vault.service.run_plans import run
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeClock
from owui_vault.vault import Vault

START = datetime(2026, 6, 1, tzinfo=UTC)  # a Monday
TICK = timedelta(minutes=10)
SERIES = "open-webui"
A_MANIFEST = cast(Manifest, object())  # only whether there is one counts here
KEEP = RetentionPolicy(last=3, daily=7)


class Killed(BaseException):
    """What stands for a process that was killed: nothing is done on the way out."""


@dataclass
class Heard:
    """A notifier that keeps what it heard."""

    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)


class World:
    """The whole of it. `outcome`, `meanwhile` and `verified` are what the next operations come to."""

    def __init__(
        self,
        folder: Path,
        *plans: Plan,
        repositories: Sequence[str] = ("nas",),
        keep: RetentionPolicy | Mapping[str, RetentionPolicy] = KEEP,
        optional: Sequence[str] = (),
        append_only: Sequence[str] = (),
        start: datetime = START,
        shared: Mapping[str, Engine] | None = None,
        make_engine: Callable[[Path, Secret], Engine] = DirectoryEngine,
    ) -> None:
        self.folder = folder
        self.start = start
        self.clock = FakeClock(start)
        self.heard = Heard()
        self.notifiers: list[Notifier | Subscription] = [self.heard]
        self.heartbeat: Heartbeat | None = None
        self.plan_heartbeats: dict[str, Heartbeat] = {}
        self.outcome = Outcome.COMPLETE
        self.proof = ProofRecord(mode=Proof.LIVE, attempts=1)
        self.verified: dict[str, tuple[str, ...]] = {}
        self.refusal: VaultError | None = None
        self.meanwhile: Callable[[str], None] = lambda _step: None
        self.takes = timedelta(seconds=20)
        self.taken: list[Snapshot] = []
        self.places: list[tuple[str, ...]] = []  # where each of them was stored
        self.modes: list[Quiesce | None] = []
        self.verifications: list[tuple[str, str, float]] = []
        self.asked: list[str] = []
        self.brought: list[str] = []
        self.engines = {name: make_engine(folder / name, Secret("x")) for name in repositories}
        self.engines.update(shared or {})  # another world's
        self.full: set[str] = set()
        self.keep = keep
        self.optional = optional
        self.append_only = append_only
        self.chats: int | None = None
        (folder / "tree").mkdir(parents=True)
        self.vault = self.a_vault(*plans)
        self.vault.initialize()

    def a_vault(self, *plans: Plan) -> Vault:
        self.plans = plans
        return Vault(
            None,
            [
                Repository(
                    name,
                    engine,
                    keep=self.keep if isinstance(self.keep, RetentionPolicy) else self.keep[name],
                    optional=name in self.optional,
                    append_only=name in self.append_only,
                )
                for name, engine in self.engines.items()
            ],
            notifiers=self.notifiers,
            heartbeat=self.heartbeat,
            plan_heartbeats=self.plan_heartbeats,
            clock=self.clock,
            state_dir=self.folder / "state",
            series=SERIES,
            environ={"TZ": "UTC"},
            plans=plans,
        )

    def service(self, *plans: Plan) -> Service:
        if plans:
            self.vault = self.a_vault(*plans)
        return Service(context=self.vault._context, plans=self.plans, operations=self)

    def run(self, *names: str, dry_run: bool = False) -> RunReport:
        return run(self.service(), names, Callbacks(), dry_run=dry_run)

    def ticks(self, until: datetime, every: timedelta = TICK) -> list[RunReport]:
        """What a timer that fires so often comes to, until then; what did nothing is left out."""
        reports = []
        while self.clock.now() < until:
            report = self.run()
            if report != RunReport():
                reports.append(report)
            self.to_the_next_tick(every)
        return reports

    def nights(self, count: int) -> None:
        """So many nights from the first on, with one tick at three; then it is eight in the morning."""
        self.run()
        for number in range(count):
            self.clock.set(self.start + timedelta(days=number, hours=3))
            self.run()
        self.clock.set(self.start + timedelta(days=count - 1, hours=8))

    def to_the_next_tick(self, every: timedelta = TICK) -> None:
        """Timers go by the clock, not by when the last run ended; what they miss while it runs, they miss."""
        self.clock.advance(every - (self.clock.now() - self.start) % every)

    def carry_away(self, name: str) -> None:
        (self.folder / name).rename(self.folder / f"{name}-away")

    def bring_back(self, name: str) -> None:
        (self.folder / f"{name}-away").rename(self.folder / name)

    # what a plan consists of

    def snapshot(
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
        self.meanwhile("snapshot")
        if self.refusal:
            raise self.refusal
        self.modes.append(quiesce)
        instant = self.clock.now()
        id_ = f"{len(self.taken) + 1:08x}"
        label = Label(
            id=id_,
            instance=SERIES,
            fingerprint="f" * 16,
            instant=instant,
            sequence=len(self.taken) + 1,
            outcome=self.outcome,
            mode=Proof.LIVE,
            tags=tuple(sorted(tags)),
            plan=plan,
            chats=self.chats,
        )
        results = tuple(self._store(name, label) for name in (to or self.engines))
        self.clock.advance(self.takes)
        errors = [each.error for each in results if each.error]
        manifest = A_MANIFEST if len(errors) < len(results) else None
        report = SnapshotReport(
            id=id_ if manifest else "",
            instance=SERIES,
            instant=instant,
            outcome=self.outcome if manifest else Outcome.FAILED,
            proof=self.proof,
            problems=() if self.outcome is Outcome.COMPLETE else ("an upload could not be read",),
            warnings=(),
            repositories=results,
            manifest=manifest,
            took=self.takes,
        )
        if not manifest:
            errors[0].report = report
            raise errors[0]
        self.taken.append(next(each.snapshot for each in results if each.snapshot))
        self.places.append(tuple(each.repository for each in results if each.snapshot))
        return report

    def _store(self, name: str, label: Label) -> RepositoryResult:
        (self.folder / "tree" / "manifest.json").write_text(label.id)
        folder = self.folder / f"calls-{name}"
        folder.mkdir(exist_ok=True)
        try:
            if name in self.full:
                raise RepositoryFullError(f"no space left in {name}")
            receipt = self.engines[name].store(self.folder / "tree", label, Call(folder=folder))
        except EngineError as error:
            return RepositoryResult(repository=name, error=error, excused=name in self.optional)
        return RepositoryResult(repository=name, snapshot=replace(receipt.snapshot, repository=name), added_bytes=8)

    def snapshots(
        self, repository: str | None = None, instance: str | None = None, *, everything: bool = False
    ) -> SnapshotList:
        self.asked.append(repository or "all")
        return self.vault.snapshots(repository, instance, everything=everything)

    def plan_prune(
        self, policy: RetentionPolicy | None = None, repository: Sequence[str] | str | None = None
    ) -> PrunePlan:
        self.meanwhile("prune")
        return self.vault.plan_prune(policy, repository)

    def prune(
        self, plan: PrunePlan, *, progress: ProgressSink | None = None, cancel: threading.Event | None = None
    ) -> PruneReport:
        return self.vault._telling_nobody().prune(plan, progress=progress, cancel=cancel)

    def plan_replication(
        self,
        source: str | None = None,
        to: Sequence[str] | str = (),
        snapshots: Sequence[Snapshot | str] | None = None,
        *,
        instance: str | None = None,
    ) -> ReplicationPlan:
        self.meanwhile("replicate")
        return self.vault.plan_replication(source, to, snapshots, instance=instance)

    def replicate(
        self, plan: ReplicationPlan, *, progress: ProgressSink | None = None, cancel: threading.Event | None = None
    ) -> ReplicationReport:
        """What a vault plans is stored as it is: these snapshots hold nothing that could be restored and compared."""
        results = []
        for each in plan.repositories:
            stored = [self._store(each.repository, one.label) for one in each.copies if one.label]
            copied = tuple(one.snapshot for one in stored if one.snapshot)
            error = next((one.error for one in stored if one.error), None)
            results.append(ReplicationResult(repository=each.repository, copied=copied, error=error))
        self.brought += [one.id for each in results for one in each.copied]
        return ReplicationReport(plan=plan, repositories=tuple(results))

    def verify(
        self,
        snapshot: Snapshot | str = "latest",
        repository: str | None = None,
        read_data: float = 0.0,
        *,
        instance: str | None = None,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> VerifyReport:
        self.meanwhile("verify")
        assert repository is not None
        found = [each for each in self.snapshots(repository) if str(snapshot) in (each.id, "latest")]
        if not found:
            raise ConfigError("there is nothing to verify")
        problems = self.verified.get(repository, ())
        entry = LedgerEntry(
            snapshot=found[0].id,
            repository=repository,
            kind="verify",
            at=self.clock.now(),
            ok=not problems,
            depth="all" if read_data >= 1 and not problems else "",
        )
        self.vault._context.state.add_to_ledger(SERIES, entry)
        self.verifications.append((repository, found[0].id, read_data))
        return VerifyReport(
            snapshot=found[0],
            repository=repository,
            problems=problems,
            warnings=(),
            read_data=read_data,
            took=timedelta(),
        )
