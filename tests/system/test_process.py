from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from owui_vault.errors import CancelledError, DeadlineExceededError, ProgramMissingError
from owui_vault.system import process
from owui_vault.system.process import Command, run, secret_descriptor

PATH = {"PATH": os.environ["PATH"]}
ALOOF = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(60)"


def shell(script: str, **more: object) -> Command:
    return Command(argv=("/bin/sh", "-c", script), environment=PATH, **more)  # type: ignore[arg-type]


def test_output_and_status_come_back() -> None:
    done = run(shell("echo out; echo err >&2; exit 3"))
    assert (done.status, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_lines_are_handed_on_as_they_arrive() -> None:
    seen: list[tuple[str, float]] = []
    started = time.monotonic()
    run(shell("echo one; sleep 0.5; echo two"), on_stdout=lambda line: seen.append((line, time.monotonic() - started)))
    assert [line for line, _ in seen] == ["one", "two"]
    assert seen[0][1] < 0.4


def test_nothing_of_our_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never")
    assert "never" not in run(shell("env")).stdout


def test_stdin_is_closed_unless_it_is_given() -> None:
    assert run(shell("cat")).stdout == ""
    assert run(shell("cat", stdin="hello")).stdout == "hello\n"


def test_a_program_that_does_not_read_its_stdin_is_no_error() -> None:
    assert run(shell("exec 0<&-; true", stdin="x" * 200_000)).status == 0


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissingError, match="no-such-program"):
        run(Command(argv=("no-such-program",), environment=PATH))


def test_the_total_time_is_bounded() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="did not finish within"):
        run(shell("while :; do echo x; sleep 0.05; done", timeout_seconds=0.5))
    assert time.monotonic() - started < 20  # where SIGINT is ignored from birth it takes a SIGTERM after ten


def test_silence_is_bounded_and_a_talker_is_not() -> None:
    run(shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done", idle_seconds=0.8))
    with pytest.raises(DeadlineExceededError, match="produced no output"):
        run(shell("sleep 30", idle_seconds=0.3))


def test_cancelling_ends_the_program_and_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    with pytest.raises(CancelledError):
        run(shell(f"sleep 60 & echo $! $$ > {pids}; wait"), cancel=cancel)
    wait_until_gone(map(int, pids.read_text().split()))


def wait_until_gone(pids: Iterable[int]) -> None:
    until = time.monotonic() + 5
    for pid in pids:
        while running(pid):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_whatever_took_a_group_of_its_own_ends_as_well() -> None:
    """restic 0.19 does that to its ssh, which waits for a silent host for ever."""
    pids: list[int] = []
    cancel = threading.Event()

    def hear(line: str) -> None:
        pids.append(int(line))
        cancel.set()

    with pytest.raises(CancelledError):
        run(shell(f"{sys.executable} -c '{ALOOF}' & wait"), on_stdout=hear, cancel=cancel)
    assert len(pids) == 1
    wait_until_gone(pids)


def test_a_program_that_is_in_the_midst_of_saying_much_ends_at_once() -> None:
    """Nobody listens any more; it must not wait for that, and then be killed with its locks."""
    script = (
        "import signal, sys\ndef end(*_): raise KeyboardInterrupt\nsignal.signal(signal.SIGINT, end)\n"
        "try:\n    while True: print('x' * 9999)\nexcept KeyboardInterrupt:\n    print('x' * 999999, flush=True)\n"
    )
    command = Command(argv=(sys.executable, "-c", script), environment=PATH)

    def refuse(_line: str) -> None:
        raise ValueError

    started = time.monotonic()
    with pytest.raises(ValueError):  # noqa: PT011  # it is the one above
        run(command, on_stdout=refuse)
    assert time.monotonic() - started < 8


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_program_that_ignores_polite_signals_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("_INTERRUPT_SECONDS", "_TERMINATE_SECONDS"):
        monkeypatch.setattr(process, each, 0.5)
    cancel = threading.Event()
    ignore = "import signal,time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n"
    script = ignore + "print('up', flush=True)\ntime.sleep(60)"
    command = Command(argv=(sys.executable, "-c", script), environment=PATH)
    with pytest.raises(CancelledError):
        run(command, on_stdout=lambda _line: cancel.set(), cancel=cancel)


def test_a_sink_that_raises_ends_the_program() -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    started = time.monotonic()
    with pytest.raises(ValueError, match="go"):
        run(shell("echo go; exec sleep 60"), on_stdout=refuse)  # dash may miss what comes while it forks
    assert time.monotonic() - started < 15


def test_a_grandchild_that_keeps_the_output_open_is_not_waited_for() -> None:
    started = time.monotonic()
    done = run(shell("setsid sleep 20 & echo done"))
    assert done.stdout == "done\n"
    assert time.monotonic() - started < 10


def test_bytes_that_are_not_text_survive() -> None:
    assert run(shell(r"printf 'a\377b\n'")).stdout == "a\udcffb\n"


def test_a_secret_travels_by_descriptor() -> None:
    with secret_descriptor("tr0ub4dor\n") as descriptor:
        done = run(shell(f"cat /dev/fd/{descriptor}", pass_fds=(descriptor,)))
    assert done.stdout == "tr0ub4dor\n"


def test_a_path_of_any_bytes_travels_by_descriptor() -> None:
    with secret_descriptor("a\udcff") as descriptor:
        done = run(shell(f"cat /dev/fd/{descriptor}", pass_fds=(descriptor,)))
    assert done.stdout == "a\udcff\n"


def test_the_tail_of_stderr_is_kept_beside_a_sink() -> None:
    lines: list[str] = []
    done = run(shell("for i in $(seq 2000); do echo line $i >&2; done"), on_stderr=lines.append)
    assert len(lines) == 2000
    assert done.stderr.endswith("line 2000\n")
    assert len(done.stderr_tail) <= 2000
