"""The program in front of engine programs: whoever dies, nobody is left behind, and everything said arrives."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from owui_vault.engines.common import launcher
from owui_vault.engines.common.environment import launcher_argv
from owui_vault.engines.restic.resticpy import Answer, Question, ask_restic
from owui_vault.errors import CancelledError, ConfigError, DeadlineExceededError, EngineError, EngineOutputError
from owui_vault.model import NEVER

PATIENCE = 20.0


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} outlived its parent")


def run(*argv: str, record: str = "", parent: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [*launcher_argv(), "run", str(parent or os.getpid()), record, "--", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_run_becomes_the_program() -> None:
    done = run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_run_says_what_cannot_be_run() -> None:
    done = run("/no/such/program")
    assert done.returncode == launcher.CANNOT_RUN
    assert "cannot run /no/such/program" in done.stderr


def test_run_starts_nothing_for_a_parent_that_is_gone() -> None:
    assert run("echo", "started", parent=1).returncode == launcher.PARENT_GONE


def test_run_that_cannot_be_noted_does_not_begin(tmp_path: Path) -> None:
    """And ends with a status that no program has: 1, Python's own, is a mere warning of borg's."""
    done = run("echo", "begun", record=str(tmp_path / "no/record"))
    assert (done.returncode, done.stdout) == (launcher.NO_RECORD, "")
    assert f"cannot record this run in {tmp_path}/no/record: No such file" in done.stderr


def test_a_parent_that_dies_before_the_program_begins_is_noticed_by_those_who_ignore_interrupts(tmp_path: Path) -> None:
    """A shell's background job: the signal that tells of the death was ignored until just before the program began."""
    record, begun = tmp_path / "record", tmp_path / "begun"
    command = [*launcher_argv(), "run", "PARENT", str(record), "--", "touch", str(begun)]
    script = (
        "import os, signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"argv = [str(os.getpid()) if word == 'PARENT' else word for word in {command!r}]\n"
        "child = subprocess.Popen(argv); print(child.pid, flush=True); child.wait()"
    )
    with record.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the launcher waits for it, between asking for the signal and the program
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until = time.monotonic() + PATIENCE
        while f"-> FLOCK  ADVISORY  WRITE {pid} " not in Path("/proc/locks").read_text():
            assert time.monotonic() < until
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        time.sleep(0.2)
    wait_until_gone(pid)
    assert not begun.exists()


def test_a_parent_that_dies_before_it_is_spoken_to_is_not_waited_for(tmp_path: Path) -> None:
    pipes = [tmp_path / "request", tmp_path / "answer"]
    for pipe in pipes:
        os.mkfifo(pipe)  # whose other ends nobody holds any more
    command = [*launcher_argv(), "ask", str(os.getpid()), *map(str, pipes), "--", "true"]
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == launcher.PARENT_GONE


def test_run_does_not_hand_down_an_ignored_interrupt() -> None:
    script = "import os,signal,sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = [*launcher_argv(), "run", str(os.getpid()), "", "--", "sh", "-c", "kill -INT $$; echo survived"]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")


