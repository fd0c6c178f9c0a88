"""Engines for tests that must hold on every one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import BorgEngine, Engine, ResticEngine, Secret
from owui_vault.testing.directory_engine import DirectoryEngine

MakeEngine = Callable[[Path], Engine]
PASSPHRASE = "a passphrase"

_REAL = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[
        "directory",
        pytest.param("own_restic", marks=_REAL),
        pytest.param("newest_restic", marks=_REAL),
        pytest.param("own_borg", marks=_REAL),
    ],
)
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    """`make_engine(folder)`: an engine on a repository in that folder; each kind in turn."""
    if request.param == "directory":
        return lambda folder: DirectoryEngine(folder, Secret(PASSPHRASE))
    program = str(request.getfixturevalue(request.param))
    if "restic" in request.param:
        return lambda folder: ResticEngine(str(folder), Secret(PASSPHRASE), program=program)
    return lambda folder: BorgEngine(str(folder), Secret(PASSPHRASE), program=program)
