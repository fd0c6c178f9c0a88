"""Reports of what was done to the live instance, in plain English."""

from __future__ import annotations

from collections.abc import Sequence

from owui_vault.cli.render.phrases import duration, local, size
from owui_vault.cli.render.reports import warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import DiscardReport, ReplacementPlan, ReplacementReport, SetAside, UndoReport


def _room(plan: ReplacementPlan) -> str:
    own = sum(each.size_bytes for each in plan.manifest.components if each.name in plan.components)
    needs = f"{size(own)} and a reserve of {size(plan.needed_bytes - own)}"
    return f"{needs}; {size(plan.free_bytes)} are free; previous data are kept until `discard`"


def planned(screen: Screen, plan: ReplacementPlan) -> None:
    """What an in-place restore would do."""
    screen.line(f"Restoring snapshot {plan.snapshot.id} of {local(plan.snapshot.instant)} in place", style="bold")
    screen.pairs([
        ("data directory", str(plan.data_dir)),
        ("exchanged", ", ".join(plan.parts)),
        ("stays", ", ".join(plan.stays)),
        ("stopped meanwhile", plan.stops or "nothing: it is not running"),
        ("needs", _room(plan)),
    ])  # fmt: skip
    if plan.unknown_version:
        screen.line(f"  not known: {plan.unknown_version}", style="yellow")
    warnings(screen, plan.warnings)


def replaced(screen: Screen, report: ReplacementReport) -> None:
    """What an in-place restore did."""
    plan = report.plan
    screen.line(
        f"snapshot {plan.snapshot.id} of {local(plan.snapshot.instant)} is in place in {plan.data_dir}", style="green"
    )
    screen.pairs([
        ("application", report.health),
        ("outage", duration(report.outage) if report.outage else ""),
        ("set aside", f"{report.aside.path} ({size(report.aside.size_bytes)})"),
        ("switched off", f"what runs by itself ({report.held} holds what it was)" if report.held else ""),
        ("took", duration(report.took)),
    ])  # fmt: skip
    screen.line("  `undo` restores the previous data, `discard` deletes them for good.")
    warnings(screen, tuple(each for each in report.warnings if each not in plan.warnings))  # those came before


def undoing(screen: Screen, kept: Sequence[SetAside]) -> None:
    """What `undo` would do."""
    screen.line("Restoring the previous data", style="bold")
    screen.pairs([
        ("from before", f"snapshot {kept[0].snapshot} was restored, {local(kept[0].since)}"),
        ("they are in", f"{kept[0].path} ({size(kept[0].size_bytes)})"),
        ("the present ones", "are kept until `discard`"),
    ])  # fmt: skip


def discarding(screen: Screen, kept: Sequence[SetAside]) -> None:
    """What `discard` would delete."""
    screen.line("Deleting the previous data, for good", style="bold")
    screen.items(f"of {local(each.since)}: {each.path} ({size(each.size_bytes)})" for each in kept)


def undone(screen: Screen, report: UndoReport) -> None:
    """What `undo` did."""
    screen.line(f"data from before {local(report.restored.since)} restored", style="green")
    screen.pairs([("application", report.health), ("outage", duration(report.outage) if report.outage else "")])
    screen.line("  The data they replaced are kept; `discard` deletes them for good.")
    warnings(screen, report.warnings)


def discarded(screen: Screen, report: DiscardReport) -> None:
    """What `discard` did."""
    if not report.discarded:
        screen.line("there are no previous data")
    for each in report.discarded:
        screen.line(f"deleted the previous data of {local(each.since)} ({size(each.size_bytes)})")
