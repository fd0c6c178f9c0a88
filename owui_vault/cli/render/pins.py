"""What `pin` and `unpin` did, in plain English."""

from __future__ import annotations

from owui_vault.cli.render.phrases import local
from owui_vault.cli.render.reports import failed, warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import PinReport, PinResult


def pinned(screen: Screen, report: PinReport) -> None:
    """Where the snapshot is pinned now, and where it could not be."""
    screen.line(f"snapshot {report.id} of {report.instance}, {local(report.instant)}")
    for each in report.repositories:
        if each.error:
            what = "away, as it may be" if each.excused else "NOT PINNED" if report.pinned else "STILL AS IT WAS"
            failed(screen, f"{each.repository}: {what}", each.error)
        else:
            screen.line(f"{each.repository}: {_fate(each, report.pinned)}")
    warnings(screen, tuple(f"{each.repository}: {text}" for each in report.repositories for text in each.warnings))


def _fate(result: PinResult, pinned: bool) -> str:
    if result.snapshot is None:
        return "does not hold it"
    if not result.changed:
        return "pinned already" if pinned else "was not pinned"
    return "pinned: no retention removes it" if pinned else "not pinned any more: `keep` decides about it"
