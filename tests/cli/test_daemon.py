"""The loop of `daemon`, on a clock of its own and as the program runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from owui_vault.cli.daemon import Around, DaemonReport, loop

Program = Any  # the class of that name in conftest.py
ROOT = Path(__file__).resolve().parents[2]
PLANS = """\
plans:
  often: {schedule: {every: 1h}, prune: false}
"""


class Wall:
    """A clock that can be set, and that only waiting moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 12, 1, 2, 59, 10, tzinfo=UTC)
        self.seconds = 0.0
        self.jumps: dict[int, timedelta] = {}
        self.waits = 0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.time += timedelta(seconds=seconds)


class Call:
    """A call that ends at once, with these words."""

    pid = 4711

    def __init__(self, status: int, words: Sequence[str]) -> None:
        self.status = status
        self.words = list(words)

    def poll(self) -> int | None:
        return self.status

    def lines(self, *, to_the_end: bool = False) -> Iterator[str]:
        while self.words:
            yield self.words.pop(0)

    def ask_to_end(self) -> None:
        raise AssertionError("it has ended")


class World:
    """What the loop works with: `outcomes` says how each call ends, by its number."""

    def __init__(self, outcome: Callable[[int], tuple[int, Sequence[str]]] = lambda _: (0, ())) -> None:
        self.wall = Wall()
        self.outcome = outcome
        self.calls: list[tuple[str, datetime]] = []
        self.said: list[str] = []

    def start(self, command: str) -> Call:
        self.calls.append((command, self.wall.time))
        return Call(*self.outcome(len(self.calls) - 1))

    def run(self, waits: int) -> DaemonReport:
        def wait(seconds: float) -> bool:
            self.wall.waits += 1
            assert 0 < seconds <= 30
            self.wall.sleep(seconds)
            self.wall.time += self.wall.jumps.get(self.wall.waits, timedelta())
            return self.wall.waits >= waits

        return loop(Around(clock=self.wall, start=self.start, wait=wait, beat=lambda _: None, say=self.said.append))

    @property
    def minutes(self) -> list[str]:
        return [f"{at:%d %H:%M}" for command, at in self.calls if command == "run"]


def test_it_recovers_first_and_then_calls_run_once_in_every_minute() -> None:
    world = World()
    assert world.run(8) == DaemonReport(calls=4, failed=0)
    assert world.calls[0][0] == "recover"
    assert world.minutes == ["01 02:59", "01 03:00", "01 03:01", "01 03:02"]


@pytest.mark.parametrize(
    ("jump", "following"),
    [
        pytest.param(timedelta(hours=9), "01 12:00", id="a laptop that slept"),
        pytest.param(timedelta(days=-3), "28 03:00", id="a clock that is set back"),
        pytest.param(timedelta(days=400), "05 03:00", id="a clock that runs ahead"),
    ],
)
def test_a_clock_that_jumps_is_seen_at_the_next_look(jump: timedelta, following: str) -> None:
    world = World()
    world.wall.jumps[2] = jump  # the second look would be at 3:00
    world.run(3)
    assert world.minutes[:2] == ["01 02:59", following]


def test_what_fails_in_the_same_words_is_told_at_once_and_then_each_hour() -> None:
    broken = (2, ["owui-vault: vault.yaml is wrong", "hint: mend it"])
    world = World(lambda number: (0, ()) if number == 0 else broken)
    report = world.run(2 * 125)
    assert report.failed == report.calls > 120
    assert world.said == broken[1] * 3


def test_other_words_are_told_at_once_and_the_same_ones_again_after_a_success() -> None:
    answers: list[tuple[int, Sequence[str]]] = [
        (0, ()),
        (2, ["a", "b"]),
        (2, ["a", "b"]),
        (2, ["a", "c"]),
        (0, ["w"]),
        (2, ["a", "c"]),
    ]
    world = World(lambda number: answers[number] if number < len(answers) else (0, ()))
    world.run(12)
    assert world.said == ["a", "b", "a", "c", "w", "a", "c"]


def test_a_run_that_is_killed_is_told() -> None:
    world = World(lambda number: (-9, ()) if number == 1 else (0, ()))
    world.run(3)
    assert world.said == ["owui-vault: `run` was killed by signal 9"]


