"""The real application in a virtual environment of its own, below `.cache/`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.12.4"
TORCH = "2.13.0"  # first, and of this version: whatever pip would choose itself brings gigabytes for graphics cards
VENV = ROOT / ".cache" / "e2e" / "venv"


def installed() -> Path:
    """The virtual environment, made if it is not there yet: 3 GB, five minutes."""
    done = VENV / f"installed-{VERSION}"
    if done.exists():
        return VENV
    print(f"installing Open WebUI {VERSION} into {VENV}; this takes a while", flush=True)
    subprocess.run([python_for_it(), "-m", "venv", "--clear", VENV], check=True)
    for requirement in (f"torch=={TORCH}", f"open-webui=={VERSION}"):
        pip = [str(VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", requirement]
        subprocess.run(["nice", "-n", "10", *pip], check=True)
    done.touch()
    return VENV


def python_for_it() -> str:
    """It wants 3.11 or 3.12, and exactly that."""
    named = os.environ.get("OWUI_VAULT_E2E_PYTHON")
    if named or sys.version_info[:2] in ((3, 11), (3, 12)):
        return named or sys.executable
    raise RuntimeError("Open WebUI needs Python 3.11 or 3.12: name one in OWUI_VAULT_E2E_PYTHON")


def commit() -> str:
    """Which state of this project was tried."""
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"
