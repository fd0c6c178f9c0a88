"""How a rescue is started: the same way by the guardian, by `recover` and by hand."""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE_ROOT = Path(__file__).parents[2]
_MODULE = ("-m", "owui_vault.quiesce.rescue")

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RESCUE = (sys.executable, *_MODULE)
RESCUE_ENVIRONMENT = {
    "PATH": SYSTEM_PATH,
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": str(_PACKAGE_ROOT),  # also where the package is not installed but lies in a checkout
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONSAFEPATH": "1",
}


def today(command: tuple[str, ...]) -> tuple[str, ...]:
    """A rescue written down by an earlier run, for this run's interpreter: an upgrade may have removed the old one."""
    return (*RESCUE, *command[3:]) if command[1:3] == _MODULE else command
