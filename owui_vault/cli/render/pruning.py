"""What `prune` would do and did, in plain English."""

from __future__ import annotations

from collections.abc import Callable, Container

from owui_vault.cli.render.phrases import count, local_column, size
from owui_vault.cli.render.reports import failed, unanswered, warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import Collapse, PrunePlan, PruneReport, PruneResult, RepositoryPrune, Snapshot
from owui_vault.repositories.collapse import in_words
from owui_vault.repositories.selectors import once_each


def planned(screen: Screen, plan: PrunePlan) -> None:
    """What stays and why, and what would go."""
    _held_back(screen, plan)
    for each in plan.repositories:
        _plan_of(screen, each, f"{len(once_each(each.removed))} would be removed", lambda _one: "would be removed")
    if plan.unanswered:
        screen.line()
    unanswered(screen, plan.unanswered)


def _plan_of(screen: Screen, planned: RepositoryPrune, what_goes: str, fate: Callable[[Snapshot], str]) -> None:
    kept = {one.snapshot.engine_id: ", ".join(one.reasons) for one in planned.kept}
    fates = [(one, kept[one.engine_id]) for one in once_each([one.snapshot for one in planned.kept])]
    screen.heading(f"{planned.repository}: {len(fates)} kept, {what_goes}")
    fates += [(one, f"– {fate(one)}") for one in once_each(planned.removed)]
    heading, instants = local_column(one.instant for one, _ in fates)
    if fates:
        rows = ((one.id[:12], instant, told) for (one, told), instant in zip(fates, instants, strict=True))
        screen.table(("id", heading, "kept because"), rows)


def pruned(screen: Screen, report: PruneReport) -> None:
    """What `prune` did."""
    _held_back(screen, report.plan)
    gone = {(result.repository, one.engine_id) for result in report.repositories for one in result.removed}
    for each in report.plan.repositories:
        number = len(once_each([one for one in each.removed if (each.repository, one.engine_id) in gone]))
        _plan_of(screen, each, f"{number} removed", _fate(each.repository, gone))
    screen.line()
    for result in report.repositories:
        _freed(screen, result)
    unanswered(screen, report.plan.unanswered)
    warnings(screen, tuple(f"{each.repository}: {text}" for each in report.repositories for text in each.warnings))


def _held_back(screen: Screen, plan: PrunePlan) -> None:
    """What keeps repositories from being pruned at all."""
    for name in plan.append_only:
        screen.line(f"{name} is append-only: it is never pruned from here")
    if plan.collapse:
        collapsed(screen, plan.collapse)


def collapsed(screen: Screen, collapse: Collapse) -> None:
    """What stops retention, and what to do."""
    screen.line(f"COLLAPSE: {in_words(collapse)}", style="bold red")
    screen.line("  hint: Look at it with `show`. Where something is lost, restore an older one.")
    screen.line("  hint: If it is right, say so with `prune --accept-collapse`.")


def _fate(repository: str, gone: Container[tuple[str, str]]) -> Callable[[Snapshot], str]:
    return lambda one: "removed" if (repository, one.engine_id) in gone else "NOT removed"


def _freed(screen: Screen, result: PruneResult) -> None:
    freed = f", {size(result.freed_bytes)} freed" if result.freed_bytes is not None else ""
    if result.removed or not result.error:
        screen.line(f"{result.repository}: {count(len(once_each(result.removed)), 'snapshot')} removed{freed}")
    if result.error:
        failed(screen, f"{result.repository}: FAILED", result.error)
