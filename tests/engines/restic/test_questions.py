"""The contract with resticpy's inner functions: each one that is used, on each restic, behind the launcher."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from owui_vault.engines.restic import questions
from owui_vault.engines.restic.location import parse_location
from owui_vault.engines.restic.program import Access, Restic
from owui_vault.errors import (
    EngineOutputError,
    ProgramMissingError,
    RepositoryExistsError,
    RepositoryMissingError,
    SecretError,
    WrongPassphraseError,
)
from owui_vault.model import Secret
from owui_vault.ports import Call

pytestmark = pytest.mark.slow


def session(folder: Path, program: Path | str, passphrase: str = "right horse") -> Restic:
    access = Access(
        program=str(program),
        location=parse_location(str(folder / "repository")),
        passphrase=Secret(passphrase),
        environment={},
        options=(),
    )
    (folder / "state").mkdir(exist_ok=True)
    return Restic(access, Call(folder=folder / "state"))


@pytest.fixture
def restic(tmp_path: Path, restic_program: Path) -> Restic:
    made = session(tmp_path, restic_program)
    made.ask(questions.init)
    return made


def bare(restic: Restic, program: Path, *arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    environment = {"RESTIC_PASSWORD": "right horse", "PATH": os.environ["PATH"], "HOME": str(cwd)}
    argv = [str(program), "-r", str(restic.location.folder), *arguments]
    return subprocess.Popen(argv, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_version(restic: Restic, restic_program: Path) -> None:
    said = subprocess.run([restic_program, "version"], capture_output=True, text=True, check=True).stdout
    assert restic.version() == said.split()[1]
    assert restic.version_numbers() >= (0, 14)


def test_init_and_config(restic: Restic) -> None:
    config = restic.ask(questions.config, "--no-lock")
    assert re.fullmatch(r"[0-9a-f]{64}", config["id"])
    with pytest.raises(RepositoryExistsError):
        restic.ask(questions.init)


def test_snapshots_and_forget(restic: Restic, restic_program: Path, tmp_path: Path) -> None:
    assert restic.ask(questions.snapshots, "--no-lock") == []
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    assert bare(restic, restic_program, "backup", "--tag", "a", ".", cwd=tmp_path / "tree").wait() == 0
    (document,) = restic.ask(questions.snapshots, "--no-lock")
    assert document["tags"] == ["a"]
    assert re.fullmatch(r"[0-9a-f]{64}", document["id"])
    assert {"time", "short_id", "hostname", "paths"} <= set(document)
    restic.ask(lambda base: questions.forget(base, "0" * 64))  # status 0, "Ignoring": why we look afterwards
    restic.ask(lambda base: questions.forget(base, document["id"]))
    assert restic.ask(questions.snapshots, "--no-lock") == []


def test_locks(restic: Restic, restic_program: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(30_000_000))
    child = bare(restic, restic_program, "backup", "--limit-upload", "500", ".", cwd=tree)
    until = time.monotonic() + 30
    while not (found := restic.ask(questions.lock_ids, "--no-lock")):
        assert time.monotonic() < until
    details = restic.ask(lambda base: questions.lock_details(base, found[0]), "--no-lock")
    assert details["pid"] == child.pid
    assert details["hostname"] == os.uname().nodename
    assert {"time", "exclusive"} <= set(details)
    restic.ask(questions.unlock)
    assert restic.ask(questions.lock_ids, "--no-lock") == found  # it lives
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    restic.ask(questions.unlock)
    assert restic.ask(questions.lock_ids, "--no-lock") == []


def test_failures_arrive_as_what_they_mean(restic: Restic, restic_program: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongPassphraseError) as caught:
        session(tmp_path, restic_program, "wrong horse").ask(questions.config, "--no-lock")
    assert caught.value.status in (1, 12)
    assert "horse" not in f"{caught.value} {caught.value.argv} {caught.value.stderr_tail}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for question in (questions.config, questions.snapshots, questions.lock_ids):
        with pytest.raises(RepositoryMissingError):
            session(elsewhere, restic_program).ask(question, "--no-lock")


def write_program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_restic_that_is_too_old_or_missing_is_named(tmp_path: Path) -> None:
    old = write_program(tmp_path / "old", "echo restic 0.12.1 compiled with go1.17 on linux/amd64")
    with pytest.raises(ProgramMissingError, match=r"0\.12\.1 is too old"):
        session(tmp_path, old).version()
    with pytest.raises(ProgramMissingError, match="not installed"):
        session(tmp_path, "no-such-restic").version()


def test_a_restic_that_talks_nonsense_is_not_understood(tmp_path: Path) -> None:
    with pytest.raises(EngineOutputError):
        session(tmp_path, write_program(tmp_path / "odd", "echo hello")).version()


def test_an_empty_passphrase_is_refused_before_restic_is_started(tmp_path: Path) -> None:
    with pytest.raises(SecretError):
        session(tmp_path, "restic", " \n")
