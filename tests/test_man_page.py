"""The man page says what `--help` says, and is roff without a fault."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from owui_vault.cli.exit_codes import MEANINGS
from owui_vault.cli.grammar import Grammar, global_options
from owui_vault.cli.registry import COMMANDS
from tests.pages import ROOT


@pytest.fixture(scope="module")
def page() -> str:
    return subprocess.check_output([sys.executable, str(ROOT / "tools" / "write_man.py")], text=True, cwd=ROOT)


def test_every_command_every_option_and_every_exit_code_is_there(page: str) -> None:
    bare = page.replace("\\-", "-")
    for entry in COMMANDS:
        section = re.search(rf'^\.SS "{entry.name}\b.*?(?=^\.S[SH] )', bare, re.MULTILINE | re.DOTALL)
        assert section, entry.name
        grammar = Grammar(entry.name, import_module(entry.module).command)
        for option in grammar.options():
            assert option in section[0], (entry.name, option)
    for option in Grammar("", global_options).options():
        assert option in bare
    for codes, meaning in MEANINGS:
        assert f"\\fB{codes}\\fR\n{meaning}\n" in bare
    assert not re.search(r"\bNone\b|See above", page)  # each is explained


def test_no_line_is_taken_for_a_command_of_roff(page: str) -> None:
    known = {".TH", ".SH", ".SS", ".TP", ".B", ".BR", '.\\"'}
    assert {line.split()[0] for line in page.splitlines() if line[:1] in {".", "'"}} <= known


def test_it_is_roff_without_a_warning(page: str, tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    groff = program("groff", "the man page is set with it")
    (tmp_path / "owui-vault.1").write_text(page)
    done = subprocess.run(
        [str(groff), "-man", "-ww", "-Kutf8", "-Tutf8", str(tmp_path / "owui-vault.1")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "restore" in done.stdout
