"""The beginning of a command that goes through launcher.py."""

from __future__ import annotations

from owui_vault.engines.common import launcher
from owui_vault.system.python import interpreter


def launcher_argv() -> tuple[str, ...]:
    """An interpreter that we may run, isolated from everybody's settings, and the launcher."""
    return (interpreter(any_version=True), "-I", "-S", launcher.__file__)
