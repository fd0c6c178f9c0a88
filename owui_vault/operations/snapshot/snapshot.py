"""Takes a snapshot: one straight path, in reading order.

lock      the data directory itself                       another run: LockHeldError
recover   what a killed run left behind
survey    every repository, before anything is touched    none answers: its error
capture   one instant, in the stage
describe  manifest, RESTORE.txt, what is kept outside     the outcome is decided here
store     the stage, into each repository                SQLite's full check of its databases runs beside
check     the stage again: is it unchanged?
clear     the stage
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from owui_vault.capture.instant import take_instant
from owui_vault.components.names import DATABASE
from owui_vault.components.uploads import names
from owui_vault.context.context import (
    Callbacks,
    DataDirectory,
    OperationContext,
    Repository,
    require_valid_plan,
    require_valid_tags,
)
from owui_vault.errors import CancelledError, QuiesceError, VaultError
from owui_vault.instance.container.container import FoundContainer, started_anew
from owui_vault.instance.data_dir import ProbeResult, probe_instance
from owui_vault.instance.layout import capture_plan
from owui_vault.instance.runtime import RuntimeEnvironment, own_processes
from owui_vault.manifest.health import examine
from owui_vault.model import (
    Captured,
    CapturePlan,
    Manifest,
    Outcome,
    Progress,
    Proof,
    ProofRecord,
    Quiesce,
    RepositoryResult,
    SnapshotReport,
    Step,
)
from owui_vault.model.json_codec import local_text
from owui_vault.operations.full_checks import check_in_background, known_checks, remember, warnings_of
from owui_vault.operations.hold import open_hold, require_quiescer
from owui_vault.operations.notifications import notify, notify_failures
from owui_vault.operations.recovery.recover import opened_work, recovered
from owui_vault.operations.snapshot.manifest_builder import SnapshotIdentity, build_manifest, stage_errors
from owui_vault.operations.snapshot.store import KnownUploads, demote_unconfirmed, store_everywhere
from owui_vault.ports import Quiescer
from owui_vault.repositories.identity import require_distinct, rolled_back
from owui_vault.repositories.listing import (
    RepositoryListing,
    later_formats,
    require_one_answer,
    require_own_series,
    survey,
)
from owui_vault.repositories.overlap import require_apart
from owui_vault.repositories.verification_log import learn_lost_ledger
from owui_vault.system.patterns import takes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """What the caller asked for. `quiesce` None: as configured. `plan`: whose run it is. `dry_run`: do not store."""

    to: Sequence[str] | str | None = None
    tags: tuple[str, ...] = ()
    quiesce: Quiesce | None = None
    plan: str = ""
    dry_run: bool = False
    callbacks: Callbacks = field(default_factory=Callbacks)


def snapshot(context: OperationContext, request: SnapshotRequest) -> SnapshotReport:
    """Take one instant and store it in each repository.

    An INCOMPLETE snapshot is a result. When no repository took it, the first error is raised with `.report`.
    """
    return _told(context, _snapshot(context, request))


def _snapshot(context: OperationContext, request: SnapshotRequest) -> SnapshotReport:
    started = context.clock.monotonic()
    callbacks = request.callbacks
    repositories = context.select(request.to)
    require_valid_tags(request.tags)
    require_valid_plan(request.plan)
    if _mode(context.the_instance(), request) in (Quiesce.PAUSE, Quiesce.STOP):
        require_quiescer(context.quiescer, _mode(context.the_instance(), request))
    require_apart(context, repositories)
    with recovered(context, callbacks.cancel) as (data_dir, lock):
        require_distinct(context, callbacks=callbacks)
        settled = demote_unconfirmed(context, repositories, callbacks)
        surveyed, probe, environment = _look(context, data_dir, repositories, callbacks)
        gone = [
            text
            for each in surveyed
            if not each.error
            for text in (*rolled_back(each.client, each.snapshots), *later_formats(each.snapshots, context.series()))
        ]
        known = KnownUploads(context.series(), surveyed)
        with opened_work(context, data_dir, lock) as work, known.remembered(work.path):
            plan = replace(_plan(context, probe, work.path, environment), known_uploads=known.files())
            captured = _capture(context, request, plan, environment=environment, lock=lock)
            _require_same_container(context.container, captured)
            learn_lost_ledger(context, surveyed)
            captured = replace(captured, databases=known_checks(context, captured.databases))
            with stage_errors(work):
                manifest = build_manifest(context, plan, captured, environment, _naming(context, request, surveyed))
            require_own_series(context, _fingerprint(manifest), surveyed)
            with check_in_background(context, captured.stage / "data", manifest) as beside:
                results = () if request.dry_run else store_everywhere(context, captured, manifest, surveyed, callbacks)
                known.stored(results, manifest.sequence)
                unlearned = _learn(context, results)
                checks = beside.finish(callbacks, context.clock.monotonic() - started)
    unnoted = remember(context.state, manifest, checks, is_stored=any(each.snapshot for each in results))
    took = timedelta(seconds=context.clock.monotonic() - started)
    late = (f"{each.repository}: {text}" for each in results for text in each.warnings)
    told = (*settled, *gone, *beside.amended(manifest.warnings, checks), *unnoted, *unlearned)
    warnings = (*told, *_clock_warnings(manifest, surveyed), *_tag_warnings(request, repositories), *late)
    return replace(_report(request, manifest, warnings, results, took), full_checks=checks)


def _mode(instance: DataDirectory, request: SnapshotRequest) -> Quiesce:
    return request.quiesce or instance.quiesce


def _look(
    context: OperationContext, data_dir: Path, repositories: Sequence[Repository], callbacks: Callbacks
) -> tuple[tuple[RepositoryListing, ...], ProbeResult, RuntimeEnvironment]:
    """Find problems before the instance is touched: with its data, its surroundings, the repositories."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="look") as pool:
        looking = pool.submit(probe_instance, data_dir)
        surveyed = survey(context, repositories, callbacks)
        probe = looking.result()
    environment = context.inspect_environment()
    environment.require_supported()
    _require_one_answer(context, surveyed)
    require_distinct(context, surveyed, callbacks)
    require_own_series(context, probe.facts.fingerprint if probe.facts else None, surveyed)
    return surveyed, probe, environment


