"""Pruning: a plan to review, then exactly that plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from owui_vault.context.container_access import with_container
from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.errors import (
    ConfigError,
    EngineError,
    InstanceError,
    RepositoryAppendOnlyError,
    StalePlanError,
)
from owui_vault.model import (
    Progress,
    PrunePlan,
    PruneReport,
    PruneResult,
    RepositoryPrune,
    RetentionPolicy,
    Snapshot,
    Step,
)
from owui_vault.operations.inspect import current_fingerprint
from owui_vault.operations.notifications import notify_failures
from owui_vault.repositories.identity import require_current, require_distinct
from owui_vault.repositories.listing import (
    RepositoryListing,
    failure_of,
    listed,
    require_own_series,
    retry_while_locked,
)
from owui_vault.repositories.retention import decide
from owui_vault.repositories.verification_log import learn_ledger
from owui_vault.system.lock import directory_lock

_DUE = "compact-due"  # in a repository's folder: snapshots were removed, and their space was not freed yet


def plan_prune(
    context: OperationContext, policy: RetentionPolicy | None, names: Sequence[str] | str | None
) -> PrunePlan:
    """What pruning would remove and why the rest stays. Reads only.

    Raises ConfigError for an empty policy, and the repository's own error when one does not answer: a plan is whole or
    there is none.
    """
    fingerprint = _fingerprint(context)
    planned = tuple(_plan_one(context, each, policy or each.keep, fingerprint) for each in context.select(names))
    require_distinct(context)
    return PrunePlan(repositories=planned)


def _fingerprint(context: OperationContext) -> str | None:
    """Whose series this machine may prune; None where no instance is configured, or none is there to ask."""
    if context.instance is None:
        return None
    try:
        return current_fingerprint(with_container(context))
    except InstanceError:
        return None


def _plan_one(
    context: OperationContext, repository: Repository, policy: RetentionPolicy, fingerprint: str | None
) -> RepositoryPrune:
    if policy.is_empty:
        raise ConfigError(
            f"repository {repository.name!r} has no retention policy",
            hint=f"Set repositories.{repository.name}.keep, for example `keep: {{last: 3, daily: 7, weekly: 4}}`, or"
            " name the ones to prune.",
        )
    surveyed = RepositoryListing(repository=repository, snapshots=listed(context, repository))
    require_current(context, repository, surveyed.snapshots)
    require_own_series(context, fingerprint, [surveyed])
    if learn_ledger(context, surveyed, Callbacks()):  # what another machine has verified is not removed by this one
        surveyed = RepositoryListing(repository=repository, snapshots=listed(context, repository))
    instance = context.series()
    kept, removed = decide(policy, surveyed.series(instance))
    return RepositoryPrune(repository=repository.name, instance=instance, policy=policy, kept=kept, removed=removed)


def prune(context: OperationContext, plan: PrunePlan, callbacks: Callbacks) -> PruneReport:
    """Carry out a plan.

    Every repository is looked at again before the first snapshot is removed. Raises StalePlanError, with nothing
    removed, when one changed since the plan was made, or the policy now says something else about it. Each is looked at
    once more at its turn: hours may have passed in the one before it. What changed by then is its result.
    """
    started = context.clock.monotonic()
    require_distinct(context, callbacks=callbacks)
    if len(plan.repositories) > 1:
        for each in plan.repositories:
            _require_unchanged(context, each, callbacks)
    results = tuple(_prune_one(context, each, callbacks) for each in plan.repositories)
    took = timedelta(seconds=context.clock.monotonic() - started)
    report = PruneReport(plan=plan, repositories=results, took=took)
    errors = [result.error for result in results if result.error and not result.removed]
    if errors and len(errors) == len(results):
        errors[0].report = report
        raise errors[0]
    notify_failures(context, "prune", results)
    return report


def _require_unchanged(context: OperationContext, planned: RepositoryPrune, callbacks: Callbacks) -> None:
    (repository,) = context.select(planned.repository)
    surveyed = RepositoryListing(repository=repository, snapshots=listed(context, repository, callbacks))
    require_current(context, repository, surveyed.snapshots)
    now = surveyed.series(planned.instance)
    same = _identities(now) == _identities([*(kept.snapshot for kept in planned.kept), *planned.removed])
    # The policy is asked again: a verification since then may protect another snapshot.
    if not same or _identities(decide(planned.policy, now)[1]) != _identities(planned.removed):
        raise StalePlanError(
            f"repository {planned.repository!r} changed since the plan was made", hint="Make a new plan."
        )


def _identities(snapshots: Sequence[Snapshot]) -> set[tuple[str, str]]:
    return {(each.engine_id, each.outcome.value) for each in snapshots}


def _prune_one(context: OperationContext, planned: RepositoryPrune, callbacks: Callbacks) -> PruneResult:
    (repository,) = context.select(planned.repository)
    folder = context.call(repository).folder
    try:
        with directory_lock(
            folder,
            wait_seconds=context.limits.lock_wait_seconds,
            clock=context.clock,
            what=repository.name,
            cancel=callbacks.cancel,
        ):
            _require_unchanged(context, planned, callbacks)
            return _pruned(context, repository, planned, callbacks)
    except Exception as raised:  # one repository of several
        return PruneResult(repository=repository.name, error=failure_of(repository, raised, callbacks, "pruning"))


def _pruned(
    context: OperationContext, repository: Repository, planned: RepositoryPrune, callbacks: Callbacks
) -> PruneResult:
    """Remove, then compact; also when an earlier prune removed something and did not come to compacting."""
    due = context.call(repository).folder / _DUE
    result = PruneResult(repository=repository.name, freed_bytes=0)
    try:
        if planned.removed:
            due.touch(mode=0o600)
            _remove(context, repository, planned, callbacks)
            result = replace(result, removed=planned.removed)
        if due.exists():
            result = replace(result, freed_bytes=_compact(context, repository, callbacks))
            due.unlink()
    except RepositoryAppendOnlyError as error:
        due.unlink(missing_ok=True)
        return replace(result, warnings=(f"nothing was freed: {error.message}. {error.hint}",))
    except Exception as raised:  # one repository of several
        failure = failure_of(repository, raised, callbacks, "pruning")
        return replace(result, removed=_gone(context, repository, planned, callbacks), freed_bytes=None, error=failure)
    return result


def _remove(context: OperationContext, repository: Repository, planned: RepositoryPrune, callbacks: Callbacks) -> None:
    call = context.call(repository, callbacks)
    ids = [each.engine_id for each in planned.removed]
    text = f"{len(ids)} snapshot{'s' if len(ids) > 1 else ''}"
    callbacks.progress(Progress(step=Step.REMOVE, repository=repository.name, text=text))
    retry_while_locked(context, lambda: repository.engine.remove(ids, call), callbacks)
    _require_gone(context, repository, ids, callbacks)


def _compact(context: OperationContext, repository: Repository, callbacks: Callbacks) -> int | None:
    call = context.call(repository, callbacks)
    callbacks.progress(Progress(step=Step.COMPACT, repository=repository.name))
    return retry_while_locked(context, lambda: repository.engine.compact(call), callbacks)


def _gone(
    context: OperationContext, repository: Repository, planned: RepositoryPrune, callbacks: Callbacks
) -> tuple[Snapshot, ...]:
    """What is no longer listed after a failure; nothing where nobody can tell."""
    try:
        left = {each.engine_id for each in listed(context, repository, callbacks)}
    except Exception:  # of the same repository, whose first error is its result
        return ()
    return tuple(each for each in planned.removed if each.engine_id not in left)


def _require_gone(context: OperationContext, repository: Repository, ids: Sequence[str], callbacks: Callbacks) -> None:
    """Look again: an append-only server may have said yes and done nothing."""
    left = {each.engine_id for each in listed(context, repository, callbacks)} & set(ids)
    if left:
        raise EngineError(
            f"{len(left)} of {len(ids)} snapshots are still in repository {repository.name!r} after their removal",
            engine=repository.engine.name,
            hint="Is it append-only? Then prune from where deleting is allowed.",
        )
