"""Plans: from the file to values, and what in them does not go with the rest of the file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from owui_vault.config import document as parts
from owui_vault.config.errors import ConfigProblem, KeyPath, nearest
from owui_vault.model import Quiesce
from owui_vault.model.plans import CronSchedule, IntervalSchedule, Plan, PlannedReplication


def plan_of(name: str, part: parts.PlanPart) -> Plan:
    """The plan, every default filled in."""
    schedule = (
        CronSchedule(expression=part.schedule.cron, timezone=part.timezone or "")
        if part.schedule.cron
        else IntervalSchedule(every=part.schedule.every)
    )
    return Plan(
        name=name,
        schedule=schedule,
        repositories=part.repositories,
        snapshot=part.snapshot,
        quiesce=Quiesce(part.quiesce) if part.quiesce else None,
        tags=part.tags,
        replicate=tuple(PlannedReplication(source=each.source, to=each.to) for each in part.replications),
        prune=part.prune,
        verify=part.verify is not None,
        read_data=part.verify or 0.0,
        jitter=part.jitter or timedelta(),
        catch_up=part.catch_up,
        grace=part.grace,
    )


def plan_mistakes(whole: parts.VaultPart) -> Iterator[ConfigProblem]:
    """What a plan asks for and the rest of the file does not have."""
    for name, plan in whole.plans.items():
        for number, repository in enumerate(plan.repositories):
            place = ("plans", name, "repositories", number)
            if repository not in whole.repositories:
                said = f"there is no repository {repository!r}; {nearest(repository, whole.repositories)}"
                yield ConfigProblem(place, said)
            elif repository in plan.repositories[:number]:
                yield ConfigProblem(place, f"names {repository!r} a second time")
        yield from _replication_mistakes(name, plan, whole)
        if not whole.repositories:
            yield ConfigProblem(("plans", name), "has no repository to work with; add one under 'repositories'")
        instance = whole.instance
        if plan.snapshot and not (instance and (instance.data_dir or instance.container)):
            said = "takes a snapshot, and no instance is configured; set instance.container, or 'snapshot: false' here"
            yield ConfigProblem(("plans", name), said)
        written_out = "prune" in plan.model_fields_set and plan.prune
        about = plan.repositories or tuple(
            each for each in whole.repositories if not plan.mirrors or (each in plan.mirrors) is not plan.snapshot
        )
        known = [whole.repositories[each] for each in about if each in whole.repositories]
        if known and (written_out or not (plan.snapshot or plan.replicate or plan.verify is not None)):
            missing = [each for each in about if each in whole.repositories and not whole.repositories[each].keep]
            if missing:
                said = f"prunes {', '.join(missing)}, which has no 'keep'; say there what to keep"
                yield ConfigProblem(("plans", name, "prune") if written_out else ("plans", name), said)


def notification_mistakes(whole: parts.VaultPart) -> Iterator[ConfigProblem]:
    """The plans that notifications name and the rest of the file does not have."""
    for position, told in enumerate(whole.notifications):
        for number, plan_name in enumerate(told.plans):
            if plan_name not in whole.plans:
                said = f"there is no plan {plan_name!r}; {nearest(plan_name, whole.plans)}"
                yield ConfigProblem(("notifications", position, "plans", number), said)


def _replication_mistakes(name: str, plan: parts.PlanPart, whole: parts.VaultPart) -> Iterator[ConfigProblem]:
    several = isinstance(plan.replicate, tuple)
    stored_in = plan.repositories or tuple(whole.repositories)
    for number, each in enumerate(plan.replications):
        place: KeyPath = ("plans", name, "replicate", *((number,) if several else ()))
        for key, repository in (("from", each.source), *(("to", target) for target in each.to)):
            if repository not in whole.repositories:
                said = f"there is no repository {repository!r}; {nearest(repository, whole.repositories)}"
                yield ConfigProblem((*place, key), said)
        if each.source in each.to:
            yield ConfigProblem((*place, "to"), f"names {each.source!r}, which is where it comes from")
        both = [target for target in each.to if plan.snapshot and target in plan.repositories]
        if both:
            said = f"names {both[0]!r}, where this plan stores its snapshots itself"
            yield ConfigProblem((*place, "to"), said)
    if plan.mirrors and plan.snapshot and plan.mirrors.issuperset(stored_in):
        yield ConfigProblem(("plans", name, "replicate"), "leaves no repository to store its snapshots in")
