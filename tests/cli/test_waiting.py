"""Nobody waits before a silent screen: who holds a lock, who is asked, what an engine says, how much is left."""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from owui_vault.cli.render.progress import much, shown, words
from owui_vault.cli.render.waiting import Notices
from owui_vault.model import Answered, Asking, Complaint, Notice, Progress, Step, Waiting
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock, holder_of
from tests.cli.conftest import Program


class Terminal(io.StringIO):
    """Somebody sits there; `written` is set with each text."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


def test_who_holds_the_lock_of_the_instance_is_told_at_once(vault: Program) -> None:
    """By the holder itself, while it still holds it: the line is there before the lock is released."""
    vault.configure((vault.folder / "vault.yaml").read_text().replace("lock_wait: 0s", "lock_wait: 2m"))
    descriptor = os.open(vault.folder / "data", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    child = vault.start("snapshot")
    assert child.stderr
    line = ""
    while "waiting" not in line and child.poll() is None:
        line = child.stderr.readline()
    assert re.search(rf"{vault.folder}/data \(process {os.getpid()}, since 20..-.*\); for 2 min at most$", line), line
    os.close(descriptor)
    _, rest = child.communicate(timeout=60)
    assert child.returncode == 0, rest


def test_who_gives_up_says_who_would_not_let_go(vault: Program) -> None:
    descriptor = os.open(vault.folder / "data", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    done = vault.run("snapshot")
    os.close(descriptor)
    assert done.returncode == 11
    assert f"another run is using {vault.folder}/data (process {os.getpid()}, since " in done.stderr


def test_a_holder_that_has_ended_left_its_lock_to_somebody(tmp_path: Path) -> None:
    """As a killed run to its guardian: the kernel still names the run."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    child = os.fork()
    if child == 0:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os._exit(0)
    os.waitpid(child, 0)
    assert holder_of(descriptor) == f"process {child}, which has ended; its guardian is still at work"
    os.close(descriptor)


def test_nobody_is_told_of_a_lock_that_is_free(tmp_path: Path) -> None:
    told: list[Notice] = []
    with directory_lock(tmp_path, wait_seconds=9, clock=SystemClock(), what="it", notices=told.append):
        assert not told


def test_a_slow_answer_is_told_on_a_terminal_and_gone_with_it() -> None:
    terminal = Terminal()
    notices = Notices(terminal, 0)
    notices(Asking(repository="nas"))
    assert terminal.written.wait(30)
    assert terminal.getvalue() == "\r\x1b[2Kasking nas …"
    notices(Answered(repository="nas"))
    assert terminal.getvalue().endswith("\r\x1b[2K")


@pytest.mark.parametrize(("stream", "verbosity"), [(Terminal(), -1), (io.StringIO(), 0)])
def test_a_log_and_the_quiet_hear_nothing_of_whom_we_ask(stream: io.StringIO, verbosity: int) -> None:
    notices = Notices(stream, verbosity)
    notices(Asking(repository="nas"))
    assert not notices._asked  # no clock runs
    notices(Answered(repository="nas"))
    assert stream.getvalue() == ""


def test_a_quick_answer_is_not_told() -> None:
    terminal = Terminal()
    notices = Notices(terminal, 0)
    notices(Asking(repository="nas"))
    (clock,) = notices._asked.values()
    notices(Answered(repository="nas"))
    clock.join(30)
    assert terminal.getvalue() == ""


def test_a_complaint_is_told_once_whatever_its_numbers() -> None:
    log = io.StringIO()
    notices = Notices(log, 0)
    for seconds in range(5):
        notices(Complaint(repository="nas", text=f"Load(ab) failed, retrying after {seconds}s\x1b[2J"))
    notices(Waiting(what="nas", holder="PID 7 on far by root", wait_seconds=300))
    assert log.getvalue().splitlines() == [
        "nas: Load(ab) failed, retrying after 0s\\x1b[2J",
        "waiting for another run on nas (PID 7 on far by root); for 5 min at most",
    ]


