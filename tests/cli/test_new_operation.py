"""A new operation is three files and one line: this one is attached to a copy of the package, and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "owui_vault"

OPERATION = '''
"""Counts what is configured."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.context.context import OperationContext


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyReport:
    names: tuple[str, ...]


def tally(context: OperationContext, least: int) -> TallyReport:
    return TallyReport(names=tuple(each.name for each in context.repositories) * least)
'''

METHOD = '''
    def tally(self, *, least: int = 1) -> TallyReport:
        """Count what is configured."""
        from owui_vault.operations.tally import tally

        with self._lock.reading() as context:
            return tally(context, least)

    def history('''

COMMAND = '''
"""`tally`: what is configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from owui_vault.cli.request import Answer, Request, Session
from owui_vault.cli.options import Passphrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally(Request):
    passphrase = Passphrase.NOT_NEEDED

    least: int

    def perform(self, session: Session) -> Answer:
        report = session.vault.tally(least=self.least)
        return Answer(value=report, show=lambda screen: screen.items(report.names), exit_code=5)


def command(least: Annotated[int, typer.Option(metavar="N", help="How often.")] = 1) -> Tally:
    """Count what is configured."""
    return Tally(least=least)
'''

LINE = '    Entry("tally", UPKEEP, "Count what is configured."),\n)\n'


def overlay(folder: Path, package: Path, changed: dict[str, str]) -> None:
    """The package, with these files in the place of its own."""
    folder.mkdir()
    below = {Path(each).parts[0] for each in changed}
    for each in package.iterdir():
        if each.name not in below and each.name != "__pycache__":
            (folder / each.name).symlink_to(each)
    for name in below:
        if name in changed:
            (folder / name).write_text(changed[name])
        else:
            inside = {
                str(Path(each).relative_to(name)): text for each, text in changed.items() if each.startswith(f"{name}/")
            }
            overlay(folder / name, package / name, inside)


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    vault, registry = (PACKAGE / "vault.py").read_text(), (PACKAGE / "cli/registry.py").read_text()
    assert registry.endswith(")\n")
    changed = {
        "operations/tally.py": OPERATION,
        "vault.py": vault.replace("\n    def history(", METHOD),
        "cli/commands/tally.py": COMMAND,
        "cli/registry.py": registry.removesuffix(")\n") + LINE,
    }
    overlay(tmp_path / "owui_vault", PACKAGE, changed)
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "owui_vault", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_operation_is_three_files_and_one_line(extended: Path) -> None:
    told = run(extended, "--json", "--repository", "/nowhere/r", "tally", "--least", "2")
    assert (told.returncode, told.stderr) == (5, "")
    assert json.loads(told.stdout) == {"format": 1, "names": ["repository", "repository"]}
    assert run(extended, "--repository", "/nowhere/r", "tally").stdout == "  - repository\n"
    assert re.search(r"^    tally +Count what is configured\.$", run(extended, "--help").stdout, re.MULTILINE)
    assert "--least N" in run(extended, "tally", "--help").stdout
