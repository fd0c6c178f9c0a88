"""Under REQUIRE=all nothing is skipped, in whatever way a test tries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import NOT_ASKED
from tests.pages import ROOT

SKIPPING = """
import pytest

@pytest.mark.skipif(True, reason="no root here")
def test_by_mark(): pass

def test_by_call(): pytest.skip("no file system here")

@pytest.fixture(scope="session")
def machine(): pytest.skip("no engine here")

def test_by_fixture(machine): pass
def test_by_the_same_fixture(machine): pass

def test_by_program(program): program("no-such-program", "the test")

def test_not_asked(): pytest.skip({asked!r})

def test_that_runs(): pass
"""


@pytest.mark.parametrize("required", [True, False])
def test_a_skip_is_a_failure_where_everything_is_required(tmp_path: Path, required: bool) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING.format(asked=min(NOT_ASKED)))
    environment = {key: each for key, each in os.environ.items() if key != "REQUIRE"} | {"PYTHONPATH": str(ROOT)}
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*argv, str(tmp_path)],
        env=environment | ({"REQUIRE": "all"} if required else {}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+?)s?\b(?=,| in )", done.stdout)}
    if required:
        assert done.returncode == 1, done.stdout
        assert counts == {"failed": 2, "passed": 1, "skipped": 1, "error": 3}, done.stdout
        assert "skipped, though REQUIRE=all: no engine here" in done.stdout
    else:
        assert done.returncode == 0, done.stdout
        assert counts == {"passed": 1, "skipped": 6}, done.stdout


def test_what_is_not_asked_is_what_the_suites_say() -> None:
    """Whoever adds to that list has to add the sentence to a suite first."""
    suites = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "owui_vault" / "testing").rglob("*suite*.py"))
    suites += (ROOT / "owui_vault" / "testing" / "engines" / "bench.py").read_text(encoding="utf-8")
    assert {reason for reason in NOT_ASKED if f'pytest.skip("{reason}")' in suites} == NOT_ASKED
