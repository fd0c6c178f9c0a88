"""The benchmarks run, on very little data; what they measure is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_every_table_is_made_from_a_small_instance(own_borg: Path, tmp_path: Path) -> None:
    result = tmp_path / "benchmarks.md"
    argv = [sys.executable, "-m", "tests.benchmarks", "--size", "10MB", "--freeze-sizes", "10MB", "--rounds", "1"]
    argv += ["--cases", "engine", "live", "freeze", "tutorials"]
    argv += ["--engines", "borg", "--programs", str(own_borg.parent), "--work", str(tmp_path), "--write", str(result)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = result.read_text()
    assert text.count("\n## ") == 5
    assert "borg | unchanged |" in text
    assert list(tmp_path.iterdir()) == [result], "it cleans up"
