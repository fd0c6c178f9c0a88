"""The script of each shell completes what the program knows, in that shell."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault.cli.commands.completion import Completion, Shell
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.registry import COMMANDS
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.request import Session


def script_for(shell: Shell) -> str:
    """What is printed, on whatever terminal."""
    request = Completion(shell=shell)
    session = Session(request=request, options=GlobalOptions(), environ={}, folder=Path("/"))
    paper = io.StringIO()
    request.perform(session).show(Screen(paper))
    return paper.getvalue()


def ran(*argv: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


ASK = "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _owui_vault; printf '%s\\n' \"${COMPREPLY[@]}\""


def in_bash(line: str) -> list[str]:
    words = " ".join(f"'{each}'" for each in line.split(" "))
    return ran("bash", "-c", f"{script_for(Shell.BASH)}\nCOMP_WORDS=({words}); {ASK}")


def in_zsh(line: str) -> list[str]:
    """The function in the mode in which zsh runs those of bash."""
    words = " ".join(f"'{each}'" for each in line.split(" "))
    return ran(
        "zsh", "-f", "-c", f"{script_for(Shell.ZSH)}\nask() {{ emulate -L ksh; COMP_WORDS=({words}); {ASK}; }}; ask"
    )


def in_fish(line: str) -> list[str]:
    told = subprocess.run(
        ["fish", "--no-config", "-c", f"{script_for(Shell.FISH)}\ncomplete -C '{line}'"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [each.split("\t")[0] for each in told.stdout.splitlines()]


@pytest.mark.parametrize("complete", [in_bash, in_zsh, in_fish])
def test_commands_and_options_are_completed(
    complete: Callable[[str], list[str]], program: Callable[[str, str], Path]
) -> None:
    program(complete.__name__.removeprefix("in_"), "its completion")
    names = {each.name for each in COMMANDS}
    assert names <= set(complete("owui-vault "))
    assert set(complete("owui-vault snapsh")) == {"snapshot", "snapshots"}
    assert complete("owui-vault snapshot --dry") == ["--dry-run"]
    assert complete("owui-vault snapshot --passph") == ["--passphrase-file"]
    assert complete("owui-vault --json restore --in-p") == ["--in-place"]
    assert complete("owui-vault show --in-p") == []


def test_what_stands_behind_two_dashes_is_none_of_ours() -> None:
    assert in_bash("owui-vault hold -- df --js") == []
