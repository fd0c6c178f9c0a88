"""The guardian, spoken to as its run speaks to it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from owui_vault.errors import QuiesceError
from owui_vault.guardian import guardian_main
from owui_vault.guardian.guardian import Guardian, GuardianTask
from owui_vault.guardian.rescue_command import rescue, rescue_environment, with_current_interpreter
from owui_vault.model import InstanceState, Quiesce
from owui_vault.system import procfs
from owui_vault.testing.fakes import FakeInstance, FakeQuiescer
from owui_vault.testing.quiescer_suite import eventually

PROGRAM = Path(guardian_main.__file__)


class Watched:
    """A guardian program, and a fake instance that it guards."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.instance = FakeInstance(folder)
        self.record = folder / "record.json"
        self.record.touch()
        task = {
            "parent": os.getpid(),
            "rescue": FakeQuiescer(folder).rescue_command(Quiesce.PAUSE),
            "environment": rescue_environment(),
            "limit": 60.0,
            "grace": 0.05,
            "record": str(self.record),
            "lock": None,
        } | changes
        lock = task["lock"]
        self.child = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lock,) if isinstance(lock, int) else (),
            start_new_session=True,
        )
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.ears, self.mouth = self.child.stdin, self.child.stdout
        self.say(json.dumps(task))
        assert self.mouth.readline() == b"ready\n"

    def say(self, line: str) -> None:
        self.ears.write(line.encode() + b"\n")
        self.ears.flush()

    def runs(self) -> bool:
        return self.instance.read().state == InstanceState.RUNNING.value

    def close(self) -> int:
        self.ears.close()
        status = self.child.wait(20)
        self.mouth.close()
        return status


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    subject = Watched(tmp_path)
    yield subject
    subject.child.kill()
    subject.child.wait()
    subject.mouth.close()


def test_told_that_all_is_done_it_touches_nothing(watched: Watched) -> None:
    watched.instance.set(InstanceState.PAUSED)
    watched.say("done")
    assert watched.close() == 0
    assert not watched.runs()
    assert watched.record.exists()


def test_at_the_end_of_the_run_it_rescues_and_strikes_the_record(watched: Watched) -> None:
    watched.instance.set(InstanceState.PAUSED)
    assert watched.close() == 0
    assert watched.runs()
    assert not watched.record.exists()


def test_a_request_that_lands_after_the_death_is_undone_too(tmp_path: Path) -> None:
    watched = Watched(tmp_path, grace=1.5)
    watched.ears.close()
    time.sleep(0.7)
    watched.instance.set(InstanceState.PAUSED)
    assert watched.close() == 0
    assert watched.runs()


def test_it_speaks_before_it_wakes(tmp_path: Path) -> None:
    """Whoever read of it only after the way back had taken long would believe what was copied meanwhile."""
    go = tmp_path / "go"
    watched = Watched(tmp_path, rescue=["/bin/sh", "-c", f"until test -e {go}; do sleep 0.01; done"])
    watched.say("held 0.05")
    try:
        assert select.select([watched.mouth], [], [], 20)[0]
        assert watched.mouth.readline() == b"overrun\n"
    finally:
        go.touch()
        watched.say("done")
        assert watched.close() == 0


def test_past_the_limit_it_wakes(watched: Watched) -> None:
    watched.instance.set(InstanceState.PAUSED)
    watched.say("held 0.05")
    assert watched.mouth.readline() == b"overrun\n"
    assert eventually(watched.runs)
    watched.say("done")
    assert watched.close() == 0


def test_it_can_be_told_another_rescue(tmp_path: Path) -> None:
    watched = Watched(tmp_path, rescue=["/bin/false"])
    watched.say("rescue " + json.dumps(FakeQuiescer(tmp_path).rescue_command(Quiesce.PAUSE)))
    assert watched.mouth.readline() == b"understood\n"
    watched.instance.set(InstanceState.PAUSED)
    assert watched.close() == 0
    assert watched.runs()


def test_half_a_line_is_kept_until_the_rest_comes(watched: Watched) -> None:
    watched.ears.write(b"do")
    watched.ears.flush()
    time.sleep(0.05)
    watched.instance.set(InstanceState.PAUSED)
    watched.say("ne")
    assert watched.close() == 0
    assert not watched.runs()


def test_it_tries_until_the_rescue_succeeds(tmp_path: Path) -> None:
    code = "import sys; file = open(sys.argv[1], 'a+'); file.write('.'); sys.exit(file.tell() < 3)"
    counter = tmp_path / "counter"
    counter.write_text("")
    watched = Watched(tmp_path, rescue=[sys.executable, "-c", code, str(counter)], grace=0)
    assert watched.close() == 0
    assert counter.read_text() == "..."
    assert not watched.record.exists()


def test_a_rescue_that_cannot_be_run_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "later"
    watched = Watched(tmp_path, rescue=[str(program)], grace=0, record="")
    watched.ears.close()
    time.sleep(0.3)
    assert watched.child.poll() is None
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    assert watched.child.wait(20) == 0
    watched.mouth.close()


