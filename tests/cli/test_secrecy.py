"""A whole life of a vault, searched for its secrets afterwards."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
Program = Any  # the class of that name in conftest.py

PASSPHRASE = "correct horse battery staple"
CLOUD_KEY = "K00xyzzyPLUGH0123456789"
UNLOCK = "the key of all keys"


def witness(folder: Path, engine: Path) -> Path:
    """A program in the engine's place that writes down its arguments and environment, then becomes the engine."""
    script = folder / f"witness-{engine.name}"
    look = f'{{ echo "ARGV $*"; env; tr "\\0" " " < /proc/$PPID/cmdline; echo; }} >> {folder}/seen'
    script.write_text(f'#!/bin/sh\n{look}\nexec {engine} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture(params=["own_borg", "own_restic"])
def configured(
    request: pytest.FixtureRequest, small_instance: Callable[[Path], Path], new_program: Program, tmp_path: Path
) -> Program:
    engine: Path = request.getfixturevalue(request.param)
    folder = tmp_path / "vault"
    small_instance(folder)
    (folder / "home").mkdir()
    (folder / "key").write_text(UNLOCK)
    (folder / "key").chmod(0o600)
    vault = new_program(folder)
    vault.configure(f"""\
instance: {{data_dir: data}}
repositories:
  nas:
    engine: {engine.name}
    location: nas
    program: {witness(tmp_path, engine)}
    passphrase: {{sealed: keys, name: nas, unlock: {{file: key}}}}
    environment: {{SOME_CLOUD_KEY: {{sealed: keys, name: cloud, unlock: {{file: key}}}}}}
    keep: {{last: 1}}
    {"options: {local.connections: '3'}" if engine.name == "restic" else ""}
state_dir: state
""")
    return vault


def test_no_secret_is_left_anywhere(configured: Program, tmp_path: Path) -> None:
    vault = configured
    told = vault.run("-vv", "seal", "nas", "cloud", stdin=f"{PASSPHRASE}\n{CLOUD_KEY}\n")
    assert told.returncode == 0, told.stderr
    said = told.stdout + told.stderr
    for words, code in (
        (["init"], 0),
        (["snapshot"], 0),
        (["--json", "snapshots"], 0),
        (["show", "latest"], 0),
        (["prune"], 0),
        (["verify", "--read-data"], 0),
        (["restore", "latest", "--target", "copy"], 0),
        (["restore", "latest", "--target", "copy"], 2),
        (["show", "ffffffff"], 1),
    ):
        done = vault.run("-vv", *words)
        said += done.stdout + done.stderr
        assert done.returncode == code, said
    (vault.folder / "nas").rename(vault.folder / "away")
    said += vault.run("-vv", "snapshot").stderr
    assert "INFO" in said

    seen = (tmp_path / "seen").read_text()
    assert "ARGV" in seen
    assert ("-o local.connections=3" in seen) == ("witness-restic" in (vault.folder / "vault.yaml").read_text())
    children = "\n".join(line for line in seen.splitlines() if line != f"SOME_CLOUD_KEY={CLOUD_KEY}")
    state = b"".join(path.read_bytes() for path in (vault.folder / "state").rglob("*") if path.is_file())
    state += (vault.folder / "keys").read_bytes()
    state += b"".join(path.read_bytes() for path in (vault.folder / "copy").rglob("*") if path.is_file())
    for secret in (PASSPHRASE, CLOUD_KEY, UNLOCK):
        assert secret not in said
        assert secret not in children
        assert secret.encode() not in state
        assert base64.b64encode(secret.encode()) not in state
    assert (vault.folder / "state").stat().st_mode & 0o077 == 0
    assert (vault.folder / "keys").stat().st_mode & 0o777 == 0o600