@pytest.mark.parametrize("mode", ["run", "ask"])
def test_the_program_ends_with_us_even_when_we_are_killed(tmp_path: Path, mode: str) -> None:
    started = tmp_path / "pid"
    program = ["sh", "-c", f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 60"]
    if mode == "run":
        script = (
            "import os,subprocess; "
            f"subprocess.run([*{launcher_argv()!r}, 'run', str(os.getpid()), '', '--', *{program!r}])"
        )
    else:
        script = (
            "import subprocess, pathlib\n"
            "from owui_vault.engines.restic.resticpy import Question, ask_restic\n"
            "from owui_vault.model import NEVER\n"
            f"question = Question(base={program!r}, descriptors={{}}, environment={{'PATH': '/usr/bin:/bin'}},"
            " record='', timeout_seconds=60)\n"
            f"ask_restic(question, lambda base: subprocess.run(base), NEVER, pathlib.Path({str(tmp_path)!r}))\n"
        )
    parent = subprocess.Popen([sys.executable, "-c", script])
    until = time.monotonic() + PATIENCE
    while not started.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    pid = int(started.read_text())
    parent.kill()
    parent.wait()
    wait_until_gone(pid)


def test_the_record_is_locked_as_long_as_the_program_lives(tmp_path: Path) -> None:
    record = tmp_path / "record"
    command = [*launcher_argv(), "run", str(os.getpid()), str(record), "--", "sh", "-c", "echo here; exec sleep 60"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    with record.open("r+") as file:
        found = json.load(file)
        assert (found["pid"], found["host"], found["user"]) == (child.pid, os.uname().nodename, os.geteuid())
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.kill()
        child.wait()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.stdout.close()


def ask(
    folder: Path,
    *argv: str,
    timeout: float = PATIENCE,
    cancel: threading.Event = NEVER,
    descriptors: dict[int, str] | None = None,
    environment: dict[str, str] | None = None,
) -> Answer[str]:
    question = Question(
        base=list(argv),
        descriptors=descriptors or {},
        environment=environment or {"PATH": "/usr/bin:/bin"},
        record=str(folder / "record"),
        timeout_seconds=timeout,
    )

    def call(base: list[str]) -> str:
        return subprocess.run(base, capture_output=True, text=True, check=True).stdout

    return ask_restic(question, call, cancel, folder)


def failure(status: int | None, stderr: str) -> EngineError:
    return EngineError("it failed", status=status, stderr_tail=stderr)


def test_an_answer_comes_back_with_status_and_stderr(tmp_path: Path) -> None:
    answer = ask(tmp_path, "sh", "-c", "echo out; echo a warning >&2")
    assert (answer.result_or(failure, str), answer.status, answer.stderr) == ("out\n", 0, "a warning\n")


def test_a_failure_brings_its_status_and_stderr(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        ask(tmp_path, "sh", "-c", "echo no >&2; exit 12").result_or(failure, str)
    assert (caught.value.status, caught.value.stderr_tail) == (12, "no\n")


def test_a_killed_program_is_told_by_its_signal(tmp_path: Path) -> None:
    assert ask(tmp_path, "sh", "-c", "kill -9 $$").status == -9


def test_a_program_that_cannot_be_run_is_a_failure(tmp_path: Path) -> None:
    assert ask(tmp_path, "/no/such/program").status == launcher.CANNOT_RUN


def test_an_answer_that_makes_no_sense_is_told_from_a_failure(tmp_path: Path) -> None:
    question = Question(base=["true"], descriptors={}, environment={}, record="", timeout_seconds=9)

    def call(base: list[str]) -> str:
        subprocess.run(base, check=True)
        raise KeyError("id")

    with pytest.raises(EngineOutputError):
        ask_restic(question, call, NEVER, tmp_path).result_or(failure, str)


def test_the_environment_is_exactly_this(tmp_path: Path) -> None:
    answer = ask(tmp_path, "/usr/bin/env", environment={"ONLY": "this"})
    assert answer.result_or(failure, str) == "ONLY=this\n"


def test_secrets_come_by_descriptor_and_lie_on_no_disk(tmp_path: Path) -> None:
    answer = ask(tmp_path, "cat", "/dev/fd/60", "/dev/fd/61", descriptors={60: "first ", 61: "seçond"})
    assert answer.result_or(failure, str) == "first seçond"
    assert not list((tmp_path / "asking").iterdir())


def test_stdin_is_closed(tmp_path: Path) -> None:
    assert ask(tmp_path, "cat").result_or(failure, str) == ""


def test_a_lot_of_stderr_blocks_nobody_and_keeps_its_end(tmp_path: Path) -> None:
    answer = ask(tmp_path, "sh", "-c", "seq 1 200000 >&2")
    assert answer.status == 0
    assert answer.stderr.endswith("199999\n200000\n")


def test_the_time_is_bounded_and_the_program_asked_before_it_is_told(tmp_path: Path) -> None:
    script = f"trap 'echo asked > {tmp_path}/asked; exit 1' INT; sleep 60 & wait"
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        ask(tmp_path, "sh", "-c", script, timeout=0.5).result_or(failure, str)
    assert time.monotonic() - started < PATIENCE / 2
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_whatever_took_a_group_of_its_own_ends_as_well(tmp_path: Path) -> None:
    """restic 0.19 does that to its ssh, which waits for a silent host for ever."""
    pid = tmp_path / "pid"
    aloof = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(DeadlineExceededError):
        ask(tmp_path, "sh", "-c", f"{sys.executable} -c '{aloof}' > {pid} & wait", timeout=1).result_or(failure, str)
    wait_until_gone(int(pid.read_text()))


def test_cancel_ends_it(tmp_path: Path) -> None:
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(CancelledError):
        ask(tmp_path, "sleep", "60", cancel=cancel).result_or(failure, str)


def test_an_environment_that_does_not_fit_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        ask(tmp_path, "true", environment={"X": "x" * 2_000_000})
