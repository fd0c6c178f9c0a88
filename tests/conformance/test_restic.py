"""restic passes what every engine passes."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.model import Secret
from owui_vault.ports import Engine
from owui_vault.testing.engines.suite import PASSPHRASE, Bench, EngineSuite
from tests.restic_templates import PlaceRestic

NOBODY_LISTENS = "rest:http://127.0.0.1:9/alice/"


@pytest.mark.slow
@pytest.mark.always
class TestRestic(EngineSuite):
    @pytest.fixture(autouse=True)
    def _which(self, restic_program: Path, place_restic: PlaceRestic) -> None:
        self.program = restic_program
        self.place_restic = place_restic
        told = subprocess.run([restic_program, "version"], capture_output=True, text=True, check=True).stdout
        self.keeps_holes = not told.startswith("restic 0.14.")

    @pytest.fixture
    def moments(self, soak: Callable[[int], int], seed: random.Random) -> Sequence[float]:
        return sorted(seed.uniform(0.2, 1.0) for _ in range(soak(20)))

    def make(self, folder: Path, passphrase: str = PASSPHRASE) -> Engine:
        return ResticEngine(str(folder / "repository"), Secret(passphrase), program=str(self.program))

    def prepare(self, bench: Bench) -> None:
        self.place_restic(bench.repository, self.program, PASSPHRASE)

    def store_foreign(self, bench: Bench, tree: Path) -> None:
        argv = [str(self.program), "-r", str(bench.repository), "backup", "--tag", "owui-vault,id=00000001", "."]
        environment = {"RESTIC_PASSWORD": PASSPHRASE, "HOME": str(bench.folder), "PATH": os.environ["PATH"]}
        subprocess.run(argv, cwd=tree, env=environment, check=True, capture_output=True)

    def on_dead_host(self, folder: Path) -> Engine:
        return ResticEngine(NOBODY_LISTENS, Secret(PASSPHRASE), program=str(self.program))
