"""borg 1.2 and 1.4 keep every promise of an engine."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.model import Secret
from owui_vault.ports import Engine
from owui_vault.testing.engines.bench import OTHER_USER
from owui_vault.testing.engines.suite import PASSPHRASE, Bench, EngineSuite
from tests.borg_templates import WITHOUT_SELFTEST, PlaceBorg

Result = TypeVar("Result")


@pytest.mark.slow
@pytest.mark.always
class TestBorg(EngineSuite):
    names_every_byte = False

    @pytest.fixture(autouse=True)
    def _which(self, borg_program: Path, place_borg: PlaceBorg) -> Iterator[None]:
        self.borg = str(borg_program)
        self.place_borg = place_borg
        self.sockets: list[socket.socket] = []
        yield
        for each in self.sockets:
            each.close()

    @pytest.fixture
    def moments(self, soak: Callable[[int], int], seed: random.Random) -> Sequence[float]:
        return sorted(seed.uniform(0.2, 1.0) for _ in range(soak(20)))

    def make(self, folder: Path, passphrase: str = PASSPHRASE) -> Engine:
        location = str(folder / "repository")
        return BorgEngine(location, Secret(passphrase), program=self.borg, environment=WITHOUT_SELFTEST)

    def prepare(self, bench: Bench) -> None:
        self.place_borg(bench.repository, self.borg, PASSPHRASE)

    def store_foreign(self, bench: Bench, tree: Path) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "BORG_PASSPHRASE": PASSPHRASE,
            "BORG_BASE_DIR": str(bench.folder / "elsewhere"),
            "TZ": "UTC",
        }
        argv = [self.borg, "create", "--comment", "somebody else's", f"{bench.repository}::a name {{{{now}}}}", "."]
        subprocess.run(argv, env=environment, cwd=tree, check=True, capture_output=True)

    def damage(self, bench: Bench) -> None:
        victim = max((bench.repository / "data").rglob("*"), key=lambda path: path.stat().st_size)
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 0x55
        victim.write_bytes(data)

    def as_other_user(self, bench: Bench, act: Callable[[], Result]) -> Result:
        if os.geteuid() == 0 and not self._runs_for_others():
            pytest.skip(f"{self.borg} lies where no other user may run it")
        return super().as_other_user(bench, act)

    def _runs_for_others(self) -> bool:
        argv = [self.borg, "--version"]
        try:
            done = subprocess.run(
                argv, user=OTHER_USER, group=OTHER_USER, extra_groups=[], capture_output=True, check=False
            )
        except PermissionError:
            return False
        return done.returncode == 0

    @contextmanager
    def locked(self, bench: Bench) -> Iterator[None]:
        lock = bench.repository / "lock.exclusive"
        lock.mkdir()
        (lock / "elsewhere@123456789.17-0").touch()
        yield
        shutil.rmtree(lock)

    def on_dead_host(self, folder: Path) -> Engine:
        """A host that takes the connection and then says nothing."""
        if shutil.which("ssh") is None:
            pytest.skip("ssh is not installed")
        deaf = socket.create_server(("127.0.0.1", 0))
        self.sockets.append(deaf)
        location = f"ssh://nobody@127.0.0.1:{deaf.getsockname()[1]}/repository"
        return BorgEngine(location, Secret(PASSPHRASE), program=self.borg)
