"""A whole life of a vault, and every program it starts, searched for its secrets."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.restic_keys import cheapen

pytestmark = pytest.mark.slow
Program = Any  # the class of that name in conftest.py

PASSPHRASE = "correct horse battery staple"
CLOUD_KEY = "K00xyzzyPLUGH0123456789"
UNLOCK = "the key of all keys"
IN_LOCATION = "hunter2.Tr0ub4dor"
SECRETS = (PASSPHRASE, CLOUD_KEY, UNLOCK, IN_LOCATION)


class Sampler:
    """What everybody on this machine can read of the processes below this one, looked at again and again."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()  # (kind and program, words)
        self._end = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.03):  # programs live for longer than that
            for pid in _below(os.getpid()):
                for kind in ("cmdline", "environ"):
                    with suppress(OSError):
                        words = Path(f"/proc/{pid}/{kind}").read_bytes().decode(errors="replace")
                        self.seen |= {(kind, word) for word in words.split("\0")}


def _below(root: int) -> set[int]:
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                children = {int(each) for each in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()}
                waiting += children - found
                found |= children
    return found


def witness(folder: Path, engine: Path) -> Path:
    """A program in the engine's place that writes down its arguments and environment, then becomes the engine."""
    script = folder / f"witness-{engine.name}"
    look = f'{{ echo "ARGV $*"; env; tr "\\0" " " < /proc/$PPID/cmdline; echo; }} >> {folder}/seen'
    script.write_text(f'#!/bin/sh\n{look}\nexec {engine} "$@"\n')
    script.chmod(0o755)
    return script


# Each engine's own secrecy is asked of both by the conformance suite.
@pytest.fixture(params=["own_restic", pytest.param("own_borg", marks=pytest.mark.rare)])
def configured(
    request: pytest.FixtureRequest, small_instance: Callable[[Path], Path], new_program: Program, tmp_path: Path
) -> Program:
    engine: Path = request.getfixturevalue(request.param)
    folder = tmp_path / "vault"
    small_instance(folder)
    (folder / "home").mkdir()
    (folder / "key").write_text(UNLOCK)
    (folder / "key").chmod(0o600)
    (folder / "unlock").write_text(f"#!/bin/sh\nsleep 0.2\nexec cat {folder}/key\n")
    (folder / "unlock").chmod(0o700)
    vault = new_program(folder)
    vault.configure(configuration(tmp_path, engine))
    return vault


def configuration(folder: Path, engine: Path) -> str:
    unlock = f"unlock: {{command: [{folder}/vault/unlock]}}"
    far = f"rest:http://alice:{IN_LOCATION}@127.0.0.1:9/alice/"
    return f"""\
instance: {{data_dir: data}}
repositories:
  nas:
    engine: {engine.name}
    location: nas
    program: {witness(folder, engine)}
    passphrase: {{sealed: keys, name: nas, {unlock}}}
    environment: {{SOME_CLOUD_KEY: {{sealed: keys, name: cloud, {unlock}}}}}
    keep: {{last: 1}}
    {"options: {local.connections: '3'}" if engine.name == "restic" else ""}
  far: {{engine: restic, location: "{far}", passphrase: {{file: key}}, keep: {{last: 1}}}}
state_dir: state
"""


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Callable[[Program], None]]:
    """A process that stands for the instance from then on, so that it can be paused."""
    child = subprocess.Popen(["sleep", "600"])

    def stand_for_the_instance(vault: Program) -> None:
        (vault.folder / "pid").write_text(str(child.pid))
        text = (vault.folder / "vault.yaml").read_text()
        vault.configure(text.replace("{data_dir: data}", "{data_dir: data, pid_file: pid}"))

    yield stand_for_the_instance
    child.kill()
    child.wait()


def a_whole_life(vault: Program, sleeper: Callable[[Program], None]) -> str:
    """Everything that was said during it."""
    told = vault.run("-vv", "seal", "nas", "cloud", stdin=f"{PASSPHRASE}\n{CLOUD_KEY}\n")
    assert told.returncode == 0, told.stderr
    said: str = told.stdout + told.stderr

    def run(*words: str, code: int = 0) -> None:
        nonlocal said
        done = vault.run("-vv", *words)
        said += done.stdout + done.stderr
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"

    run("inspect")
    run("init", "nas")
    if (vault.folder / "nas" / "keys").is_dir():
        cheapen(vault.folder / "nas", PASSPHRASE)
    run("init", "far", code=1)
    run("snapshot", code=1)  # stored in one of the two
    run("--json", "snapshots", "--from", "nas")
    run("snapshots", code=1)
    run("show", "latest")
    run("prune", "nas")
    run("verify", "--from", "nas", "--read-data")
    run("restore", "latest", "--target", "copy")
    run("restore", "latest", "--target", "copy", code=2)
    run("show", "ffffffff", "--from", "nas", code=1)
    run("restore", "latest", "--from", "nas", "--in-place", "--yes")
    run("undo", "--yes")
    run("discard", "--yes")
    run("recover")
    sleeper(vault)
    run("snapshot", "--to", "nas", "--quiesce", "pause")
    run("hold", "--", "sleep", "0.3")
    (vault.folder / "nas").rename(vault.folder / "away")
    run("snapshot", "--to", "nas", code=10)
    assert "INFO" in said
    return said


@pytest.mark.thorough  # every command with every engine
def test_no_secret_is_left_anywhere(configured: Program, tmp_path: Path, sleeper: Callable[[Program], None]) -> None:
    vault, sampler = configured, Sampler()
    with sampler.running():
        said = a_whole_life(vault, sleeper)
    told = (tmp_path / "seen").read_text()
    assert "ARGV" in told
    assert ("-o local.connections=3" in told) == ("witness-restic" in (vault.folder / "vault.yaml").read_text())
    allowed = f"SOME_CLOUD_KEY={CLOUD_KEY}"  # how a cloud's key is handed to the engine: its owner and root can read it
    children = "\n".join(line for line in told.splitlines() if line != allowed)
    sampled = "\n".join(word for kind, word in sampler.seen if (kind, word) != ("environ", allowed))
    for witnessed in (
        "owui_vault.capture",
        "owui_vault.instance.probe_main",
        "guardian_main",
        f"{vault.folder}/unlock",
    ):
        assert witnessed in sampled, witnessed
    state = b"".join(path.read_bytes() for path in (vault.folder / "state").rglob("*") if path.is_file())
    state += (vault.folder / "keys").read_bytes()
    copy = b"".join(path.read_bytes() for path in (vault.folder / "copy").rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret not in said
        assert secret not in children
        assert secret not in sampled
        assert secret.encode() not in state
        assert base64.b64encode(secret.encode()) not in state
        if secret != IN_LOCATION:  # written in vault.yaml, which is in the snapshot as it is
            assert secret.encode() not in copy
    assert (vault.folder / "state").stat().st_mode & 0o077 == 0
    assert (vault.folder / "keys").stat().st_mode & 0o777 == 0o600
