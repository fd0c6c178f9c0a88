"""`OWUI_VAULT_E2E=1 pytest tests/e2e`: the short way through. `make e2e` is all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.installation import ROOT


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("steps", ["bare", "replace"])
def test_the_real_application_finds_everything_that_was_acknowledged(tmp_path: Path, steps: str) -> None:
    argv = [sys.executable, "-m", "tests.e2e", "--folder", str(tmp_path / "site"), "--steps", steps]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
