"""The ways that are compared: ours, the bare engine's, and for scale rsync and tar."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import Program

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a benchmark works. `programs` come before the system's PATH, so that another restic or borg is found."""

    work: Path
    data_dir: Path
    programs: tuple[Path, ...] = ()

    def environment(self, **more: str) -> Mapping[str, str]:
        return {
            "PATH": os.pathsep.join([*map(str, self.programs), os.defpath, "/usr/local/bin"]),
            "HOME": str(self.work),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            **more,
        }

    def find(self, name: str) -> str | None:
        return shutil.which(name, path=self.environment()["PATH"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """The package, from its command line, with one repository and a state directory of its own."""

    place: Place
    engine: str
    extra: str = ""  # more lines of vault.yaml
    name: str = "ours"

    @property
    def folder(self) -> Path:
        return self.place.work / f"{self.name}-{self.engine}"

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def renew(self) -> None:
        """An empty repository and no memory."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / "pass").write_text(PASSPHRASE)
        (self.folder / "pass").chmod(0o600)
        (self.folder / "vault.yaml").write_text(
            f"state_dir: {self.folder / 'state'}\n"
            f"instance: {{data_dir: {self.place.data_dir}}}\n"
            f"repositories:\n  bench:\n    engine: {self.engine}\n    location: {self.repository}\n"
            f"    passphrase: {{file: {self.folder / 'pass'}}}\n    keep: {{last: 3}}\n{self.extra}"
        )
        (self.folder / "vault.yaml").chmod(0o600)
        done = subprocess.run(
            self.run("init").argv, env=dict(self.place.environment()), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"init: {done.stdout}{done.stderr}")

    def run(self, *arguments: str, accepted: tuple[int, ...] = (0,)) -> Program:
        argv = (sys.executable, "-m", "owui_vault", "--config", str(self.folder / "vault.yaml"), *arguments)
        return Program(argv=argv, environment=self.place.environment(), cwd=ROOT, accepted=accepted)

    def snapshot(self) -> Program:
        return self.run("--json", "snapshot")

    def restore(self, target: Path) -> Program:
        program = self.run("--json", "restore", "latest", "--target", str(target))
        return with_empty(program, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """restic or borg themselves, with the options that the package gives them."""

    place: Place
    engine: str

    @property
    def folder(self) -> Path:
        return self.place.work / f"bare-{self.engine}"

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def environment(self) -> Mapping[str, str]:
        if self.engine == "restic":
            return self.place.environment(
                RESTIC_REPOSITORY=str(self.repository),
                RESTIC_PASSWORD=PASSPHRASE,
                RESTIC_CACHE_DIR=str(self.folder / "cache"),
            )
        return self.place.environment(
            BORG_REPO=str(self.repository), BORG_PASSPHRASE=PASSPHRASE, BORG_BASE_DIR=str(self.folder / "base")
        )

    def renew(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        argv = ["restic", "init"] if self.engine == "restic" else ["borg", "init", "-e", "repokey-blake2"]
        subprocess.run(argv, env=dict(self.environment()), capture_output=True, check=True)

    def snapshot(self) -> Program:
        if self.engine == "restic":
            command: tuple[str, ...] = ("restic", "backup", "--json", "--ignore-ctime", "--ignore-inode", ".")
        else:
            options = ("--chunker-params", "fixed,65536", "--files-cache", "mtime,size", "--compression", "zstd,3")
            command = ("borg", "create", *options, "::{utcnow:%Y%m%dT%H%M%S.%f}", ".")
        script = (sys.executable, str(ROOT / "tests/benchmarks/baseline.py"))
        argv = (*script, str(self.place.data_dir), str(self.place.work / "bare-stage"), *command)
        return Program(argv=argv, environment=self.environment())

    def ask(self, command: str) -> Program:
        return Program(argv=(self.engine, command), environment=self.environment())

    def restore(self, target: Path) -> Program:
        if self.engine == "restic":
            argv: tuple[str, ...] = ("restic", "restore", "latest", "--target", str(target))
            return with_empty(Program(argv=argv, environment=self.environment()), target)
        listed = ["borg", "list", "--short", "--last", "1"]
        name = subprocess.run(listed, env=dict(self.environment()), capture_output=True, text=True, check=True)
        argv = ("borg", "extract", f"::{name.stdout.strip()}")
        return with_empty(Program(argv=argv, environment=self.environment(), cwd=target), target)


def with_empty(program: Program, target: Path) -> Program:
    """The same, but `target` is made empty before the clock starts."""

    def prepare() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)

    return Program(
        argv=program.argv,
        environment=program.environment,
        cwd=program.cwd,
        accepted=program.accepted,
        prepare=prepare,
    )


def rsync(place: Place, generation: int) -> Program:
    """What tutorials do: a new directory per day, unchanged files as hard links, databases copied as they lie."""
    previous = place.work / "rsync" / str(generation - 1)
    target = place.work / "rsync" / str(generation)
    target.parent.mkdir(exist_ok=True)
    links = (f"--link-dest={previous}",) if previous.exists() else ()
    argv = ("rsync", "-a", *links, f"{place.data_dir}/", f"{target}/")
    return Program(argv=argv, environment=place.environment())


def tar(place: Place) -> Program:
    """What tutorials do: everything into one compressed file, each day anew."""
    argv = ("tar", "-czf", str(place.work / "backup.tar.gz"), "-C", str(place.data_dir), ".")
    return Program(argv=argv, environment=place.environment())


def size_of(folder: Path) -> int:
    """Bytes on disk below a folder, links counted once."""
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())
