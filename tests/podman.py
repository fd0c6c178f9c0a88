"""A Podman of the tests' own: its images, containers and socket in one folder, gone with it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Podman:
    """The program with its options, and the address its service answers at."""

    argv: tuple[str, ...]
    address: str

    def run(self, *arguments: str, check: bool = True) -> str:
        """What it prints. Raises AssertionError when it fails and `check` is set."""
        done = subprocess.run([*self.argv, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()


@contextmanager
def podman_service(program: Path, runtime: Path) -> Iterator[Podman]:
    """A service that answers. Its own runtime, crun, refuses machines with old and new control groups side by side."""
    folder = Path(tempfile.mkdtemp(prefix="pod-", dir="/tmp"))  # Podman refuses a runroot of more than 50 characters
    address = f"unix://{folder}/sock"
    places = (f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=overlay")
    engine = Podman((str(program), f"--runtime={runtime}", "--cgroup-manager=cgroupfs", *places), address)
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen([*engine.argv, "system", "service", "--time=0", address], stdout=log, stderr=log)
    try:
        end = time.monotonic() + _SECONDS
        while not (folder / "sock").is_socket():
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        yield engine
    finally:
        engine.run("rm", "--all", "--force", check=False)
        engine.run("rmi", "--all", "--force", check=False)
        service.terminate()
        service.wait(_SECONDS)
        shutil.rmtree(folder)
