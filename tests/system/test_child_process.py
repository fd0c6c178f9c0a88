"""A child that is spoken to line by line: what it complains about must never hold it up."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from owui_vault.errors import CancelledError, DeadlineExceededError
from owui_vault.system.child_process import Companion, CompanionEndedError, Detached


@contextmanager
def child(program: str) -> Iterator[Companion]:
    found = Companion((sys.executable, "-c", program), {})
    try:
        yield found
    finally:
        found.end()


LOUD = "import sys; sys.stderr.write('x' * 1_000_000 + 'the end'); sys.stderr.flush()"


def test_a_child_that_complains_at_length_still_answers() -> None:
    """A pipe that nobody reads holds 64 kB: the traceback of a deep recursion is longer."""
    with child(f"{LOUD}; print('answer', flush=True); sys.stdin.read()") as loud:
        assert loud.receive(20) == "answer"


def test_the_end_of_a_long_complaint_is_kept() -> None:
    with child(f"{LOUD}; sys.exit(3)") as loud, pytest.raises(CompanionEndedError) as caught:
        loud.receive(20)
    assert caught.value.status == 3
    assert len(caught.value.stderr_tail) == 2000
    assert caught.value.stderr_tail.endswith("the end")


SLOW_READER = "import sys, time; time.sleep(0.3); print(len(sys.stdin.readline()), flush=True); sys.stdin.read()"
DEAF = "import time; print('up', flush=True); time.sleep(60)"
LONG = "x" * 300_000


@pytest.fixture
def signals() -> Iterator[None]:
    """A signal handler in Python that runs now and then: it cuts short what is written at the time."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_long_line_arrives_whole_although_signals_come(signals: None) -> None:
    """The pipe takes 64 kB of it at once."""
    with child(SLOW_READER) as slow:
        slow.send(LONG, 20)
        assert slow.receive(20) == "300001"


def test_the_same_to_a_child_with_a_life_of_its_own(signals: None) -> None:
    slow = Detached((sys.executable, "-c", SLOW_READER), {})
    assert slow.say(LONG)
    assert slow.heard(20) == "300001"
    slow.let_go()
    assert not slow.say("anything")


def test_a_child_that_does_not_listen_holds_nobody_up() -> None:
    with child(DEAF) as deaf:
        assert deaf.receive(20) == "up"
        with pytest.raises(DeadlineExceededError, match="listen"):
            deaf.send(LONG, 0.2)


def test_nor_does_it_when_the_run_is_cancelled() -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.2, cancel.set)
    timer.start()
    with child(DEAF) as deaf, pytest.raises(CancelledError):
        deaf.send(LONG, 60, cancel)
    timer.join()


def test_two_lines_that_come_together_are_two_answers() -> None:
    with child("print('one\\ntwo', flush=True); input()") as quick:
        assert (quick.receive(20), quick.receive(20)) == ("one", "two")


def test_half_a_line_is_kept_until_the_rest_comes() -> None:
    half = "import sys; sys.stdout.write('ha'); sys.stdout.flush(); input(); print('lf', flush=True); input()"
    with child(half) as slow:
        with pytest.raises(DeadlineExceededError):
            slow.receive(0.5)
        slow.send("go", 20)
        assert slow.receive(20) == "half"


def test_a_child_that_cannot_even_be_killed_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it waited inside the kernel: tests/capture/test_stuck.py has a real one."""
    monkeypatch.setattr("owui_vault.system.child_process._KILLED_SECONDS", 0.2)
    stuck = Companion((sys.executable, "-c", DEAF), {})
    kill = stuck._child.kill
    monkeypatch.setattr(stuck._child, "kill", lambda: None)
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="was killed but does not exit"):
        stuck.end()
    assert time.monotonic() - began < 5
    kill()
