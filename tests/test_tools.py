"""The tools that measure the package say what they claim to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SAMPLE = '''"""A module.

Of three lines.
"""

import os  # a reason


# a comment
def name() -> str:
    """What it is called."""
    return (
        os.name
    )
'''
#: A snapshot may enter fewer, and then this becomes smaller.
MOST_MODULES_OF_A_SNAPSHOT = 40


def test_code_is_counted_without_comments_and_docstrings(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "module.py").write_text(SAMPLE)
    done = subprocess.run([ROOT / "tools/code_size", tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["5", "1", "modules", "in", "all"]


def test_a_snapshot_does_not_lead_through_more_rooms_than_it_did() -> None:
    command = [sys.executable, str(ROOT / "tools/walk"), "snapshot"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = [line.split()[1] for line in done.stdout.splitlines()]
    assert modules[0] == "vault"
    assert "capture/child_client" in modules
    assert len(modules) <= MOST_MODULES_OF_A_SNAPSHOT, done.stdout