@pytest.mark.slow
def test_an_engines_complaint_comes_while_it_still_works(vault: Program) -> None:
    engine = (vault.folder / "vault.yaml").read_text().partition("program: ")[2].partition(",")[0]
    go = vault.folder / "go"
    os.mkfifo(go)
    script = vault.folder / "complaining-engine"
    complain = f'if [ "$word" = check ]; then echo "pack 01ab: does not exist" >&2; read x < {go}; fi'
    script.write_text(f'#!/bin/sh\nfor word; do {complain}; done\nexec {engine} "$@"\n')
    script.chmod(0o755)
    vault.configure((vault.folder / "vault.yaml").read_text().replace(engine, str(script)))
    child = vault.start("verify")
    assert child.stderr
    line = ""
    while "does not exist" not in line and child.poll() is None:
        line = child.stderr.readline()
    assert line == "nas: pack 01ab: does not exist\n"
    go.write_text("go\n")
    _, rest = child.communicate(timeout=60)
    assert child.returncode == 0, rest


@pytest.mark.slow
def test_the_first_signal_is_answered_while_the_engine_still_works(vault: Program) -> None:
    """It hears no signal before its own time: the answer does not wait for it."""
    engine = (vault.folder / "vault.yaml").read_text().partition("program: ")[2].partition(",")[0]
    there = vault.folder / "there"
    script = vault.folder / "deaf-engine"
    hang = f'if [ "$word" = backup ]; then trap "" INT TERM; touch {there}; sleep 60; fi'
    script.write_text(f'#!/bin/sh\nfor word; do {hang}; done\nexec {engine} "$@"\n')
    script.chmod(0o755)
    vault.configure((vault.folder / "vault.yaml").read_text().replace(engine, str(script)))
    child = vault.start("snapshot")
    until = time.monotonic() + 60
    while not there.exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.02)
    sent = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.stderr
    line = ""
    while "stopping" not in line and child.poll() is None:
        line = child.stderr.readline()
    assert line == "stopping, and cleaning up ...\n"
    assert time.monotonic() - sent < 2  # 0.02 s on a machine with nothing else to do
    child.send_signal(signal.SIGINT)
    _, rest = child.communicate(timeout=60)
    assert child.returncode == 130, rest
    assert "stopping, and" not in rest  # once


@pytest.mark.parametrize(
    ("step", "said"),
    [(Step.STORE, "storing → nas"), (Step.FETCH, "fetching ← nas"), (Step.VERIFY, "verifying in nas")],
)
def test_arrows_show_which_way_the_bytes_go(step: Step, said: str) -> None:
    assert words(Progress(step=step, repository="nas")) == said


def test_how_much_and_how_long_is_said_where_it_is_known() -> None:
    assert much(0, None) == ""
    assert much(12_000_000, None) == "12.0 MB"
    assert much(12_000_000, 305_000_000) == "12.0 MB of 305 MB"
    assert much(12_000_000, 305_000_000, left_seconds=40.2) == "12.0 MB of 305 MB, 40.0 s left"


def test_a_step_without_bytes_shows_none_and_notices_go_above_the_bars() -> None:
    terminal = Terminal()
    notices = Notices(terminal, 0)
    with shown(terminal, 0, notices) as sink:
        sink(Progress(step=Step.CAPTURE, done_bytes=0))
        sink(Progress(step=Step.STORE, repository="nas", done_bytes=5_000_000, total_bytes=10_000_000))
        notices(Waiting(what="nas", holder="", wait_seconds=60))
    assert "0/?" not in terminal.getvalue()
    assert "bytes" not in terminal.getvalue()
    assert "5.0 MB of 10.0 MB" in terminal.getvalue()
    assert "waiting for another run on nas; for 1 min at most\n" in terminal.getvalue()
