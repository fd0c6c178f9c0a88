"""`make test`, `make test-all` and `make soak` share the tests out, and none of them forgives a failure."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.pages import ROOT
from tests.runs import marker_of

MATRIX = {"restic_program": ["bookworm", "trixie", "sid"], "borg_program": ["bookworm", "pypi"]}


@pytest.mark.parametrize(
    ("markers", "fixtures", "chosen", "left_to"),
    [
        ({"root"}, {"tmp_path", "own_restic"}, {}, None),
        ({"slow", "root"}, {"tmp_path", "own_restic"}, {}, "thorough"),
        ({"slow", "always"}, {"own_restic"}, {}, None),
        ({"slow", "soak"}, {"soak"}, {}, None),
        ({"slow"}, {"restic_program"}, {"restic_program": "bookworm"}, "thorough"),
        ({"slow", "always"}, {"restic_program"}, {"restic_program": "bookworm"}, None),
        ({"slow", "always"}, {"restic_program"}, {"restic_program": "trixie"}, "rare"),
        ({"slow", "always", "thorough"}, {"restic_program"}, {"restic_program": "bookworm"}, "thorough"),
        ({"slow", "thorough"}, {"soak"}, {}, "thorough"),
        ({"slow"}, {"restic_program"}, {"restic_program": "sid"}, "thorough"),
        ({"slow"}, {"restic_program"}, {"restic_program": "trixie"}, "rare"),
        ({"slow", "always"}, {"borg_program"}, {"borg_program": "pypi"}, "thorough"),
        ({"slow"}, {"newest_restic"}, {}, "thorough"),
        ({"slow"}, {"mounted"}, {}, "thorough"),
        ({"docker"}, {"tmp_path"}, {}, "thorough"),
        ({"alone"}, {"tmp_path"}, {}, "thorough"),
        ({"thorough"}, {"restic_program"}, {"restic_program": "trixie"}, "rare"),
        ({"rare"}, {"tmp_path"}, {}, "rare"),
        ({"doubled"}, {"restic_program"}, {"restic_program": "bookworm"}, None),
        ({"doubled"}, {"borg_program"}, {"borg_program": "pypi"}, "rare"),
        ({"doubled"}, {"make_engine"}, {"make_engine": "own_restic"}, None),
        ({"doubled", "slow"}, {"make_engine"}, {"make_engine": "own_restic"}, "thorough"),
        ({"doubled", "thorough"}, {"make_engine"}, {"make_engine": "own_borg"}, "rare"),
        ({"thorough"}, {"make_engine"}, {"make_engine": "own_borg"}, "thorough"),
    ],
)
def test_each_test_is_in_one_run(
    markers: set[str], fixtures: set[str], chosen: dict[str, str], left_to: str | None
) -> None:
    assert marker_of(markers, fixtures, MATRIX, chosen) == left_to


def test_a_machine_with_the_newest_engine_of_its_own_leaves_nothing_out() -> None:
    assert (
        marker_of({"slow", "always"}, {"restic_program"}, {"restic_program": ["sid"]}, {"restic_program": "sid"})
        is None
    )


def test_make_leaves_no_test_out_of_all_three_runs() -> None:
    """`make test` and `make test-all` by their expressions, and `make coverage`, a part of `make soak`, the rest."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    chosen = re.findall(r'\$\(pytest\) -m "([^"]*)"', text)
    assert chosen == ["not thorough and not rare", "(thorough or soak) and not rare and not alone", "not alone"]
    assert re.search(r"pytest [-a-z ]*-m alone", text)
    assert re.search(r"--keep-going soak-kills soak-counts soak-faults coverage$", text, re.MULTILINE)


@pytest.mark.parametrize("alone", ["passes", "fails"])
def test_a_failure_stays_one_however_the_second_look_ends(tmp_path: Path, alone: str) -> None:
    for folder in ("tools", ".venv/bin", ".pytest_cache/v/cache"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy2(ROOT / "tools" / "second-look", tmp_path / "tools")
    (tmp_path / ".pytest_cache/v/cache/lastfailed").write_text('{"tests/test_x.py::test_races": true}')
    (tmp_path / ".venv/bin/python").symlink_to(str(shutil.which("python3")))
    program = tmp_path / ".venv/bin/pytest"
    program.write_text(f"#!/bin/sh\necho looked\nexit {0 if alone == 'passes' else 1}\n")
    program.chmod(0o755)
    argv = [str(tmp_path / "tools/second-look"), "1"]
    settings = {"PATH": os.environ["PATH"]}
    done = subprocess.run(argv, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "looked" in done.stdout
    assert "tests/test_x.py::test_races" in done.stdout
    assert ("passed alone; the run has failed" in done.stdout) is (alone == "passes")
    busy = {**settings, "SECOND_LOOK": "decides"}
    done = subprocess.run(argv, env=busy, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if alone == "passes" else 1)
    assert "tests/test_x.py::test_races" in done.stdout
