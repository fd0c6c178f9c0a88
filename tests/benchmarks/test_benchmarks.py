"""The benchmarks run, on very little data; what they measure is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.quiesce.conftest import image  # noqa: F401  a fixture: pytest looks for it here

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.timeout(900)
def test_every_table_is_made_from_a_small_instance(
    own_borg: Path, newest_restic: Path, rest_server: Path, tmp_path: Path
) -> None:
    result = tmp_path / "benchmarks.md"
    argv = [sys.executable, "-m", "tests.benchmarks", "--size", "10MB", "--freeze-sizes", "10MB", "--rounds", "1"]
    argv += ["--cases", "engine", "memory", "destinations", "replicate", "live", "effect", "freeze", "commands"]
    argv += ["tutorials", "--programs", str(newest_restic.parent), str(own_borg.parent), "--engines", "borg"]
    argv += ["--rest-server", str(rest_server), "--work", str(tmp_path), "--write", str(result)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=840, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = result.read_text()
    assert text.count("\n## ") == 10
    assert "borg | unchanged |" in text
    assert "borg | verify |" in text
    assert list(tmp_path.iterdir()) == [result], "it cleans up"


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.root
def test_what_people_see_of_a_container_is_measured(image: str, tmp_path: Path) -> None:  # noqa: F811
    result = tmp_path / "benchmarks.md"
    argv = [
        sys.executable,
        "-m",
        "tests.benchmarks",
        "--size",
        "10MB",
        "--rounds",
        "1",
        "--cases",
        "outage",
        "requests",
    ]
    argv += ["--work", str(tmp_path), "--write", str(result)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = result.read_text()
    assert "`--quiesce stop`" in text
    assert "| live | 2 of 2 |" in text
    assert list(tmp_path.iterdir()) == [result], "it cleans up"
