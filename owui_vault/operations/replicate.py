"""Replicates: brings to one repository what another holds. A plan to review, then that plan.

What is missing is decided by our id, and by what the target's own `keep` would keep of all that it has and could get:
so that nothing is brought that its next prune removes, and a second run has nothing to do. Newest first. Nothing is
ever removed here, and the instance is not needed: slow links may take as long as they take.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.context.scratch import scratch
from owui_vault.context.state import LastStored
from owui_vault.errors import (
    ConfigError,
    ContentMismatchError,
    EngineError,
    RepositoryDamagedError,
    RestoreError,
    VaultError,
    WrongInstanceError,
)
from owui_vault.manifest.attribute_records import attribute_warnings
from owui_vault.manifest.compare import compare_with_manifest
from owui_vault.model import (
    CopyWay,
    Outcome,
    ReplicationPlan,
    ReplicationReport,
    ReplicationResult,
    RepositoryReplication,
    RetentionPolicy,
    Snapshot,
    Step,
)
from owui_vault.operations.notifications import notify_failures
from owui_vault.repositories.identity import require_distinct
from owui_vault.repositories.listing import RepositoryListing, fingerprint_of, survey
from owui_vault.repositories.lookup import manifest_in
from owui_vault.repositories.pin_labels import entries_of, set_pinned
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.repositories.retention import decide
from owui_vault.repositories.selectors import choose, newest_first, once_each
from owui_vault.system.durable_files import require_space

_SPARE_BYTES = 64 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationRequest:
    """What the caller asked for. `source` None: the first repository; `to` empty: all others.

    `snapshots`: exactly these, whatever the targets' `keep` says; None: what is missing.
    """

    source: str | None = None
    to: Sequence[str] | str = ()
    snapshots: Sequence[Snapshot | str] | None = None
    instance: str | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)


def plan_replication(context: OperationContext, request: ReplicationRequest) -> ReplicationPlan:
    """Look, and copy nothing. Raises ConfigError, and the source's error when that does not answer.

    A target that does not answer has its error in the plan.
    """
    source, targets = _places(context, request)
    surveyed = survey(context, (source, *targets), request.callbacks)
    require_distinct(context, surveyed, request.callbacks)
    at_source = surveyed[0]
    if at_source.error:
        raise at_source.error
    doubted = _doubted(at_source)
    chosen, asked = _chosen(context, request, at_source, doubted), request.snapshots is not None
    return ReplicationPlan(
        source=source.name,
        repositories=tuple(_planned(at_source, each, chosen, asked=asked) for each in surveyed[1:]),
        warnings=tuple(
            f"snapshot {each.id} is not copied: the run that stored it in {source.name!r} was killed before it could"
            " check that its data had not changed; the next snapshot settles that"
            for each in doubted
        )
        + tuple(
            f"snapshot {each.id} is not copied: a later version ({each.later.version or 'unknown'}) stored it"
            for each in at_source.snapshots
            if each.later
        ),
    )


def _places(context: OperationContext, request: ReplicationRequest) -> tuple[Repository, tuple[Repository, ...]]:
    source = context.select(request.source)[0]
    targets = tuple(each for each in context.select(request.to or None) if each.name != source.name)
    if request.to and len(targets) < len({request.to} if isinstance(request.to, str) else set(request.to)):
        raise ConfigError(f"{source.name!r} cannot be copied to itself", hint="Choose the source with --from.")
    if not targets:
        raise ConfigError("there is no repository to copy to", hint="Add a second one under `repositories`.")
    return source, targets


def _doubted(source: RepositoryListing) -> tuple[Snapshot, ...]:
    """What the repository may call complete and this machine does not believe: a copy would be believed there."""
    memory = source.client.memory
    return tuple(each for each in source.snapshots if each.label and each.id in memory.unverified_of(each.instance))


def _chosen(
    context: OperationContext, request: ReplicationRequest, source: RepositoryListing, doubted: Sequence[Snapshot]
) -> tuple[Snapshot, ...]:
    """What could be brought: of the named series, of the instance's, or of all where there is none."""
    series = context.named_series(request.instance)
    ours = [each for each in source.snapshots if each.label and series in (None, each.instance)]
    candidates = tuple(each for each in newest_first(once_each(ours)) if each not in doubted)
    if request.snapshots is None:
        return candidates
    wanted = [
        choose(candidates, each if isinstance(each, str) else each.id) for each in dict.fromkeys(request.snapshots)
    ]
    return newest_first(list(dict.fromkeys(wanted)))


