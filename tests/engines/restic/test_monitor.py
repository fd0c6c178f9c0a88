"""Whether restic lives or only seems to, told by what it says and what it writes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault.engines.restic.errors import error_for
from owui_vault.engines.restic.monitor import LineMonitor, Monitor, TargetMonitor, TextMonitor, Writer
from owui_vault.engines.restic.output import BackupReader
from owui_vault.errors import DeadlineExceededError, EngineError, RepositoryFullError, RepositoryUnreachableError
from owui_vault.model import Progress, Step
from owui_vault.ports import Call


def impatient(folder: Path, events: list[Progress] | None = None, cancel: threading.Event | None = None) -> Call:
    sink = (events if events is not None else []).append
    return Call(folder=folder, idle_seconds=0.1, timeout_seconds=0.1, progress=sink, cancel=cancel or threading.Event())


def repeat(act: Callable[[int], object], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    for number in itertools.count():
        act(number)
        time.sleep(0.02)
        if time.monotonic() > until:
            return


def test_a_status_that_does_not_move_is_no_life(tmp_path: Path) -> None:
    reader = BackupReader(tmp_path, impatient(tmp_path))
    status = {"message_type": "status", "bytes_done": 5, "files_done": 1}
    with pytest.raises(DeadlineExceededError):
        repeat(lambda seconds: reader.stdout(json.dumps(status | {"seconds_elapsed": seconds})))


def test_a_status_that_moves_is(tmp_path: Path) -> None:
    events: list[Progress] = []
    reader = BackupReader(tmp_path, impatient(tmp_path, events))
    status = {"message_type": "status", "total_bytes": 99}
    repeat(lambda done: reader.stdout(json.dumps(status | {"bytes_done": done})), seconds=0.3)
    assert events[-1].done_bytes > 5
    assert events[-1].total_bytes == 99


def test_why_nothing_moves_is_what_it_complained_of_last(tmp_path: Path) -> None:
    """A disk that is full says so in a complaint, and never moves again."""
    call = replace(impatient(tmp_path), timeout_seconds=60.0)
    stuck = DeadlineExceededError("restic made no progress")
    for complaint, kind in (
        ("no space left on device", RepositoryFullError),
        ("something else", DeadlineExceededError),
    ):
        monitor = Monitor(call)
        monitor.follow(tmp_path / "record", str, lambda line: error_for(1, line, location="nas"))
        monitor.see(1)
        monitor.hear(f"Save(<data/1>) returned error, retrying after 1s: {complaint}")
        assert isinstance(monitor.why(stuck), kind)
        monitor.see(2)
        assert monitor.why(stuck) is stuck, "it goes on"


RETRY = "Load(<data/1>) returned error, retrying after 1s: dial tcp: connect: connection refused"


@pytest.mark.parametrize("kind", [Monitor, LineMonitor])
def test_retries_without_end_are_an_unreachable_repository(tmp_path: Path, kind: type[Monitor]) -> None:
    monitor = kind(impatient(tmp_path))
    with pytest.raises(RepositoryUnreachableError):
        repeat(lambda _: monitor.hear(RETRY))


def test_a_hiccup_after_a_long_standstill_is_no_end(tmp_path: Path) -> None:
    monitor = Monitor(impatient(tmp_path))
    time.sleep(0.2)
    for _ in range(3):
        monitor.hear(RETRY)
    assert_still_patient(monitor)


@pytest.mark.parametrize("kind", [Monitor, LineMonitor])
def test_hiccups_are_forgotten_when_it_goes_on(tmp_path: Path, kind: type[Monitor]) -> None:
    monitor = kind(impatient(tmp_path))
    for number in range(5):
        monitor.hear(RETRY)
        monitor.heard("a line")
        monitor.see(number)
        time.sleep(0.05)
    assert_still_patient(monitor)


def assert_still_patient(monitor: Monitor) -> None:
    monitor.hear(RETRY)  # raises when it is not


def test_what_is_written_is_life_while_all_was_read(tmp_path: Path) -> None:
    """On a slow line the status says the same for as long as a pack takes."""
    program = "import os, time\nwhile True: os.write(1, bytes(100_000)); time.sleep(0.005)"
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as child:
        monitor = watching(tmp_path, child.pid)
        repeat(lambda _: monitor.see(5), seconds=1)
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(DeadlineExceededError):
            repeat(lambda _: monitor.see(5))
        child.kill()


def watching(folder: Path, pid: int) -> Monitor:
    monitor = Monitor(replace(impatient(folder), idle_seconds=0.5))
    (folder / "record").write_text(json.dumps({"pid": pid}))
    monitor.follow(folder / "record", str, EngineError)
    return monitor


def test_what_it_tells_us_is_not_what_it_writes_elsewhere(tmp_path: Path) -> None:
    """In a session of its own: whatever else is in our process group, other tests for one, writes as well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            _count_what_is_written(tmp_path / "record")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert not Writer(tmp_path / "no-such-record").wrote()


def _count_what_is_written(record: Path) -> None:
    record.write_text(json.dumps({"pid": os.getpgrp()}))
    writer = Writer(record)
    writer.wrote()
    with Path(os.devnull).open("wb", buffering=0) as nowhere:
        nowhere.write(b"x" * 200_000)
        writer.heard_bytes += 200_000
        assert not writer.wrote()
        nowhere.write(b"x" * 200_000)
        assert writer.wrote()
        assert not writer.wrote()


def test_the_clock_in_front_of_a_line_is_no_progress(tmp_path: Path) -> None:
    text = TextMonitor(impatient(tmp_path), Step.VERIFY)
    with pytest.raises(DeadlineExceededError):
        repeat(lambda number: text.stdout(f"[0:{number:02}] 25.00%  1 / 4 packs"))


def test_what_a_long_check_prints_is_told(tmp_path: Path) -> None:
    events: list[Progress] = []
    text = TextMonitor(impatient(tmp_path, events), Step.VERIFY)
    for line in (
        "using temporary cache in /state/cache/restic-check-cache-3052168079",
        "create exclusive lock for repository",
        "load indexes",
        "check snapshots, trees and blobs",
        "[0:01] 25.00%  1 / 4 packs",
        "[0:02] 25.00%  1 / 4 packs",
        "[0:03] 50.00%  2 / 4 packs",
        "no errors were found",
    ):
        text.stdout(line)
    assert [event.text for event in events] == ["check snapshots, trees and blobs", "packs 25.00%", "packs 50.00%"]
    assert {event.step for event in events} == {Step.VERIFY}


def test_a_silent_restore_is_watched_by_what_it_writes(tmp_path: Path) -> None:
    events: list[Progress] = []
    monitor = TargetMonitor(tmp_path, impatient(tmp_path, events))
    (tmp_path / "new").write_bytes(b"x" * 100_000)
    monitor.tick()
    assert events[-1] == Progress(step=Step.FETCH, done_bytes=events[-1].done_bytes)
    assert events[-1].done_bytes >= 100_000
    with pytest.raises(DeadlineExceededError):
        repeat(lambda _: monitor.tick())
