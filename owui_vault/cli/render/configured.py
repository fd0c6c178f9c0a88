"""Configurations on the screen: what is in effect, what to look at twice."""

from __future__ import annotations

from owui_vault.cli.render.reports import warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model.config_reports import ConfigurationReport, EffectiveSettings


def checked(screen: Screen, report: ConfigurationReport) -> None:
    """That it is valid, what is in it, and what deserves a second look."""
    screen.line(f"{report.file} is valid", style="green")
    screen.pairs([
        ("instance", report.instance or "none"),
        ("repositories", ", ".join(report.repositories) or "none"),
        ("plans", ", ".join(report.plans) or "none"),
    ])  # fmt: skip
    warnings(screen, report.warnings)


def effective(screen: Screen, found: EffectiveSettings) -> None:
    """One line for each setting."""
    if found.file:
        screen.line(f"configuration {found.file}", style="bold")
    screen.table(("setting", "value", "from"), [(each.key, each.value, each.source) for each in found.settings])
