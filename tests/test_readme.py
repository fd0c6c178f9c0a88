"""The README's first commands, typed as they stand there: from nothing to a restore that is proven."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pages import ROOT, blocks, shell_lines

README = ROOT / "README.md"
MOST_LINES = 15
#: Done by whoever set this machine up; the programs of `bin` stand for what they bring.
INSTALLATION = ("sudo apt install ", "sudo python3 -m venv ", "sudo /opt/owui-vault/bin/pip install ", "sudo ln -s ")
CONTAINER, DIRECTORY = "--container open-webui", "--data-dir /opt/open-webui"


def first_lines() -> list[str]:
    return shell_lines(blocks(README, "console")[0])


def test_a_proven_restore_takes_fifteen_lines_at_most() -> None:
    lines = first_lines()
    assert len(lines) <= MOST_LINES
    assert all(line.startswith("sudo ") for line in lines)
    assert [line for line in lines if line.startswith(INSTALLATION)] == lines[:4]
    assert sum(CONTAINER in line for line in lines) == 1
    text = README.read_text(encoding="utf-8")
    assert f"`{DIRECTORY}` in the place of `{CONTAINER}`" in " ".join(text.split())


@pytest.mark.slow
def test_the_first_lines_work_as_typed(
    tmp_path: Path, small_instance: Callable[[Path], Path], own_restic: Path
) -> None:
    """With the data directory in the place of the container, as the page says; only the places differ."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, does in (
        ("sudo", 'exec "$@"'),
        ("owui-vault", f'OWUI_VAULT_CONFIG={tmp_path}/etc/vault.yaml exec {sys.executable} -P -m owui_vault "$@"'),
        ("restic", f'exec {own_restic} "$@"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    places = {
        CONTAINER: DIRECTORY,
        "/opt/open-webui": str(small_instance(tmp_path / "open-webui")),
        "/mnt/nas/open-webui": str(tmp_path / "repository"),
        "/etc/owui-vault": str(tmp_path / "etc"),
        "/srv/copy": str(tmp_path / "copy"),
    }
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
    }
    said = ""
    for typed in first_lines()[4:]:
        line = typed
        for of_the_page, here in places.items():
            line = line.replace(of_the_page, here)
        done = subprocess.run(
            ["bash", "-euc", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        said += done.stdout
        if " config generate " in line:  # root's would be this machine's own
            with (tmp_path / "etc" / "vault.yaml").open("a") as file:
                file.write(f"\nstate_dir: {tmp_path}/state\n")
    assert (tmp_path / "copy" / "data" / "webui.db").is_file()
    assert "nothing is missing or different" in said
    (shown,) = [each.text for each in blocks(README, "text") if each.text.startswith("snapshot ")]
    (printed,) = re.findall(r"^snapshot \w+ of open-webui taken.*?^  first: .*?\n", said, re.MULTILINE | re.DOTALL)
    assert skeleton(printed) == skeleton(shown)


def skeleton(text: str) -> str:
    """What is shown, without the numbers, ids and times of one day."""
    text = re.sub(r"snapshot [0-9a-f]{8}", "snapshot ID", text)
    text = re.sub(r"(?<=instant {5}).*", "NOW", text)
    return re.sub(r"\d+(?:\.\d+)? (?:k?B|MB|m?s)\b", "SOME", text)
