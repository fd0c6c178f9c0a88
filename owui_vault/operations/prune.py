"""Pruning: a plan to review, then exactly that plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.errors import (
    ConfigError,
    EngineError,
    InstanceError,
    RepositoryAppendOnlyError,
    StalePlanError,
)
from owui_vault.model import (
    Collapse,
    Kept,
    LedgerEntry,
    PrunePlan,
    PruneReport,
    PruneResult,
    RepositoryPrune,
    RetentionPolicy,
    Snapshot,
    Step,
)
from owui_vault.model.manifest import ACCEPTED_COLLAPSE
from owui_vault.operations.notifications import notify, notify_failures
from owui_vault.repositories.collapse import find_collapse, in_words
from owui_vault.repositories.identity import require_current, require_distinct
from owui_vault.repositories.listing import RepositoryListing, require_one_answer, require_own_series, survey
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.repositories.retention import age_order, decide
from owui_vault.repositories.selectors import judged, once_each
from owui_vault.repositories.verification_log import learn_ledger, learn_ledger_of_all

_DUE = "compact-due"  # in a repository's folder: snapshots were removed, and their space was not freed yet


def plan_prune(
    context: OperationContext, policy: RetentionPolicy | None, names: Sequence[str] | str | None
) -> PrunePlan:
    """What pruning would remove and why the rest stays. Reads only.

    Raises ConfigError for an empty policy. A repository that does not answer keeps the others from nothing, and is
    named in the plan; where none answers, the error is raised. The other repositories are looked at, too: what has
    collapsed in one is pruned in none.
    """
    selected = [each for each in context.select(names) if not each.append_only]
    spared = tuple(each.name for each in context.select(names) if each.append_only)
    if not selected:
        return PrunePlan(repositories=(), append_only=spared)
    for repository in selected:
        _require_policy(repository, policy or repository.keep)
    fingerprint = _fingerprint(context)
    everywhere = survey(context, context.select(None))
    surveyed = [each for each in everywhere if each.client.repository in selected]
    silent = require_one_answer(surveyed)
    planned = tuple(
        _plan_one(context, each, policy or each.client.repository.keep, fingerprint)
        for each in surveyed
        if not each.error
    )
    require_distinct(context)
    collapse = _collapse(context, everywhere)
    if collapse:
        planned = tuple(_as_it_is(each) for each in planned)
    return PrunePlan(repositories=planned, unanswered=silent, append_only=spared, collapse=collapse)


def _collapse(context: OperationContext, everywhere: Sequence[RepositoryListing]) -> Collapse | None:
    """Whether the series has collapsed, by what all repositories have of it and what was accepted on any machine."""
    series = context.series()
    answered = [each for each in everywhere if not each.error]
    held = [one for each in answered for one in each.series(series)]
    found = find_collapse(context.collapse, held, context.state.ledger(series))
    if found is None:
        return None
    learn_ledger_of_all(context, answered)
    return find_collapse(context.collapse, held, context.state.ledger(series))


def _as_it_is(planned: RepositoryPrune) -> RepositoryPrune:
    spared = [Kept(snapshot=each, reasons=("collapse: nothing is removed",)) for each in planned.removed]
    kept = sorted([*planned.kept, *spared], key=lambda each: age_order(each.snapshot), reverse=True)
    return replace(planned, kept=tuple(kept), removed=())


def accept_collapse(context: OperationContext, collapse: Collapse) -> None:
    """Note that this snapshot is as it should be; later manifests say so to every machine."""
    entry = LedgerEntry(
        snapshot=collapse.snapshot,
        repository="",
        kind=ACCEPTED_COLLAPSE,
        at=context.clock.now(),
        ok=True,
        detail="; ".join(collapse.reasons),
        sequence=collapse.sequence,
    )
    context.state.add_to_ledger(context.series(), entry)


def _fingerprint(context: OperationContext) -> str | None:
    """Whose series this machine may prune; None where no instance is configured, or none is there to ask."""
    if context.instance is None:
        return None
    try:
        return context.with_container().fingerprint()
    except InstanceError:
        return None


def _require_policy(repository: Repository, policy: RetentionPolicy) -> None:
    if policy.is_empty:
        raise ConfigError(
            f"repository {repository.name!r} has no retention policy",
            hint=f"Set repositories.{repository.name}.keep, for example `keep: {{last: 3, daily: 7, weekly: 4}}`, or"
            " name the ones to prune.",
        )


def _plan_one(
    context: OperationContext, surveyed: RepositoryListing, policy: RetentionPolicy, fingerprint: str | None
) -> RepositoryPrune:
    client = surveyed.client
    require_current(client, surveyed.snapshots)
    require_own_series(context, fingerprint, [surveyed])
    if learn_ledger(context, surveyed):  # what another machine has verified is not removed by this one
        surveyed = replace(surveyed, snapshots=client.list())
    instance = context.series()
    kept, removed = decide(policy, surveyed.series(instance))
    return RepositoryPrune(repository=client.name, instance=instance, policy=policy, kept=kept, removed=removed)


def prune(context: OperationContext, plan: PrunePlan, callbacks: Callbacks) -> PruneReport:
    """Carry out a plan.

    Under a collapse nothing is done, and that is told. Otherwise every repository is looked at again before the first
    snapshot is removed. Raises StalePlanError, with nothing removed, when one changed since the plan was made, or the
    policy now says something else about it. Each is looked at once more at its turn: hours may have passed in the one
    before it. What changed by then is its result.
    """
    started = context.clock.monotonic()
    if plan.collapse:
        notify(context, "prune", "failure", in_words(plan.collapse))
        untouched = tuple(PruneResult(repository=each.repository) for each in plan.repositories)
        return PruneReport(plan=plan, repositories=untouched, took=timedelta())
    require_distinct(context, callbacks=callbacks)
    turns = [
        (RepositoryClient(context, repository, callbacks), each)
        for each in plan.repositories
        for repository in context.select(each.repository)
    ]
    if len(turns) > 1:
        for client, planned in turns:
            _require_unchanged(client, planned)
    results = tuple(_prune_one(client, planned) for client, planned in turns)
    took = timedelta(seconds=context.clock.monotonic() - started)
    report = PruneReport(plan=plan, repositories=results, took=took)
    errors = [result.error for result in results if result.error and not result.removed]
    if errors and len(errors) == len(results):
        errors[0].report = report
        raise errors[0]
    missed = [each for each in plan.unanswered if not each.excused]
    notify_failures(context, "prune", [*results, *missed])
    return report


def _require_unchanged(client: RepositoryClient, planned: RepositoryPrune) -> None:
    surveyed = RepositoryListing(client=client, snapshots=client.list())
    require_current(client, surveyed.snapshots)
    now = surveyed.series(planned.instance)
    same = _identities(now) == _identities([*(kept.snapshot for kept in planned.kept), *planned.removed])
    # The policy is asked again: a verification since then may protect another snapshot.
    if not same or _identities(decide(planned.policy, now)[1]) != _identities(planned.removed):
        raise StalePlanError(f"repository {client.name!r} changed since the plan was made", hint="Make a new plan.")


def _identities(snapshots: Sequence[Snapshot]) -> set[tuple[str, str]]:
    return {(each.engine_id, each.outcome.value) for each in snapshots}


def _prune_one(client: RepositoryClient, planned: RepositoryPrune) -> PruneResult:
    try:
        with client.locked():
            _require_unchanged(client, planned)
            return _pruned(client, planned)
    except Exception as raised:  # one repository of several
        return PruneResult(repository=client.name, error=client.failure(raised, "pruning"))


def _pruned(client: RepositoryClient, planned: RepositoryPrune) -> PruneResult:
    """Remove, then compact; also when an earlier prune removed something and did not come to compacting."""
    due = client.folder / _DUE
    result = PruneResult(repository=client.name, freed_bytes=0)
    try:
        if planned.removed:
            due.touch(mode=0o600)
            _remove(client, planned.removed)
            result = replace(result, removed=planned.removed)
        if due.exists():
            client.progress(Step.COMPACT)
            result = replace(result, freed_bytes=client.compact())
            due.unlink()
    except RepositoryAppendOnlyError as error:
        due.unlink(missing_ok=True)
        return replace(result, warnings=(f"nothing was freed: {error.message}. {error.hint}",))
    except Exception as raised:  # one repository of several
        failure = client.failure(raised, "pruning")
        return replace(result, removed=_gone(client, planned), freed_bytes=None, error=failure)
    return result


def _remove(client: RepositoryClient, snapshots: Sequence[Snapshot]) -> None:
    """Remove them, and look again: an append-only server may have said yes and done nothing."""
    number = len(once_each(snapshots))
    client.progress(Step.REMOVE, f"{number} snapshot{'s' if number > 1 else ''}")
    # Of an id that is there twice the entry that says COMPLETE goes first: alone, it would be believed.
    doubted = {each.engine_id for each in judged(snapshots) if not each.is_restore_point}
    first = [each for each in snapshots if each.is_restore_point and each.engine_id in doubted]
    for part in (first, [each for each in snapshots if each not in first]):
        if part:
            client.remove(part)
    left = {each.engine_id for each in client.list()} & {each.engine_id for each in snapshots}
    if left:
        raise EngineError(
            f"{len(left)} of {len(snapshots)} snapshots are still in repository {client.name!r} after their removal",
            engine=client.repository.engine.name,
            hint="Is it append-only? Then say `append_only: true` there, and prune from where deleting is allowed.",
        )


def _gone(client: RepositoryClient, planned: RepositoryPrune) -> tuple[Snapshot, ...]:
    """What is no longer listed after a failure; nothing where nobody can tell."""
    try:
        left = {each.engine_id for each in client.list()}
    except Exception:  # of the same repository, whose first error is its result
        return ()
    return tuple(each for each in planned.removed if each.engine_id not in left)