def _require_one_answer(context: OperationContext, surveyed: Sequence[RepositoryListing]) -> None:
    """Raise the first error when no repository answered: then the instance is not touched at all."""
    try:
        require_one_answer(surveyed)
    except VaultError as error:
        error.report = _unanswered_report(context, surveyed)
        raise


def _unanswered_report(context: OperationContext, surveyed: Sequence[RepositoryListing]) -> SnapshotReport:
    results = [RepositoryResult(repository=each.name, error=each.error) for each in surveyed]
    return SnapshotReport(
        id="",
        instance=context.the_instance().name,
        instant=context.clock.now(),
        outcome=Outcome.FAILED,
        proof=ProofRecord(mode=Proof.UNPROVEN, attempts=0),
        problems=("no repository answered; nothing was captured",),
        warnings=(),
        repositories=tuple(results),
        manifest=None,
        took=timedelta(),
    )


def _plan(
    context: OperationContext, probe: ProbeResult, work_dir: Path, environment: RuntimeEnvironment
) -> CapturePlan:
    instance = context.the_instance()
    plan = capture_plan(
        probe.data_dir,
        work_dir,
        include=instance.include,
        exclude=instance.exclude,
        mounted=context.container.mounted if context.container else (),
        bucket=environment.bucket,
        local_uploads=probe.has_local_uploads,
    )
    own = own_processes(environment)
    rewritten = (*plan.rewritten, *context.state.instance_memory(instance.name).rewritten)
    encrypted = (DATABASE,) if environment.encrypted else ()
    return replace(plan, encrypted=encrypted, rewritten=rewritten, processes=own.pids, unchecked=own.unchecked)


def _learn(context: OperationContext, results: Sequence[RepositoryResult]) -> tuple[str, ...]:
    """An upload that was changed in place once may be changed again: it is no longer linked.

    What is stored is stored: where that cannot be recorded, the report says so.
    """
    changed = sorted({name for each in results for name in each.changed})
    try:
        if changed:
            context.state.remember_rewritten(context.the_instance().name, changed)
    except CancelledError:
        raise
    except VaultError as error:
        return (f"which uploads were changed in place could not be recorded: {error.message}",)
    return ()


def _capture(
    context: OperationContext,
    request: SnapshotRequest,
    plan: CapturePlan,
    *,
    environment: RuntimeEnvironment,
    lock: int,
) -> Captured:
    instance = context.the_instance()
    mode = _mode(context.the_instance(), request)
    request.callbacks.progress(Progress(step=Step.CAPTURE, text=f"{plan.data_dir}, {mode.value}"))
    warnings = _quiet_warnings(context.quiescer, mode)
    captured = take_instant(
        plan,
        mode=mode,
        quiet=open_hold(context, context.quiescer, lock) if context.quiescer else None,
        examine=partial(
            examine,
            is_left_out=lambda relative: not takes(plan, relative),
            vectors_elsewhere=environment.vectors_elsewhere,
            encrypted=environment.encrypted,
        ),
        limits=context.limits.capture,
        unproven=instance.store_unproven and mode in (Quiesce.AUTO, Quiesce.LIVE),
        clock=context.clock,
        progress=request.callbacks.progress,
        cancel=request.callbacks.cancel,
    )
    return replace(captured, warnings=(*captured.warnings, *warnings))


def _require_same_container(container: FoundContainer | None, captured: Captured) -> None:
    """Raise if the instance was restarted during the capture, unless we stopped it ourselves."""
    if container is None or captured.proof.mode is Proof.STOP:
        return
    name = started_anew(container)
    if name:
        raise QuiesceError(
            f"container {name} was restarted or replaced while the data were being captured",
            hint="Nothing was stored. Run the snapshot again.",
        )


