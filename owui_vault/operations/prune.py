"""Pruning: a plan that can be looked at, then exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from owui_vault.context.container_access import located
from owui_vault.context.context import Parts, Repository, Watch
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
from owui_vault.operations.notifications import tell_failed
from owui_vault.repositories.identity import require_current, require_distinct
from owui_vault.repositories.listing import Surveyed, demand_fingerprint, failure_of, listed, patiently
from owui_vault.repositories.retention import decide
from owui_vault.repositories.verification_log import learn_ledger
from owui_vault.system.lock import directory_lock

_DUE = "compact-due"  # in a repository's folder: snapshots were removed, and their space was not freed yet


def plan_prune(parts: Parts, policy: RetentionPolicy | None, names: Sequence[str] | str | None) -> PrunePlan:
    """What pruning would remove and why the rest stays. Reads only.

    Raises ConfigError for an empty policy, and the repository's own error when one does not answer: a plan is whole or
    there is none.
    """
    fingerprint = _fingerprint(parts)
    planned = tuple(_plan_one(parts, each, policy or each.keep, fingerprint) for each in parts.select(names))
    require_distinct(parts)
    return PrunePlan(repositories=planned)


def _fingerprint(parts: Parts) -> str | None:
    """Whose series this machine may prune; None where no instance is configured, or none is there to ask."""
    if parts.instance is None:
        return None
    try:
        return current_fingerprint(located(parts))
    except InstanceError:
        return None


def _plan_one(
    parts: Parts, repository: Repository, policy: RetentionPolicy, fingerprint: str | None
) -> RepositoryPrune:
    if policy.is_empty:
        raise ConfigError(
            f"repository {repository.name!r} has no retention policy",
            hint=f"Set repositories.{repository.name}.keep, for example `keep: {{last: 3, daily: 7, weekly: 4}}`, or"
            " name those that are to be pruned.",
        )
    surveyed = Surveyed(repository=repository, snapshots=listed(parts, repository))
    require_current(parts, repository, surveyed.snapshots)
    demand_fingerprint(parts, fingerprint, [surveyed])
    if learn_ledger(parts, surveyed, Watch()):  # what another machine has verified is not removed by this one
        surveyed = Surveyed(repository=repository, snapshots=listed(parts, repository))
    instance = parts.series()
    kept, removed = decide(policy, surveyed.series(instance))
    return RepositoryPrune(repository=repository.name, instance=instance, policy=policy, kept=kept, removed=removed)


def prune(parts: Parts, plan: PrunePlan, watch: Watch) -> PruneReport:
    """Carry out a plan.

    Every repository is looked at again before the first snapshot is removed. Raises StalePlanError, with nothing
    removed, when one changed since the plan was made, or the policy now says something else about it. Each is looked at
    once more at its turn: hours may have passed in the one before it. What changed by then is its result.
    """
    started = parts.clock.monotonic()
    require_distinct(parts, watch=watch)
    if len(plan.repositories) > 1:
        for each in plan.repositories:
            _require_unchanged(parts, each, watch)
    results = tuple(_prune_one(parts, each, watch) for each in plan.repositories)
    took = timedelta(seconds=parts.clock.monotonic() - started)
    report = PruneReport(plan=plan, repositories=results, took=took)
    errors = [result.error for result in results if result.error and not result.removed]
    if errors and len(errors) == len(results):
        errors[0].report = report
        raise errors[0]
    tell_failed(parts, "prune", results)
    return report


def _require_unchanged(parts: Parts, planned: RepositoryPrune, watch: Watch) -> None:
    (repository,) = parts.select(planned.repository)
    surveyed = Surveyed(repository=repository, snapshots=listed(parts, repository, watch))
    require_current(parts, repository, surveyed.snapshots)
    now = surveyed.series(planned.instance)
    same = _identities(now) == _identities([*(kept.snapshot for kept in planned.kept), *planned.removed])
    # The policy is asked again: a verification since then may protect another snapshot.
    if not same or _identities(decide(planned.policy, now)[1]) != _identities(planned.removed):
        raise StalePlanError(
            f"repository {planned.repository!r} changed since the plan was made", hint="Make a new plan."
        )


def _identities(snapshots: Sequence[Snapshot]) -> set[tuple[str, str]]:
    return {(each.engine_id, each.outcome.value) for each in snapshots}


def _prune_one(parts: Parts, planned: RepositoryPrune, watch: Watch) -> PruneResult:
    (repository,) = parts.select(planned.repository)
    folder = parts.call(repository).folder
    try:
        with directory_lock(
            folder,
            wait_seconds=parts.limits.lock_wait_seconds,
            clock=parts.clock,
            what=repository.name,
            cancel=watch.cancel,
        ):
            _require_unchanged(parts, planned, watch)
            return _pruned(parts, repository, planned, watch)
    except Exception as raised:  # one repository of several
        return PruneResult(repository=repository.name, error=failure_of(repository, raised, watch, "pruning"))


def _pruned(parts: Parts, repository: Repository, planned: RepositoryPrune, watch: Watch) -> PruneResult:
    """Remove, then compact; also when an earlier prune removed something and did not come to compacting."""
    due = parts.call(repository).folder / _DUE
    result = PruneResult(repository=repository.name, freed_bytes=0)
    try:
        if planned.removed:
            due.touch(mode=0o600)
            _remove(parts, repository, planned, watch)
            result = replace(result, removed=planned.removed)
        if due.exists():
            result = replace(result, freed_bytes=_compact(parts, repository, watch))
            due.unlink()
    except RepositoryAppendOnlyError as error:
        due.unlink(missing_ok=True)
        return replace(result, warnings=(f"nothing was freed: {error.message}. {error.hint}",))
    except Exception as raised:  # one repository of several
        failure = failure_of(repository, raised, watch, "pruning")
        return replace(result, removed=_gone(parts, repository, planned, watch), freed_bytes=None, error=failure)
    return result


def _remove(parts: Parts, repository: Repository, planned: RepositoryPrune, watch: Watch) -> None:
    call = parts.call(repository, watch)
    ids = [each.engine_id for each in planned.removed]
    text = f"{len(ids)} snapshot{'s' if len(ids) > 1 else ''}"
    watch.progress(Progress(step=Step.REMOVE, repository=repository.name, text=text))
    patiently(parts, lambda: repository.engine.remove(ids, call), watch)
    _demand_gone(parts, repository, ids, watch)


def _compact(parts: Parts, repository: Repository, watch: Watch) -> int | None:
    call = parts.call(repository, watch)
    watch.progress(Progress(step=Step.COMPACT, repository=repository.name))
    return patiently(parts, lambda: repository.engine.compact(call), watch)


def _gone(parts: Parts, repository: Repository, planned: RepositoryPrune, watch: Watch) -> tuple[Snapshot, ...]:
    """What is no longer listed after a failure; nothing where nobody can tell."""
    try:
        left = {each.engine_id for each in listed(parts, repository, watch)}
    except Exception:  # of the same repository, whose first error is its result
        return ()
    return tuple(each for each in planned.removed if each.engine_id not in left)


def _demand_gone(parts: Parts, repository: Repository, ids: Sequence[str], watch: Watch) -> None:
    """Look again: an append-only server may have said yes and done nothing."""
    left = {each.engine_id for each in listed(parts, repository, watch)} & set(ids)
    if left:
        raise EngineError(
            f"{len(left)} of {len(ids)} snapshots are still in repository {repository.name!r} after their removal",
            engine=repository.engine.name,
            hint="Is it append-only? Then prune from a place that may delete.",
        )
