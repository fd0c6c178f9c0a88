"""The beginning of a command that goes through launcher.py."""

from __future__ import annotations

import os
import shutil
import sys

from owui_vault.engines import launcher


def launching() -> tuple[str, ...]:
    """An interpreter that we may run, isolated from everybody's settings, and the launcher.

    Our own may be out of reach once we have become another user: pyenv keeps it under the first one's HOME.
    """
    own = sys.executable
    if not own or not os.access(own, os.X_OK, effective_ids=True):
        own = shutil.which("python3") or "python3"
    return (own, "-I", "-S", launcher.__file__)
