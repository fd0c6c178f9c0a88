"""The vault: every operation, one line each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from owui_vault.config import default_state_dir
from owui_vault.context import given
from owui_vault.context.context import (
    Callbacks,
    Container,
    DataDirectory,
    Limits,
    OperationContext,
    Repository,
    Subscription,
    require_derived,
    require_valid_names,
)
from owui_vault.context.state import StateDirectory
from owui_vault.errors import ResumeError, RollbackError, VaultError
from owui_vault.model import (
    NEVER,
    Collapse,
    CollapseLimits,
    Component,
    Entry,
    EventKind,
    Manifest,
    NoticeSink,
    Page,
    Pages,
    Plan,
    ProgressSink,
    PrunePlan,
    Quiesce,
    RetentionPolicy,
    RunList,
    RunReport,
    Snapshot,
    SnapshotList,
    StatusReport,
    UnansweredRepository,
    ignore_notice,
    ignore_progress,
)
from owui_vault.operations.operation_lock import OperationLock
from owui_vault.operations.secret_warnings import with_secret_warnings
from owui_vault.ports import Application, Clock, Heartbeat, Held, Notifier, Quiescer
from owui_vault.system.clock import SystemClock
from owui_vault.system.python import environ_or_own
from owui_vault.system.unwinding import on_failure

if TYPE_CHECKING:  # whoever wants them at run time has them in `owui_vault`
    from owui_vault.model import (
        DiscardReport,
        InitializeReport,
        InstanceReport,
        PinReport,
        PruneReport,
        RecoverReport,
        ReplacementPlan,
        ReplacementReport,
        ReplicationPlan,
        ReplicationReport,
        RestoreReport,
        SetAside,
        SnapshotReport,
        UndoReport,
        VerifyReport,
    )
    from owui_vault.model.runs import RunRecord
    from owui_vault.service.parts import Service

# Each operation is imported when it is asked for: all of them take a third of a second, at every start.
# ruff: noqa: PLC0415


class Vault:
    """One instance and the repositories its snapshots are stored in.

    May be used from any thread, one operation at a time: a second one waits for the first. Within an operation (the
    block of `hold`, a progress callback) the same thread may only read. Separate vaults are independent.
    Nothing is touched before an operation is called, and no signal handler is installed.
    """

    def __init__(  # noqa: PLR0913  each is a part that may be exchanged
        self,
        instance: DataDirectory | Container | None,
        repositories: Sequence[Repository],
        *,
        quiescer: Quiescer | None = None,
        application: Application | None = None,
        notifiers: Collection[Notifier | Subscription] = (),
        heartbeat: Heartbeat | None = None,
        plan_heartbeats: Mapping[str, Heartbeat] | None = None,
        clock: Clock | None = None,
        state_dir: Path | None = None,
        limits: Limits | None = None,
        collapse: CollapseLimits | None = None,
        config_file: Path | None = None,
        series: str | None = None,
        environ: Mapping[str, str] | None = None,
        plans: Sequence[Plan] = (),
        pages: Pages | None = None,
        notices: NoticeSink = ignore_notice,
    ) -> None:
        """Touches nothing. By `environ` (None: this process's) state, container engines and profiles are found.

        `notices` hears, from whichever thread it is, whose answer or lock an operation waits for.
        A notifier alone hears everything; a `Subscription` says what. `heartbeat` gets signs of life of every run,
        `plan_heartbeats` those of single plans.
        """
        environ = environ_or_own(environ)
        require_valid_names(instance, series, repositories)
        require_derived(quiescer, [repository.engine for repository in repositories])
        self._context = OperationContext(
            instance=instance,
            repositories=tuple(repositories),
            state=StateDirectory(given.path(state_dir, "state_dir") if state_dir else default_state_dir(environ)),
            quiescer=quiescer,
            application=application,
            notifiers=tuple(
                each if isinstance(each, Subscription) else Subscription(each, when=tuple(EventKind))
                for each in notifiers
            ),
            heartbeat=heartbeat,
            plan_heartbeats=dict(plan_heartbeats or {}),
            clock=clock or SystemClock(),
            limits=limits or Limits(),
            collapse=collapse or CollapseLimits(),
            config_file=config_file,
            series_name=series,
            environ=environ,
            notices=notices,
        )
        self._lock = OperationLock(self._context)
        self._plans = tuple(plans)
        self._pages = pages or Pages()
        if plans:
            from owui_vault.service.parts import require_valid_plans

            require_valid_plans(self._plans, [repository.name for repository in repositories])

    def __enter__(self) -> Vault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is kept open between operations."""

    @property
    def instance(self) -> DataDirectory | Container | None:
        """The instance, or None where only repositories are configured."""
        return self._context.instance

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """The repositories, in configuration order."""
        return self._context.repositories

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What is done unattended, in configuration order."""
        return self._plans

    def inspect(self) -> InstanceReport:
        """Report what the instance holds and what would be lost, without touching it."""
        from owui_vault.operations.inspect import inspect

        with self._lock.reading(located=True) as context:
            return with_secret_warnings(context, inspect(context))

    def initialize(
        self, *names: str, adopt: bool = False, again: bool = False, like: str | None = None
    ) -> InitializeReport:
        """Create the repositories that do not exist; without names, all.

        `like` names one that new ones of the same engine shall cut files like, so that copies between them share data;
        otherwise that is the first of them.
        `again` creates a new repository where a known one is gone. `adopt` lets this instance continue a series that
        another one started.
        """
        from owui_vault.operations.initialize import InitializeRequest, initialize
        from owui_vault.operations.recovery.recover import recover_first

        with self._lock.writing("initialize", located=adopt) as context:
            recover_first(context)
            request = InitializeRequest(names=names, adopt=adopt, again=again, like=like)
            return with_secret_warnings(context, initialize(context, request))

    def snapshot(  # noqa: PLR0913  each may be left out
        self,
        to: Sequence[str] | str | None = None,
        tags: Collection[str] | str = (),
        quiesce: Quiesce | str | None = None,
        *,
        plan: str = "",
        dry_run: bool = False,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> SnapshotReport:
        """Take one instant and store it in each repository.

        `plan` names the plan whose run this is, in label and manifest; empty: taken by hand.
        `quiesce` may be text (`pause`), and one tag alone needs no list. INCOMPLETE is a result: check
        `report.outcome`. If no repository took it, the first error is raised, with the report as its `.report`.
        Setting `cancel` rolls back what was begun and raises CancelledError.
        """
        from owui_vault.operations.snapshot.snapshot import SnapshotRequest, snapshot

        request = SnapshotRequest(
            to=to,
            tags=given.texts(tags, "tags"),
            quiesce=given.choice(Quiesce, quiesce, "quiesce") if quiesce is not None else None,
            plan=plan,
            dry_run=dry_run,
            callbacks=_callbacks(progress, cancel),
        )
        with self._lock.writing("snapshot", located=True, cancel=request.callbacks.cancel) as context:
            return with_secret_warnings(context, snapshot(context, request))

    def snapshots(
        self, repository: str | None = None, instance: str | None = None, *, everything: bool = False
    ) -> SnapshotList:
        """List the snapshots of one series, newest first; with `everything` all series and foreign ones too.

        Each repository's own are listed: a snapshot that is in two appears twice. The result is a tuple with
        `warnings`, for example about a repository that no longer holds what this machine stored there last, and
        `unanswered`, the repositories that did not answer while others did.
        """
        from owui_vault.operations.list_snapshots import list_snapshots

        with self._lock.reading() as context:
            return list_snapshots(context, repository, instance, everything=everything)

    def manifest(
        self,
        snapshot: Snapshot | str,
        repository: str | None = None,
        *,
        instance: str | None = None,
        on_unanswered: Callable[[UnansweredRepository], None] | None = None,
    ) -> Manifest:
        """Read what a snapshot says about itself, without restoring it.

        Here and below, `instance` selects a series if there are several. It is not needed with an exact id.
        `on_unanswered` hears of each repository that was asked first and did not answer.
        """
        from owui_vault.repositories.lookup import find, read_manifest

        wanted = given.snapshot(snapshot)
        with self._lock.reading() as context:
            found = find(context, wanted, repository, Callbacks(), instance=instance)
            if on_unanswered:
                for each in found.unanswered:
                    on_unanswered(each)
            return read_manifest(context.state, found)

    def entries(
        self,
        snapshot: Snapshot | str,
        path: str = "",
        repository: str | None = None,
        *,
        instance: str | None = None,
        on_unanswered: Callable[[UnansweredRepository], None] | None = None,
    ) -> tuple[Entry, ...]:
        """List what a snapshot holds at a path and below it; paths begin with `data/` or `outside/`.

        Raises ConfigError where it holds nothing there. `on_unanswered` as for `manifest`.
        """
        from owui_vault.operations.look_inside import LookRequest, entries

        with self._lock.reading() as context:
            request = LookRequest(
                snapshot=given.snapshot(snapshot), path=path, repository=repository, instance=instance
            )
            listed, found = entries(context, request)
            if on_unanswered:
                for each in found.unanswered:
                    on_unanswered(each)
            return listed

    def read(
        self, snapshot: Snapshot | str, path: str, repository: str | None = None, *, instance: str | None = None
    ) -> bytes:
        """Read one file of a snapshot; of a directory, a tar of it. All in memory; `dump` writes to a stream."""
        from io import BytesIO

        content = BytesIO()
        self.dump(snapshot, path, content, repository, instance=instance)
        return content.getvalue()

    def dump(  # noqa: PLR0913  each may be left out
        self,
        snapshot: Snapshot | str,
        path: str,
        to: BinaryIO,
        repository: str | None = None,
        *,
        instance: str | None = None,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> tuple[UnansweredRepository, ...]:
        """Write one file of a snapshot into a stream; of a directory, a tar of it. Returns who did not answer.

        It is fetched first, to a private place below the state directory, and removed afterwards. Raises ConfigError
        where the snapshot holds nothing there, or something that is neither file nor directory.
        """
        from owui_vault.operations.look_inside import LookRequest, read

        request = LookRequest(
            snapshot=given.snapshot(snapshot),
            path=path,
            repository=repository,
            instance=instance,
            callbacks=_callbacks(progress, cancel),
        )
        with self._lock.reading() as context:
            return read(context, request, to)

    def restore(  # noqa: PLR0913  each may be left out
        self,
        snapshot: Snapshot | str,
        target: Path | str,
        components: Sequence[Component | str] | Component | str | None = None,
        repository: str | None = None,
        app_data_dir: str | None = None,
        *,
        instance: str | None = None,
        quiet_start: bool = False,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> RestoreReport:
        """Write a snapshot into a new or empty directory and check it against its manifest.

        `quiet_start` switches off, in the restored copy, what would run by itself at its first start (automations,
        calendar alerts, webhooks, timers); `report.held` names the file with the old values.
        """
        from owui_vault.operations.recovery.recover import recover_first
        from owui_vault.operations.restore.restore import RestoreRequest, restore

        request = RestoreRequest(
            snapshot=given.snapshot(snapshot),
            target=given.path(target, "target"),
            components=given.components(components),
            repository=repository,
            instance=instance,
            app_data_dir=app_data_dir,
            quiet_start=quiet_start,
            callbacks=_callbacks(progress, cancel),
        )
        with self._lock.writing("restore", cancel=request.callbacks.cancel) as context:
            recover_first(context)
            return with_secret_warnings(context, restore(context, request))

    def plan_prune(
        self, policy: RetentionPolicy | None = None, repository: Sequence[str] | str | None = None
    ) -> PrunePlan:
        """Plan what pruning would remove and why the rest stays; without a policy, the configured ones are used."""
        from owui_vault.operations import prune as pruning

        if policy is not None:
            given.made(policy, RetentionPolicy)
        with self._lock.reading() as context:
            return pruning.plan_prune(context, policy, repository)

    def accept_collapse(self, collapse: Collapse) -> None:
        """Accept a snapshot that stopped retention (`plan.collapse`): the next are compared with it. Then plan anew."""
        from owui_vault.operations import prune as pruning

        with self._lock.writing("prune") as context:
            pruning.accept_collapse(context, collapse)

    def prune(
        self, plan: PrunePlan, *, progress: ProgressSink | None = None, cancel: threading.Event | None = None
    ) -> PruneReport:
        """Carry out exactly this plan. Raises StalePlanError, with nothing removed, if a repository changed since.

        Under a `plan.collapse` nothing is removed, and notifiers are told.
        """
        from owui_vault.operations import prune as pruning
        from owui_vault.operations.recovery.recover import recover_first

        given.made(plan, PrunePlan, "plan_prune")
        callbacks = _callbacks(progress, cancel)
        with self._lock.writing("prune", cancel=callbacks.cancel) as context:
            recover_first(context)
            return pruning.prune(context, plan, callbacks)

    def pin(
        self,
        snapshot: Snapshot | str,
        *,
        instance: str | None = None,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> PinReport:
        """Let no retention remove this snapshot, in any repository that holds it. What fails in one is in the report.

        Asked again, it does what an earlier call could not.
        """
        return self._pinned(snapshot, instance, _callbacks(progress, cancel), pinned=True)

    def unpin(
        self,
        snapshot: Snapshot | str,
        *,
        instance: str | None = None,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> PinReport:
        """Let retention decide about this snapshot again, in every repository that holds it."""
        return self._pinned(snapshot, instance, _callbacks(progress, cancel), pinned=False)

    def _pinned(
        self, snapshot: Snapshot | str, instance: str | None, callbacks: Callbacks, *, pinned: bool
    ) -> PinReport:
        from owui_vault.operations.pinning import PinRequest, pin

        request = PinRequest(snapshot=given.snapshot(snapshot), pinned=pinned, instance=instance, callbacks=callbacks)
        with self._lock.writing("pin" if pinned else "unpin", cancel=callbacks.cancel) as context:
            return pin(context, request)

    def plan_replication(
        self,
        source: str | None = None,
        to: Sequence[str] | str = (),
        snapshots: Sequence[Snapshot | str] | None = None,
        *,
        instance: str | None = None,
    ) -> ReplicationPlan:
        """Plan which snapshots of one repository (None: the first) the others (or those in `to`) lack and would keep.

        With `snapshots` exactly these are planned, where they are missing. A repository that does not answer has its
        error in the plan; raises where the source does not.
        """
        from owui_vault.operations.replicate import ReplicationRequest, plan_replication

        with self._lock.reading() as context:
            wanted = None if snapshots is None else [given.snapshot(each) for each in snapshots]
            request = ReplicationRequest(source=source, to=to, snapshots=wanted, instance=instance)
            return with_secret_warnings(context, plan_replication(context, request))

    def replicate(
        self, plan: ReplicationPlan, *, progress: ProgressSink | None = None, cancel: threading.Event | None = None
    ) -> ReplicationReport:
        """Carry out this plan: the same ids, labels and manifests, newest first. Needs no instance and removes nothing.

        If every repository failed, the first error is raised, with the report as its `.report`.
        """
        from owui_vault.model import ReplicationPlan as Planned
        from owui_vault.operations.replicate import replicate

        given.made(plan, Planned, "plan_replication")
        callbacks = _callbacks(progress, cancel)
        with self._lock.writing("replicate", cancel=callbacks.cancel) as context:
            return replicate(context, plan, callbacks)

    def verify(  # noqa: PLR0913  each may be left out
        self,
        snapshot: Snapshot | str = "latest",
        repository: str | None = None,
        read_data: float = 0.0,
        *,
        instance: str | None = None,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> VerifyReport:
        """Compare what a repository returns with the manifest. What is wrong is in `report.problems`.

        `read_data`: the share of the repository's data to read besides, 0.1 for a tenth (10% on the command line), 1.0
        for all of them. Raises SnapshotMissingError, EngineError, LockHeldError.
        """
        from owui_vault.operations.verify import VerifyRequest, verify

        request = VerifyRequest(
            snapshot=given.snapshot(snapshot),
            repository=repository,
            instance=instance,
            read_data=given.share(read_data, "read_data"),
            callbacks=_callbacks(progress, cancel),
        )
        with self._lock.writing("verify", cancel=request.callbacks.cancel) as context:
            return with_secret_warnings(context, verify(context, request))

    def plan_replacement(
        self,
        snapshot: Snapshot | str = "latest",
        components: Sequence[Component | str] | Component | str | None = None,
        repository: str | None = None,
        *,
        quiet_start: bool = False,
    ) -> ReplacementPlan:
        """Plan what restoring in place would replace in the live data directory. Nothing is touched.

        `quiet_start` as for `restore`.
        """
        from owui_vault.operations.replace.plan import ReplacementRequest, plan_replacement

        with self._lock.reading(located=True) as context:
            request = ReplacementRequest(
                snapshot=given.snapshot(snapshot),
                components=given.components(components),
                repository=repository,
                quiet_start=quiet_start,
            )
            return with_secret_warnings(context, plan_replacement(context, request, _application(context)))

    def replace(
        self,
        plan: ReplacementPlan,
        *,
        accept_unknown_version: bool = False,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> ReplacementReport:
        """Restore in place: stage, check, stop, swap, start, and roll back if the instance does not come up.

        A plan with `unknown_version` is carried out only with `accept_unknown_version`; otherwise raises ConfigError.
        """
        from owui_vault.model import ReplacementPlan as Planned
        from owui_vault.operations.replace.replace import replace_data

        given.made(plan, Planned, "plan_replacement")
        callbacks = _callbacks(progress, cancel)
        accepted = accept_unknown_version
        with self._lock.writing("replace", located=True, cancel=callbacks.cancel) as context:
            report = replace_data(context, plan, _application(context), callbacks, accept_unknown_version=accepted)
            return with_secret_warnings(context, report)

    def undo(self, *, progress: ProgressSink | None = None, cancel: threading.Event | None = None) -> UndoReport:
        """Restore the previous data that the last `replace` kept."""
        from owui_vault.operations.replace.replace import undo_last

        with self._lock.writing("undo", located=True) as context:
            return undo_last(context, _application(context), _callbacks(progress, cancel))

    def previous_data(self) -> tuple[SetAside, ...]:
        """What `undo` and `discard` are about, newest first: the data that were kept. Recovers first."""
        from owui_vault.operations.replace.replace import previous_data_of

        with self._lock.writing("recover", located=True) as context:
            return previous_data_of(context)

    def discard(self) -> DiscardReport:
        """Delete all previous data that were kept, for good."""
        from owui_vault.operations.replace.replace import discard_all

        with self._lock.writing("discard", located=True) as context:
            return discard_all(context)

    @contextmanager
    def hold(
        self, mode: Quiesce | str = Quiesce.PAUSE, limit: timedelta | str = timedelta(minutes=1)
    ) -> Iterator[Held]:
        """Keep the instance quiet for the length of a `with` block, at most `limit` long.

        Raises QuiesceError if it cannot be made quiet or did not stay so until the end, and ResumeError if it could not
        be resumed.
        """
        from owui_vault.operations.hold import hold_quiet

        wanted, seconds = given.choice(Quiesce, mode, "mode"), given.length(limit, "limit").total_seconds()
        with (
            self._lock.writing("hold", located=True) as context,
            hold_quiet(context, wanted, seconds) as held,
        ):
            yield held

    def recover(self) -> RecoverReport:
        """Finish or roll back what a killed run left behind; every operation that writes does this first."""
        from owui_vault.operations.recovery.recover import recover

        with self._lock.writing("recover", located=True) as context:
            return recover(context)

    def run(
        self,
        plans: Sequence[str] | str | None = None,
        *,
        dry_run: bool = False,
        progress: ProgressSink | None = None,
        cancel: threading.Event | None = None,
    ) -> RunReport:
        """Carry out the plans that are due, or the named ones: snapshot, prune, verify, as each says.

        What fails is in the report. Raises LockHeldError while another run of this series is under way. `dry_run`: say
        what is due, and why. Afterwards the vault's `pages` are written anew.
        """
        from owui_vault.service.run_plans import run

        names = [plans] if isinstance(plans, str) else list(plans or ())
        with on_failure(self._publish_failure):
            report = run(self._service(self._context), names, _callbacks(progress, cancel), dry_run=dry_run)
        if dry_run or not (report.runs or report.killed):
            return report
        return replace(report, warnings=(*report.warnings, *self._publish(report.runs, offline=False)))

    def _publish_failure(self, error: BaseException) -> None:
        """The instance may be down: that is to be seen at once, whatever the repositories do."""
        if isinstance(error, ResumeError | RollbackError):
            self._publish((), offline=True)

    def _publish(self, runs: Sequence[RunRecord], *, offline: bool) -> tuple[str, ...]:
        if self._pages == Pages():
            return ()
        from owui_vault.service.publishing import publish

        with self._lock.reading() as context:
            return publish(self._service(context), self._pages, offline=offline, runs=runs)

    def history(self, last: int | None = None, plan: str | None = None) -> RunList:
        """The runs that the state knows of, newest first, at most `last` of them."""
        from owui_vault.service.history import history

        return history(self._service(self._context), None if last is None else given.number(last, "last"), plan)

    def status(self, max_age: timedelta | str | None = None, *, offline: bool = False) -> StatusReport:
        """Judge each plan in each repository, or without plans each series: is it as new as it should be?

        `offline`: from what this machine's state knows, each value with its age; no repository is asked.
        """
        from owui_vault.service.status import status

        oldest = _oldest(max_age)
        with self._lock.reading() as context:
            return status(self._service(context), oldest, offline=offline)

    def metrics(
        self, file: Path | str | None = None, *, max_age: timedelta | str | None = None, offline: bool = False
    ) -> Page:
        """The same status as Prometheus's text, written into a file in one step if one is given."""
        from owui_vault.service.publishing import metrics

        oldest, place = _oldest(max_age), _file(file)
        with self._lock.reading() as context:
            return metrics(self._service(context), place, oldest, offline=offline)

    def report(
        self, file: Path | str | None = None, *, max_age: timedelta | str | None = None, offline: bool = False
    ) -> Page:
        """The page to look at: one HTML file that needs nothing else, written in one step if a file is given.

        `offline` and `max_age` as for `status`, which is on it.
        """
        from owui_vault.service.publishing import report

        oldest, place = _oldest(max_age), _file(file)
        with self._lock.reading() as context:
            return report(self._service(context), place, oldest, offline=offline)

    def _service(self, context: OperationContext) -> Service:
        from owui_vault.service.parts import Service

        return Service(context=context, plans=self._plans, operations=self._telling_nobody())

    def _telling_nobody(self) -> Vault:
        """The same vault and its turns, for the steps of a run: what is to be told of them, the run tells."""
        silent = copy(self)
        silent._context = replace(self._context, notifiers=())
        silent._lock = self._lock.with_context(silent._context)
        return silent


def tell_that_nothing_starts(vault: Vault, error: VaultError) -> None:
    """Tell whoever hears of this vault that nothing can be started with its configuration. Raises nothing."""
    from owui_vault.service.telling.announce import announce
    from owui_vault.service.telling.heartbeats import Pulse
    from owui_vault.service.telling.troubles import cannot_start

    service = vault._service(vault._context)
    announce(service, instead=cannot_start(error, "configuration"))
    Pulse(service).failed_to_start()


def _application(context: OperationContext) -> Application:
    from owui_vault.instance.application import ProcessApplication
    from owui_vault.instance.data_dir import folder_at

    if context.application:
        return context.application
    data_dir = folder_at(context.the_instance().path)
    places = (data_dir, *(context.quiescer.places() if context.quiescer else ()))
    return ProcessApplication(context.inspect_environment().holders, context.clock, places=places)


def _callbacks(progress: ProgressSink | None, cancel: threading.Event | None) -> Callbacks:
    return Callbacks(progress=progress or ignore_progress, cancel=cancel or NEVER)


def _oldest(max_age: timedelta | str | None) -> timedelta | None:
    return None if max_age is None else given.length(max_age, "max_age")


def _file(file: Path | str | None) -> Path | None:
    return None if file is None else given.path(file, "file")
