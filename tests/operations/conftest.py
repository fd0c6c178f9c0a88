"""Engines for tests that must hold on every one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import BorgEngine, Engine, ResticEngine, Secret
from owui_vault.ports import SecretSource
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.borg_templates import WITHOUT_SELFTEST, PlaceBorg
from tests.operations.house import Houses
from tests.restic_templates import PlaceRestic

MakeEngine = Callable[[Path], Engine]
PASSPHRASE = "a passphrase"

_REAL = pytest.mark.slow
# What each engine does is the conformance suites' business: what is done twice here waits for the longer runs.
_OTHER = [_REAL, pytest.mark.thorough]


@pytest.fixture(
    scope="module",
    params=[
        "directory",
        pytest.param("own_restic", marks=_REAL),
        pytest.param("newest_restic", marks=[_REAL, pytest.mark.rare]),
        pytest.param("own_borg", marks=_OTHER),
    ],
)
def make_engine(request: pytest.FixtureRequest, place_restic: PlaceRestic, place_borg: PlaceBorg) -> MakeEngine:
    """`make_engine(folder)`: an engine on a repository in that folder; each kind in turn."""
    if request.param == "directory":
        return lambda folder: DirectoryEngine(folder, Secret(PASSPHRASE))
    program = str(request.getfixturevalue(request.param))
    borg = "borg" in request.param
    place, kind = (place_borg, BorgEngine) if borg else (place_restic, ResticEngine)
    placed: set[Path] = set()

    def make(folder: Path) -> Engine:
        if folder not in placed and not os.path.lexists(folder):  # a second engine finds what the first one left
            place(folder, program, PASSPHRASE)
        placed.add(folder)
        quick: dict[str, SecretSource | str] = dict(WITHOUT_SELFTEST) if borg else {}
        return kind(str(folder), Secret(PASSPHRASE), program=program, environment=quick)

    return make


@pytest.fixture(scope="session")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Houses:
    """`houses.one()`: a `House` that nobody has lived in, in no time."""
    return Houses(tmp_path_factory.mktemp("houses"))
