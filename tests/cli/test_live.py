"""The commands that touch the live instance, on a real one: in place and back, and held."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
Program = Any  # the class of that name in conftest.py


def users(data: Path) -> int:
    with closing(sqlite3.connect(f"file:{data / 'webui.db'}?mode=ro", uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM user").fetchone()[0]
    return count


def forget_users(data: Path) -> None:
    with closing(sqlite3.connect(data / "webui.db")) as connection:
        connection.execute("DELETE FROM user WHERE created_at > (SELECT min(created_at) FROM user)")
        connection.commit()


def test_in_place_there_and_back_and_tidied_up(vault: Program) -> None:
    data = vault.folder / "data"
    before = users(data)
    forget_users(data)
    asked = vault.run("restore", "latest", "--in-place")
    assert asked.returncode == 2
    assert "exchanged" in asked.stderr
    assert "--yes" in asked.stderr
    assert users(data) == 1

    dry = vault.run("restore", "latest", "--in-place", "--dry-run")
    assert (dry.returncode, users(data)) == (0, 1)
    assert dry.stderr == ""
    assert dry.stdout.splitlines()[:2] == asked.stderr.splitlines()[:2]
    assert "exchanged" in dry.stdout

    done = vault.json("restore", "latest", "--in-place", "--yes")
    assert users(data) == before
    assert done["health"].startswith("not asked")
    assert Path(done["aside"]["path"]).is_dir()

    for word in ("undo", "discard"):
        refused = vault.run(word)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert done["aside"]["path"] in refused.stderr
        assert "--yes" in refused.stderr
    assert users(data) == before
    undone = vault.run("undo", "--yes")
    assert done["aside"]["path"] in undone.stderr
    assert "restored" in undone.stdout
    assert users(data) == 1
    assert "deleted" in vault.run("discard", "--yes").stdout
    assert not (data / ".owui-vault").exists()
    assert "there are no previous data" in vault.run("undo").stderr


@pytest.mark.parametrize(
    "words",
    [
        ("restore", "latest"),
        ("restore", "latest", "--target", "x", "--in-place"),
        ("restore", "latest", "--in-place", "--app-data-dir", "/x"),
        ("hold", "--quiesce", "live", "--", "true"),
        ("hold", "--limit", "soon", "--", "true"),
        ("hold",),
        ("hold", "--", "true"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(vault: Program, words: tuple[str, ...]) -> None:
    done = vault.run(*words)
    assert done.returncode == 2
    assert "owui-vault: " in done.stderr


def test_an_error_is_text_whatever_the_held_command_was_told(vault: Program) -> None:
    done = vault.run("hold", "--", "true", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "owui-vault: pause is not available for this instance" in done.stderr


def test_the_plan_and_its_warnings_come_before_the_exchange_and_once(vault: Program) -> None:
    (vault.folder / "data/webui.db").unlink()
    done = vault.run("restore", "latest", "--in-place", "--yes")
    assert done.returncode == 0, done.stderr
    warning = "there is no webui.db now"
    before, after = done.stderr, done.stdout
    assert warning in before
    assert "exchanged" in before
    assert warning not in after
    assert vault.run("-q", "undo", "--yes").stderr == ""


def test_the_question_is_asked_on_a_terminal_and_no_means_no(vault: Program) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "owui_vault", "restore", "latest", "--in-place"],
        cwd=vault.folder,
        env=vault.environ(None),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, b"n\n")
    _, told = child.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "[y/N]" in told
    assert "nothing was changed" in told
    assert child.returncode == 2


@pytest.fixture
def sleeper(vault: Program) -> Any:
    """A process that stands for the instance, named by a pid file."""
    child = subprocess.Popen(["sleep", "300"])
    (vault.folder / "pid").write_text(str(child.pid))
    file = vault.folder / "vault.yaml"
    file.write_text(file.read_text().replace("{data_dir: data}", "{data_dir: data, pid_file: pid}"))
    yield child
    child.kill()
    child.wait()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_command_runs_while_the_instance_is_held_and_its_status_is_ours(vault: Program, sleeper: Any) -> None:
    script = f"import sys; print(open('/proc/{sleeper.pid}/stat').read().rpartition(')')[2].split()[0]); sys.exit(7)"
    done = vault.run("hold", "--", sys.executable, "-c", script)
    assert done.returncode == 7, done.stderr
    assert done.stdout.strip() == "T"
    assert state_of(sleeper.pid) == "S"
    killed = vault.run("hold", "--", "sh", "-c", "kill -TERM $$")
    assert killed.returncode == 128 + signal.SIGTERM


def test_with_json_the_commands_output_goes_to_stderr(vault: Program, sleeper: Any) -> None:
    done = vault.run("--json", "hold", "--", "echo", "from the command")
    assert json.loads(done.stdout) == {"format": 1, "command": ["echo", "from the command"], "status": 0}
    assert "from the command" in done.stderr
    assert state_of(sleeper.pid) == "S"


def test_a_hold_that_broke_is_no_success(vault: Program, sleeper: Any) -> None:
    done = vault.run("hold", "--limit", "1s", "--", "sleep", "4")
    assert done.returncode == 1
    assert "longer than the limit" in done.stderr
    assert state_of(sleeper.pid) == "S"


def test_a_missing_command_leaves_the_instance_awake(vault: Program, sleeper: Any) -> None:
    assert vault.run("hold", "--", "no-such-command").returncode == 2
    assert state_of(sleeper.pid) == "S"