@pytest.fixture
def planned(vault: Program) -> Program:
    vault.configure((vault.folder / "vault.yaml").read_text() + PLANS)
    return vault


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def history(vault: Program) -> list[tuple[str, str]]:
    return [(each["plan"], each["outcome"]) for each in vault.json("history")["runs"]]


def ended(vault: Program) -> bool:
    ledger = vault.folder / "state/instances/open-webui/runs.jsonl"
    return ledger.exists() and "run-ended" in ledger.read_text()


@pytest.mark.slow
def test_two_daemons_by_mistake_do_what_is_due_once_and_end_politely(planned: Program) -> None:
    both = [planned.start("daemon") for _ in range(2)]
    wait_for(lambda: ended(planned))
    time.sleep(0.5)  # the other one would begin now
    for each, number in zip(both, (signal.SIGTERM, signal.SIGINT), strict=True):
        each.send_signal(number)
    said = [each.communicate(timeout=60) for each in both]
    assert [each.returncode in (0, 128 + number) for each, number in zip(both, (15, 2), strict=True)] == [True, True]
    assert history(planned) == [("often", "success")]
    assert "".join(out for out, _ in said).count("often: success") == 1


@pytest.mark.slow
def test_a_run_under_way_is_broken_off_cleanly_and_done_by_the_next_daemon(planned: Program) -> None:
    before = (planned.folder / "vault.yaml").read_text()
    engine = before.partition("program: ")[2].partition(",")[0]
    waiting = planned.folder / "waiting"
    script = planned.folder / "slow-engine"
    script.write_text(
        f'#!/bin/sh\nfor word; do [ "$word" = backup ] && touch {waiting} && exec sleep 60; done\nexec {engine} "$@"\n'
    )
    script.chmod(0o755)
    planned.configure(before.replace(engine, str(script)))
    child = planned.start("--json", "daemon")
    wait_for(waiting.exists)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 143, err
    report = json.loads(out)
    assert (report["format"], report["calls"], report["interrupted"]) == (1, 1, 143)
    assert history(planned) == [("often", "failed")]
    assert planned.run("recover").returncode == 0


@pytest.mark.slow
def test_a_configuration_that_is_wrong_is_told_and_counts_once_it_is_mended(planned: Program) -> None:
    good = (planned.folder / "vault.yaml").read_text()
    planned.configure(good + "nonsense: 1\n")
    child = planned.start("daemon")
    try:
        assert child.stderr is not None
        assert "nonsense" in child.stderr.readline()
        planned.configure(good)
        wait_for(lambda: ended(planned), 120)  # a minute passes
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert history(planned) == [("often", "success")]


@pytest.mark.slow
def test_systemd_hears_that_it_is_up_that_it_lives_and_that_it_ends(planned: Program, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(60)
        environ = {**planned.environ(None), "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        argv = [sys.executable, "-m", "owui_vault", "daemon"]
        with subprocess.Popen(argv, cwd=planned.folder, env=environ, stdout=subprocess.DEVNULL) as child:
            assert channel.recv(100) == b"READY=1"
            wait_for(lambda: ended(planned))
            heard = channel.recv(100)
            assert heard == b"WATCHDOG=1"
            child.terminate()
            while b"STOPPING=1" not in heard:
                heard = channel.recv(100)
            assert child.wait(60) in (0, 143)


@pytest.mark.slow
@pytest.mark.root
def test_as_the_first_process_it_collects_what_others_leave_behind(planned: Program) -> None:
    """As in a container without an init: what `exec` started and left would stay as a zombie for ever."""
    daemon = f"sh -c 'sleep 2 &'; exec {sys.executable} -m owui_vault --config vault.yaml daemon"
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", daemon]
    environment = planned.environ({"PYTHONPATH": str(ROOT)})
    with subprocess.Popen(argv, cwd=planned.folder, env=environment, stdout=subprocess.DEVNULL) as holder:
        wait_for(lambda: ended(planned))
        (first,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()

        def orphans() -> list[str]:
            left = Path(f"/proc/{first}/task/{first}/children").read_text().split()
            return [each for each in left if "(sleep)" in Path(f"/proc/{each}/stat").read_text()]

        wait_for(lambda: not orphans(), 40)
        os.kill(int(first), signal.SIGTERM)
        assert holder.wait(60) in (0, 143)
