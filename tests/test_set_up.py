"""What `make demo` and `make test` say on a machine that lacks something. Nothing is installed here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USUAL = ["bash", "cat", "cut", "dirname", "head", "id", "mktemp", "rm", "sha256sum", "tail", "touch", "uname"]


class Machine:
    """A clone, and a PATH that holds only what it is given."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.programs = folder / "clone", folder / "bin"
        (self.clone / "tools").mkdir(parents=True)
        self.programs.mkdir()
        shutil.copy2(ROOT / "tools" / "set-up", self.clone / "tools")
        shutil.copy2(ROOT / "pyproject.toml", self.clone)
        for program in USUAL:
            (self.programs / program).symlink_to(str(shutil.which(program)))

    def has(self, program: str, script: str = "exit 0") -> Machine:
        path = self.programs / program
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return self

    def set_up(self, purpose: str = "demo") -> tuple[int, str]:
        argv = [str(self.clone / "tools" / "set-up"), purpose]
        done = subprocess.run(argv, env={"PATH": str(self.programs)}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_on_another_system_it_says_linux_only(machine: Machine) -> None:
    status, said = machine.has("uname", "echo Darwin").set_up()
    assert status == 1
    assert "runs on Linux only" in said


def test_without_apt_the_packages_are_named(machine: Machine) -> None:
    status, said = machine.has("python3").has("restic").set_up()
    assert status == 1
    assert "install with this system's package manager" in said
    assert "borgbackup" in said
    assert "restic" not in said


def test_without_root_the_command_to_type_is_printed(machine: Machine) -> None:
    status, said = machine.has("apt-get", "exit 99").has("id", "echo 1000").has("python3").set_up()
    assert status == 1
    assert "sudo apt-get install -y restic borgbackup" in said


def test_a_python_without_venv_is_told(machine: Machine) -> None:
    machine.has("apt-get", "exit 99").has("id", "echo 1000").has("restic").has("borg")
    machine.has("python3", 'case "$2" in *ensurepip*) exit 1 ;; *print*) echo 3.12 ;; esac')
    status, said = machine.set_up()
    assert status == 1
    assert "venv" in said


def test_an_old_python_is_not_taken(machine: Machine) -> None:
    machine.has("apt-get", "exit 99").has("id", "echo 1000").has("restic").has("borg").has("python3", "exit 1")
    status, said = machine.set_up()
    assert status == 1
    assert "sudo apt-get install -y python3 python3-venv" in said


def test_a_failing_apt_is_an_error_with_its_last_words(machine: Machine) -> None:
    machine.has("apt-get", "echo no network today; exit 100").has("id", "echo 0").has("python3")
    status, said = machine.set_up()
    assert status == 1
    assert "no network today" in said
    assert "apt-get could not install: restic borgbackup" in said