def _fingerprint(manifest: Manifest) -> str | None:
    """Whose data were captured; None when their database is too damaged to tell."""
    readable = any(each.path == DATABASE and each.check == "ok" and each.tables for each in manifest.databases)
    return manifest.fingerprint or ("" if readable else None)


def _quiet_warnings(quiescer: Quiescer | None, mode: Quiesce) -> tuple[str, ...]:
    """Warn while `live` still works if a pause would find nothing to pause. Other modes raise by themselves."""
    if mode is not Quiesce.AUTO or quiescer is None:
        return ()
    try:
        quiescer.observe()
    except VaultError as error:
        return (f"the instance could not be made quiet if that were needed: {error.message}",)
    return ()


def _naming(
    context: OperationContext, request: SnapshotRequest, surveyed: Sequence[RepositoryListing]
) -> SnapshotIdentity:
    """A new id and the next number of the series; a number is used up even if nothing comes of this run."""
    instance = context.the_instance().name
    highest = max((found.highest(instance) for found in surveyed), default=0)
    if request.dry_run:
        sequence = max(highest, context.state.instance_memory(instance).sequence) + 1
    else:
        sequence = context.state.next_sequence(instance, highest)
    tags = tuple(sorted(set(request.tags)))
    return SnapshotIdentity(id=os.urandom(4).hex(), sequence=sequence, tags=tags, plan=request.plan)


def _tag_warnings(request: SnapshotRequest, repositories: Sequence[Repository]) -> Iterator[str]:
    """A mark by hand is meant to keep the snapshot, and it does nothing by itself. What a plan is called is its own."""
    for tag in request.tags if not request.plan else ():
        pruned = [each for each in repositories if not (each.keep.is_empty or each.append_only)]
        named = {each.name: {*each.keep.tags, *(own.tag for own in each.keep.tag_policies)} for each in pruned}
        if places := [name for name, tags in named.items() if tag not in tags]:
            yield (
                f"`prune` does not spare the tag {tag!r} ({', '.join(places)}): add it to `keep.tags`, or pin the"
                " snapshot with `owui-vault pin`"
            )


def _clock_warnings(manifest: Manifest, surveyed: Sequence[RepositoryListing]) -> tuple[str, ...]:
    newest = max((each.instant for found in surveyed for each in found.series(manifest.instance)), default=None)
    if newest is None or newest <= manifest.instant:
        return ()
    return (
        f"the clock of this machine says {local_text(manifest.instant)}, but the series already holds a"
        f" snapshot of {local_text(newest)}: one of the two was wrong; snapshots are ordered by their number",
    )


def _report(
    request: SnapshotRequest,
    manifest: Manifest,
    warnings: tuple[str, ...],
    results: tuple[RepositoryResult, ...],
    took: timedelta,
) -> SnapshotReport:
    errors = [each.error for each in sorted(results, key=lambda each: each.excused) if each.error]
    failed = bool(errors) and len(errors) == len(results)
    problems = (*manifest.problems, *_late_problems(manifest, results))
    outcome = Outcome.INCOMPLETE if problems else Outcome.COMPLETE
    report = SnapshotReport(
        id=manifest.id,
        instance=manifest.instance,
        instant=manifest.instant,
        outcome=Outcome.FAILED if failed else outcome,
        proof=manifest.proof,
        problems=problems,
        warnings=warnings,
        repositories=results,
        manifest=manifest,
        took=took,
        dry_run=request.dry_run,
    )
    if failed:
        errors[0].report = report
        raise errors[0]
    return report


def _late_problems(manifest: Manifest, results: Sequence[RepositoryResult]) -> Iterator[str]:
    """What went wrong after the manifest was written, by name."""
    for each in results:
        unread = [f"{file.path} ({file.reason})" for file in each.skipped]
        if unread:
            yield f"could not be read while it was stored in {each.repository}: {names(unread)}"
        if each.changed:
            yield (
                f"changed while it was stored in {each.repository}, and copied instead of linked from now on:"
                f" {names(each.changed)}"
            )
        told = unread or each.changed
        if each.snapshot and each.snapshot.outcome is not manifest.outcome and not told:
            yield f"{each.repository} has it as {each.snapshot.outcome.value}, without saying why"


def _told(context: OperationContext, report: SnapshotReport) -> SnapshotReport:
    failed = [each for each in report.repositories if each.error and not each.excused]
    if failed:
        told = notify_failures(context, "snapshot", failed)
    elif report.outcome is Outcome.INCOMPLETE:
        told = notify(context, "snapshot", "incomplete", "; ".join(report.problems))
    else:
        told = notify(context, "snapshot", "success", f"snapshot {report.id}")
    if damage := warnings_of(report.full_checks):
        told = (*told, *notify(context, "snapshot", "warning", "; ".join(damage)))
    return replace(report, warnings=(*report.warnings, *told))
