"""The environment that a vault was given is the one its engines find the user's own things by."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import BorgEngine, Engine, Repository, ResticEngine, Secret, Vault
from tests.operations.conftest import PASSPHRASE

MAKERS: dict[str, Callable[[str, str], Engine]] = {
    "restic": lambda place, program: ResticEngine(place, Secret(PASSPHRASE), program=program),
    "borg": lambda place, program: BorgEngine(place, Secret(PASSPHRASE), program=program),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_engines_get_what_the_vault_was_given_and_nothing_of_this_process(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which(kind)
    assert program
    seen, script = tmp_path / "seen", tmp_path / kind
    script.write_text(f'#!/bin/sh\nenv >> {seen}\nexec {program} "$@"\n')
    script.chmod(0o755)
    for name in ("HOME", "SSH_AUTH_SOCK", "HTTPS_PROXY", "BORG_KEYS_DIR"):
        monkeypatch.setenv(name, f"{tmp_path}/of-this-process")
    home = tmp_path / "home"
    home.mkdir()
    given = {"HOME": str(home), "SSH_AUTH_SOCK": "/run/agent", "BORG_KEYS_DIR": str(tmp_path / "keys")}
    repository = Repository("nas", MAKERS[kind](str(tmp_path / "repository"), str(script)))
    with Vault(None, [repository], state_dir=tmp_path / "state", environ=given) as vault:
        vault.initialize()
        assert vault.snapshots() == ()
    found = seen.read_text()
    assert f"HOME={home}\n" in found
    assert "SSH_AUTH_SOCK=/run/agent\n" in found
    assert ("BORG_KEYS_DIR=" in found) == (kind == "borg")
    assert "of-this-process" not in found