def _planned(
    source: RepositoryListing, target: RepositoryListing, chosen: Sequence[Snapshot], *, asked: bool
) -> RepositoryReplication:
    if target.error:
        return RepositoryReplication(repository=target.name, error=target.error)
    try:
        by_series = {
            series: [each for each in chosen if each.instance == series]
            for series in sorted({each.instance for each in chosen})
        }
        copies = [one for series, some in by_series.items() for one in _missing_of(series, target, some, asked=asked)]
        pins = [one for series, some in by_series.items() for one in _unpinned(target.series(series), some)]
    except VaultError as error:
        return RepositoryReplication(repository=target.name, error=error)
    way = CopyWay.ENGINE if target.client.can_copy_from(source.client) else CopyWay.STAGE
    return RepositoryReplication(repository=target.name, copies=newest_first(copies), pins=newest_first(pins), way=way)


def _unpinned(here: Sequence[Snapshot], candidates: Sequence[Snapshot]) -> Iterator[Snapshot]:
    """What is here and not pinned, and pinned at the source. The other way round nothing is done: pins are added."""
    pinned = {(each.id, each.instant) for each in candidates if each.pinned}
    return (each for each in once_each(here) if not each.pinned and (each.id, each.instant) in pinned)


def _missing_of(
    series: str, target: RepositoryListing, candidates: Sequence[Snapshot], *, asked: bool
) -> tuple[Snapshot, ...]:
    here = target.series(series)
    _require_same_instance(series, target.name, here, candidates)
    policy = RetentionPolicy() if asked else target.client.repository.keep
    return missing(policy, here, candidates)


def _require_same_instance(series: str, name: str, here: Sequence[Snapshot], candidates: Sequence[Snapshot]) -> None:
    """Raise WrongInstanceError where the newest of a series here is of another instance than the newest to come."""
    known, coming = fingerprint_of(here), fingerprint_of(candidates)
    if known and coming and known != coming:
        raise WrongInstanceError(
            f"the series {series!r} in repository {name!r} belongs to another instance (its fingerprint is"
            f" {known[:12]}, the source's {coming[:12]})",
            hint="Give one of the two instances another instance.name.",
        )


