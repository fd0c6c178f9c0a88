"""`--version` names what a report of a fault begins with."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from owui_vault.version import VERSION
from tests.cli.conftest import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Engines that say their version, or nothing, are among its programs."""
    (tmp_path / "bin").mkdir()
    return Program(tmp_path)


def add(program: Program, name: str, script: str) -> None:
    file = program.folder / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_the_engines_that_are_installed_are_named_with_their_versions(program: Program) -> None:
    add(program, "restic", 'test "$1" = version && echo "restic 0.14.0 compiled with go1.19.8 on linux/amd64"')
    done = program.run("-V", environ={"PATH": str(program.folder / "bin")})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"owui_vault {VERSION}",
        f"restic 0.14.0 ({program.folder}/bin/restic)",
        "borg is not installed",
        f"Python {platform.python_version()}",
    ]


def test_the_version_is_an_object_for_programs(program: Program) -> None:
    add(program, "borg", 'test "$1" = --version && echo "borg 1.2.4"')
    add(program, "restic", "exit 7")
    for words in (("--json", "--version"), ("snapshots", "--json", "-V")):
        done = program.run(*words, environ={"PATH": str(program.folder / "bin")})
        assert done.returncode == 0, done.stderr
        assert re.sub(r"\s", "", done.stdout).startswith(f'{{"format":1,"version":"{VERSION}","engines":[')
    answer = program.run("--json", "-V", environ={"PATH": str(program.folder / "bin")}).stdout
    assert f'"program": "{program.folder}/bin/restic",\n      "version": ""' in answer
    assert '"version": "1.2.4"' in answer


@pytest.mark.parametrize(("version", "warned"), [("1.2.4", True), ("1.1.18", True), ("1.2.5", False), ("1.4.5", False)])
def test_a_borg_whose_relabelled_archives_newer_ones_refuse_is_told(
    program: Program, version: str, *, warned: bool
) -> None:
    add(program, "borg", f'echo "borg {version}"')
    lines = program.run("-V", environ={"PATH": str(program.folder / "bin")}).stdout.splitlines()
    assert f"borg {version} ({program.folder}/bin/borg)" in lines
    assert ("docs/install.md" in "".join(lines)) is warned
