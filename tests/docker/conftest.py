"""Containers of the application for tests, on named volumes and bind mounts, and vaults for them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from owui_vault import CaptureLimits, Container, Limits, ResticEngine, Secret, Vault
from owui_vault.context.context import Repository
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.docker.begun import has_begun
from tests.quiesce.conftest import image  # noqa: F401  a fixture: pytest looks for it here
from tests.restic_templates import PlaceRestic

# Also how long a guardian waits for a stop to land that was asked for by a run that died.
QUICK = Limits(capture=CaptureLimits(stop_seconds=5.0))
APPLICATION = Path(__file__).parent / "application" / "application.py"


def docker(*arguments: str, check: bool = True) -> str:
    """What docker answers. Never through our own package: the tests look with other eyes."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@dataclass(frozen=True, slots=True)
class Instance:
    """A container of the application, and where its data lie here."""

    name: str
    data: Path

    def told(self) -> dict[str, object]:
        """What `inspect` says of its state."""
        state: dict[str, object] = json.loads(docker("inspect", self.name))[0]["State"]
        return state

    def runs(self) -> bool:
        return self.told()["Status"] == "running"

    def chats(self) -> int:
        """How many it has written, read as it reads itself."""
        code = "import sqlite3; print(sqlite3.connect('/app/backend/data/webui.db').execute('SELECT max(id) FROM chat').fetchone()[0])"  # noqa: E501  one program
        return int(docker("exec", self.name, "python3", "-c", code))

    def writes(self, seconds: float = 15.0) -> bool:
        """Whether something in its data changes."""
        before = self._marks()
        return until(lambda: self._marks() != before, seconds)

    def _marks(self) -> dict[str, int]:
        found = {}
        for path in self.data.glob("webui.db*"):
            with suppress(FileNotFoundError):  # journals come and go
                found[path.name] = path.stat().st_mtime_ns
        return found


def broken_rules(folder: Path) -> str:
    """Which of the application's own rules a copy breaks, checked by itself and with nothing of ours."""
    done = subprocess.run([sys.executable, APPLICATION, "check", folder], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


@pytest.fixture
def run(image: str, tmp_path: Path) -> Iterator[Callable[..., Instance]]:  # noqa: F811  the fixture of that name
    """`run("--env=RATE=50", mount="volume")`: a container that has begun to write."""
    made: list[tuple[str, str]] = []

    def start(*options: str, mount: str = "volume", name: str = "", command: tuple[str, ...] = ()) -> Instance:
        name = name or f"owui-vault-{uuid.uuid4().hex[:8]}"
        volume = f"{name}-data"
        folder = tmp_path / name
        source = {"volume": volume, "bind": str(folder), "anonymous": "", "layer": ""}.get(mount, mount)
        mounted = f"--volume={source}{':' * bool(source)}/app/backend/data"
        made.append((name, volume))
        folder.mkdir()
        where = () if mount == "layer" else (mounted,)
        docker("run", "--detach", "--init", f"--name={name}", *where, *options, image, *command)
        found = json.loads(docker("inspect", name))[0]["Mounts"]  # in no order
        mounts = [each for each in found if each["Destination"] == "/app/backend/data"] or found
        instance = Instance(name, Path(mounts[0]["Source"]) if mounts else folder)
        if mounts and not command:
            assert until(lambda: has_begun(instance.data)), docker("logs", name)
            assert instance.writes()
        return instance

    yield start
    for name, _ in made:  # all of them first: one may have the volume of another
        docker("rm", "--force", "--volumes", name, check=False)
    for _, volume in made:
        docker("volume", "rm", "--force", volume, check=False)


@pytest.fixture
def vault_of(tmp_path: Path, place_restic: PlaceRestic) -> Callable[..., Vault]:
    """`vault_of(instance)`: a vault with one repository, made and empty."""

    def build(instance: Instance, *, engine: str = "directory") -> Vault:
        place = tmp_path / f"{instance.name}-repository"
        if engine == "restic" and not place.exists():
            place_restic(place, "restic", "x")
        kind = DirectoryEngine(place, Secret("x")) if engine == "directory" else ResticEngine(str(place), Secret("x"))
        vault = Vault(
            Container(instance.name),
            [Repository("one", kind)],
            state_dir=tmp_path / f"{instance.name}-state",
            limits=QUICK,
        )
        vault.initialize()
        return vault

    return build
