"""What `replicate` would do and did, in plain English."""

from __future__ import annotations

from owui_vault.cli.render.phrases import count, duration, local_column, size
from owui_vault.cli.render.reports import failed, warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import CopyWay, ReplicationPlan, ReplicationReport, ReplicationResult, Snapshot

_WAYS = {
    CopyWay.ENGINE: "copied by the engine itself",
    CopyWay.STAGE: "restored on this machine, checked and stored again",
}


def planned(screen: Screen, plan: ReplicationPlan) -> None:
    """What would be copied, with sizes, and the way."""
    for each in plan.repositories:
        if each.error:
            screen.line()
            failed(screen, f"{plan.source} → {each.repository}: NOTHING CAN BE COPIED", each.error)
            continue
        number = len(each.copies)
        way = f": {_WAYS[each.way]}" if number else ": nothing is missing"
        what = f"{count(number, 'snapshot')} would be copied" if number else "up to date"
        screen.heading(f"{plan.source} → {each.repository}: {what}{way}")
        _snapshots(screen, each.copies)
        if each.pins:
            screen.line(f"would be pinned there, too: {', '.join(one.id for one in each.pins)}")
    warnings(screen, plan.warnings)


def _snapshots(screen: Screen, copies: tuple[Snapshot, ...]) -> None:
    if not copies:
        return
    heading, instants = local_column(one.instant for one in copies)
    rows = (
        (one.id, one.instance, instant, one.outcome.value, size(one.size_bytes))
        for one, instant in zip(copies, instants, strict=True)
    )
    screen.table(("id", "series", heading, "outcome", "size"), rows, right=frozenset({"size"}))


def replicated(screen: Screen, report: ReplicationReport) -> None:
    """What was copied, and what could not be."""
    for each in report.repositories:
        _result(screen, report.plan.source, each)
    warnings(
        screen,
        (*report.warnings, *(f"{each.repository}: {text}" for each in report.repositories for text in each.warnings)),
    )


def _result(screen: Screen, source: str, result: ReplicationResult) -> None:
    where = f"{source} → {result.repository}"
    if result.copied or not result.error:
        added = f", {size(result.added_bytes)} added" if result.added_bytes is not None and result.copied else ""
        what = f"{count(len(result.copied), 'snapshot')} copied{added}, {duration(result.took)}"
        screen.line(f"{where}: {what if result.copied else 'nothing is missing'}", style="green")
        _snapshots(screen, result.copied)
    if result.pinned:
        screen.line(f"{where}: pinned there, too: {', '.join(one.id for one in result.pinned)}")
    if result.error:
        failed(screen, f"{where}: FAILED", result.error)
