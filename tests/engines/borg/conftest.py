"""A borg engine beside the bare program, on one repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.model import Secret
from owui_vault.ports import SecretSource
from owui_vault.testing.engines.bench import PASSPHRASE, Bench
from tests.borg_templates import WITHOUT_SELFTEST, PlaceBorg


@dataclass(frozen=True, slots=True, kw_only=True)
class BorgBench(Bench):
    """Besides the engine: `bare`, the program as another tool or a person runs it."""

    program: str

    def bare(self, *arguments: str | bytes, cwd: Path | None = None, check: bool = True) -> str:
        """Run borg with caches of its own, and answer its stdout."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "BORG_REPO": str(self.repository),
            "BORG_PASSPHRASE": PASSPHRASE,
            "BORG_BASE_DIR": str(self.folder / "bare"),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            **WITHOUT_SELFTEST,
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
        }
        argv = [self.program, *arguments]
        done = subprocess.run(argv, env=environment, cwd=cwd or self.folder, capture_output=True, check=False)
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def with_program(self, text: str) -> Bench:
        """The same, but borg is started by a script: `{borg}` is the program."""
        script = self.folder / "borg-by-script"
        script.write_text("#!/bin/sh\n" + text.replace("{borg}", self.program))
        script.chmod(0o755)
        engine = BorgEngine(str(self.repository), Secret(PASSPHRASE), program=str(script))
        return Bench(engine=engine, folder=self.folder)

    def other(self, passphrase: SecretSource | None = None, **options: Any) -> BorgEngine:
        """Another engine on the same repository."""
        source = passphrase or Secret(PASSPHRASE)
        return BorgEngine(str(self.repository), source, program=self.program, **options)

    def locks(self) -> list[str]:
        """What is left of locks in the repository."""
        return sorted(path.name for path in self.repository.glob("lock*"))


Benches = Callable[[Path], BorgBench]


@pytest.fixture
def empty(tmp_path: Path, borg_program: Path) -> BorgBench:
    """No repository yet."""
    engine = BorgEngine(
        str(tmp_path / "repository"), Secret(PASSPHRASE), program=str(borg_program), environment=WITHOUT_SELFTEST
    )
    return BorgBench(engine=engine, folder=tmp_path, program=str(borg_program))


@pytest.fixture
def bench(empty: BorgBench, place_borg: PlaceBorg) -> BorgBench:
    """An initialized repository."""
    place_borg(empty.repository, empty.program, PASSPHRASE)
    return empty