def test_a_rescue_that_hangs_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardian_main, "_PATIENCE_SECONDS", 0.2)
    pids = tmp_path / "pids"
    program = tmp_path / "hangs"
    program.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! > {pids}\nwait\n")
    program.chmod(0o755)
    assert guardian_main._run([str(program)], rescue_environment()) == 1
    me, child = map(int, pids.read_text().split())
    assert procfs.identify(me) is None
    assert eventually(lambda: procfs.identify(child) is None)


def test_a_rescue_that_fails_later_on_leaves_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that lands after our death and cannot be undone is `recover`'s: the record tells it."""
    monkeypatch.setattr(guardian_main, "_TRY_SECONDS", 0.0)
    monkeypatch.setattr(guardian_main, "_PAUSE_SECONDS", 0.01)
    record = tmp_path / "record.json"
    record.touch()
    code = "import sys; file = open(sys.argv[1], 'a+'); file.write('.'); sys.exit(file.tell() > 1)"
    rescue = [sys.executable, "-c", code, str(tmp_path / "counter")]
    task = {"parent": os.getppid(), "rescue": rescue, "environment": {}, "limit": 60.0, "grace": 30.0}
    guardian = guardian_main.Guardian(json.dumps(task | {"record": str(record), "lock": None}).encode())
    assert guardian.parent is not None
    os.close(guardian.parent)
    started = time.monotonic()
    guardian.clean_up()
    assert time.monotonic() - started < 20, "it gave up, and did not wait for the end of its grace"
    assert record.exists()


def test_a_run_that_is_dead_already_cannot_be_watched() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert guardian_main._descriptor_of(child.pid) is None


def test_whoever_has_the_number_of_a_dead_run_is_not_watched() -> None:
    before = set(os.listdir("/proc/self/fd"))
    assert guardian_main._descriptor_of(os.getpid()) is None, "not our parent"
    assert set(os.listdir("/proc/self/fd")) == before, "nothing is left open"


def test_polite_signals_do_not_end_it(watched: Watched) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        watched.child.send_signal(number)
    watched.instance.set(InstanceState.PAUSED)
    assert watched.close() == 0
    assert watched.runs()


def test_the_lock_is_held_until_it_is_gone_and_no_rescue_keeps_it(tmp_path: Path) -> None:
    code = "import os; os.fork() or __import__('time').sleep(3)"  # a rescue that leaves somebody behind
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        watched = Watched(tmp_path, lock=lock.fileno(), rescue=[sys.executable, "-c", code], grace=0.3)
    with (tmp_path / "lock").open("w") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert watched.close() == 0
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_run_that_died_before_it_began_is_no_reason_to_act() -> None:
    child = subprocess.Popen([sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = child.communicate(b'{"half')
    assert (child.returncode, out) == (0, b"")


def test_a_fork_of_the_run_that_keeps_the_pipe_does_not_hide_its_death(tmp_path: Path) -> None:
    instance = FakeInstance(tmp_path)
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from owui_vault.guardian.guardian import Guardian, GuardianTask\n"
        "from owui_vault.testing.fakes import FakeQuiescer\n"
        "from owui_vault.model import Deadline, Quiesce\n"
        "quiescer = FakeQuiescer(Path(sys.argv[1]))\n"
        "rescue = quiescer.rescue_command(Quiesce.PAUSE)\n"
        "guardian = Guardian(GuardianTask(rescue=rescue, limit_seconds=60, grace_seconds=0))\n"
        "quiescer.quiesce(Quiesce.PAUSE, Deadline(1, lambda: 0))\n"
        "child = os.fork()\n"
        "if not child: time.sleep(5)\n"
        "else: print(child, flush=True); os.kill(os.getpid(), 9)\n"
    )
    environment = rescue_environment()
    done = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment, stdout=subprocess.PIPE)
    assert done.stdout is not None
    fork = int(done.stdout.readline())
    assert done.wait() == -signal.SIGKILL
    assert eventually(lambda: instance.read().state == InstanceState.RUNNING.value, 4)
    os.kill(fork, signal.SIGKILL)
    done.stdout.close()


def test_a_guardian_that_cannot_get_ready_is_an_error_before_anything_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "guardian_main.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr("owui_vault.guardian.guardian._PROGRAM", broken)
    with pytest.raises(QuiesceError, match="nothing was changed"):
        Guardian(GuardianTask(rescue=("/bin/true",), limit_seconds=1, grace_seconds=0))


def test_it_stands_quickly() -> None:
    started = time.monotonic()
    guardian = Guardian(GuardianTask(rescue=("/bin/true",), limit_seconds=60, grace_seconds=0))
    took = time.monotonic() - started
    assert guardian.broken() == ""
    guardian.done()
    assert took < 2.0
    assert guardian.broken() != "", "a guardian that is gone guards nothing"


def test_a_rescue_of_an_older_installation_runs_with_todays_interpreter() -> None:
    assert with_current_interpreter(("/old/venv/bin/python", *rescue()[1:], "unit", "x")) == rescue("unit", "x")
    assert with_current_interpreter(("/bin/true", "-m", "something")) == ("/bin/true", "-m", "something")
