"""Plans: from the file to values, and what in them does not go with the rest of the file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from owui_vault.config import document as parts
from owui_vault.config.errors import ConfigProblem, nearest
from owui_vault.model import Quiesce
from owui_vault.model.plans import CronSchedule, IntervalSchedule, Plan


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
        if not whole.repositories:
            yield ConfigProblem(("plans", name), "has no repository to work with; add one under 'repositories'")
        instance = whole.instance
        if plan.snapshot and not (instance and (instance.data_dir or instance.container)):
            said = "takes a snapshot, and no instance is configured; set instance.container, or 'snapshot: false' here"
            yield ConfigProblem(("plans", name), said)
        written_out = "prune" in plan.model_fields_set and plan.prune
        about = plan.repositories or tuple(whole.repositories)
        known = [whole.repositories[each] for each in about if each in whole.repositories]
        if known and (written_out or not (plan.snapshot or plan.verify is not None)):
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