def missing(policy: RetentionPolicy, here: Sequence[Snapshot], candidates: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Those candidates of a series that are not here and that `policy` would keep beside what is here.

    An empty policy keeps everything. What somebody verified elsewhere was not verified here.
    """
    known = {(each.id, each.instant) for each in here}
    new = [each for each in candidates if (each.id, each.instant) not in known]
    if policy.is_empty or not new:
        return tuple(new)
    place = here[0].repository if here else new[0].repository
    could_be = {each.engine_id: replace(each, repository=place, verified_at=None, verified_all_at=None) for each in new}
    kept, _ = decide(policy, [*here, *could_be.values()])
    wanted = {each.snapshot.engine_id for each in kept}
    return tuple(each for each in new if each.engine_id in wanted)


def replicate(context: OperationContext, plan: ReplicationPlan, callbacks: Callbacks) -> ReplicationReport:
    """Carry out a plan: one repository after the other, newest snapshots first; one that fails ends no other.

    What is there by now is passed over. When all repositories failed, the first error is raised with `.report`.
    """
    started = context.clock.monotonic()
    source = RepositoryClient(context, context.select(plan.source)[0], callbacks)
    results = tuple(_attempt(context, source, each, callbacks) for each in plan.repositories)
    took = timedelta(seconds=context.clock.monotonic() - started)
    report = ReplicationReport(plan=plan, repositories=results, warnings=plan.warnings, took=took)
    errors = [each.error for each in results if each.error and not (each.copied or each.pinned)]
    if errors and len(errors) == len(results):
        errors[0].report = report
        raise errors[0]
    notify_failures(context, "replicate", results)
    return report


def _attempt(
    context: OperationContext, source: RepositoryClient, planned: RepositoryReplication, callbacks: Callbacks
) -> ReplicationResult:
    (repository,) = context.select(planned.repository)
    warnings: list[str] = []
    copying = _Copying(
        context=context,
        source=source,
        target=RepositoryClient(context, repository, replace(callbacks, warn=warnings.append)),
        cancel=callbacks.cancel,
        warnings=warnings,
    )
    started = context.clock.monotonic()
    error: VaultError | None = planned.error
    try:
        if error is None:
            with copying.target.locked():
                copying.bring(planned)
            error = copying.error
    except Exception as raised:  # one repository of several
        error = copying.target.failure(raised, "replicating to")
    if error:
        _log.warning("could not bring everything to %s: %s", repository.name, error.message)
    return ReplicationResult(
        repository=repository.name,
        copied=tuple(copying.copied),
        pinned=tuple(copying.pinned),
        error=error,
        added_bytes=None if planned.way is CopyWay.ENGINE else copying.added_bytes,
        warnings=tuple(dict.fromkeys(warnings)),
        took=timedelta(seconds=context.clock.monotonic() - started),
    )


@dataclass(slots=True, kw_only=True)
class _Copying:
    """One repository being brought up to date by another. `error` is that of the first snapshot that cannot come."""

    context: OperationContext
    source: RepositoryClient
    target: RepositoryClient
    cancel: threading.Event
    warnings: list[str]
    copied: list[Snapshot] = field(default_factory=list)
    pinned: list[Snapshot] = field(default_factory=list)
    error: VaultError | None = None
    added_bytes: int = 0

    def bring(self, planned: RepositoryReplication) -> None:
        """All that is planned and not there by now, and the pins of what is."""
        before = RepositoryListing(client=self.target, snapshots=self.target.list())
        there = {(each.id, each.instance, each.instant) for each in before.snapshots if each.label}
        wanted = [each for each in planned.copies if (each.id, each.instance, each.instant) not in there]
        if planned.way is CopyWay.ENGINE:
            # The newest by itself: whatever ends this later, the most valuable one is there.
            for some in (wanted[:1], wanted[1:]):
                if some:
                    self._by_engine(some)
        for each in wanted if planned.way is CopyWay.STAGE else ():
            try:
                self._through_stage(each, before.chunking(each.instance))
            except (ContentMismatchError, RepositoryDamagedError, RestoreError) as error:
                # This one cannot be had from here; the others may be.
                _log.warning("snapshot %s stays behind: %s", each.id, error.message)
                self.error = self.error or error
        for each in planned.pins:
            if there_now := entries_of(before.snapshots, each):
                self.pinned.append(self._pin(there_now))

    def _pin(self, entries: Sequence[Snapshot]) -> Snapshot:
        now, warning = set_pinned(self.target, self.target.as_labelled(entries), pinned=True)
        if warning:
            self.warnings.append(f"snapshot {now.id}: {warning}")
        return now

    def _by_engine(self, snapshots: Sequence[Snapshot]) -> None:
        self.target.progress(Step.STORE, ", ".join(each.id for each in snapshots[:3]))
        self.target.copy_from(self.source, snapshots)
        listed = {each.id: each for each in self.target.list() if each.label}
        for each in snapshots:
            came = listed.get(each.id)
            if came is None or came.label is None or each.label is None:
                raise EngineError(
                    f"snapshot {each.id} is not in repository {self.target.name!r} after it was copied",
                    engine=self.target.repository.engine.name,
                )
            if came.outcome is not each.outcome:
                came = self.target.relabel(came, each.label)
            if each.pinned and not came.pinned:  # the source has an entry that says so, and it was another one
                came = self._pin(entries_of(self.target.list(), came))
            self._note(came)

    def _through_stage(self, snapshot: Snapshot, chunking: str) -> None:
        label = snapshot.label
        if label is None:
            raise TypeError("only snapshots with a label are planned")
        with scratch(self.context.state, "replicate") as folder:
            require_space(folder, (snapshot.size_bytes or 0) + _SPARE_BYTES, "replicating through this machine")
            self.source.progress(Step.FETCH, snapshot.id)
            self.source.fetch(snapshot, folder)
            self._check(snapshot, folder)
            self.target.progress(Step.STORE, snapshot.id)
            label = replace(label, chunking=chunking)
            receipt = self.target.store(folder, label, reread=True, last_look=tuple)
        stored = replace(receipt.snapshot, repository=self.target.name)
        if receipt.skipped and label.outcome is Outcome.COMPLETE:
            self.target.remove([stored])
            raise EngineError(
                f"{len(receipt.skipped)} files of snapshot {snapshot.id} could not be read again",
                engine=self.target.repository.engine.name,
            )
        self.added_bytes += receipt.added_bytes
        self._note(stored)

    def _check(self, snapshot: Snapshot, folder: Path) -> None:
        """Raise rather than store as the snapshot what is not."""
        manifest = manifest_in(folder, snapshot)
        found = compare_with_manifest(folder / "data", manifest, cancel=self.cancel)
        if found.problems and snapshot.is_restore_point:
            raise ContentMismatchError(
                f"snapshot {snapshot.id} in {self.source.name!r} differs from its manifest:"
                f" {'; '.join(found.problems[:3])}",
                hint=f"Run `verify {snapshot.id} --from {self.source.name}`. Nothing of it was copied.",
            )
        components = tuple(record.name for record in manifest.components)
        lost = attribute_warnings(folder / "data", manifest, components)
        if lost and manifest.attributes:
            raise RestoreError(
                f"snapshot {snapshot.id} cannot pass through this machine unchanged: {'; '.join(lost)}",
                hint="Run `replicate` as root: only root can give files to their owners.",
            )

    def _note(self, stored: Snapshot) -> None:
        """What is there now; the newest of its series is what must not be missing there from now on."""
        self.copied.append(stored)
        label = stored.label
        last = dict(self.target.memory.last).get(stored.instance)
        if label and (last is None or label.sequence >= last.sequence):
            newest = LastStored(
                id=stored.id, engine_id=stored.engine_id, sequence=label.sequence, instant=stored.instant
            )
            self.context.state.remember_stored(self.target.folder, stored.instance, newest)
