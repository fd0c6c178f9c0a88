"""The child that captures: what it may hold, and where it may be started from."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child import main as helpers
from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.main import Helper
from owui_vault.capture.child_client import _START, Session
from owui_vault.errors import CancelledError, CaptureError
from owui_vault.model import NEVER, CaptureLimits, Findings, Proof, Quiesce, ignore_progress
from owui_vault.system.python import interpreter

PACKAGE = Path(__file__).parents[2] / "owui_vault"


def open_files(process: int) -> list[str]:
    return [str(each.readlink()) for each in Path(f"/proc/{process}/fd").iterdir()]


def children(process: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_the_process_with_the_pin_has_no_descriptor_but_those_of_sqlite(site: Any) -> None:
    """A raw descriptor of a pinned database, opened and closed, would drop the pin without a word."""
    site.build()
    application = site.run(rest_seconds=-1)
    session = Session(site.plan(), CaptureLimits(reserve_bytes=0), ignore_progress, NEVER)
    try:
        session.ask("prepare", seconds=10, pin=True, copy_seconds=10)
        (pinner,) = children(session.pid)
        held = open_files(pinner)
        # Three connections: one that holds, one to follow it, and a witness; and the index once more.
        database, index, log = (str(site.data / f"webui.db{suffix}") for suffix in ("", "-shm", "-wal"))
        ours = sorted(name for name in held if name.startswith(str(site.data)))
        assert ours == sorted([*3 * [database], *2 * [index], log])
        strangers = [each for each in held if not each.startswith((str(site.data), "/dev/null", "socket:"))]
        assert [each for each in strangers if not each.startswith("/memfd:complaints")] == []
        assert len(strangers) <= 1
        session.ask("attempt", seconds=5, frozen=False, held=False, patience_seconds=0.0, pin=True)
        assert sorted(open_files(pinner)) == sorted([*held, log])  # the witness opened it when it was asked
        assert not [name for name in open_files(session.pid) if name.startswith(str(site.data))]
        session.ask("finish", seconds=60)
        assert children(session.pid) == []
    finally:
        session.end()
    assert application.child.poll() is None


def test_the_child_has_no_descriptor_but_its_own(site: Any) -> None:
    site.build()
    site.run(rest_seconds=-1)
    session = Session(site.plan(), CaptureLimits(reserve_bytes=0), ignore_progress, NEVER)
    try:
        session.ask("prepare", seconds=10, pin=True, copy_seconds=10)
        session.ask("attempt", seconds=5, frozen=False, held=False, patience_seconds=0.0, pin=True)
        tree = f"{site.work}/stage/data"  # itself, and the folder in it that was written to last
        expected = ("pipe:", "socket:", "/memfd:complaints", tree, f"{site.work}/capture/probe")
        assert [each for each in open_files(session.pid) if not each.startswith(expected)] == []
        assert len(open_files(session.pid)) <= 7
    finally:
        session.end()


def test_the_pin_is_seen_by_a_checkpoint_of_the_application(site: Any) -> None:
    """As long as it is held, nobody can reset the log under it."""
    site.build()
    site.run(rest_seconds=-1)
    session = Session(site.plan(), CaptureLimits(reserve_bytes=0), ignore_progress, NEVER)
    checkpoint = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None); "
    checkpoint += (
        "c.execute('UPDATE counter SET n = 77'); print(c.execute('PRAGMA wal_checkpoint(RESTART)').fetchone()[0])"
    )
    command = [sys.executable, "-c", checkpoint, str(site.data / "webui.db")]
    try:
        session.ask("prepare", seconds=10, pin=True, copy_seconds=10)
        session.ask("attempt", seconds=5, frozen=False, held=False, patience_seconds=0.0, pin=True)
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
        session.ask("finish", seconds=60)
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"
    finally:
        session.end()


def test_a_child_with_foreign_descriptors_refuses_to_start() -> None:
    reader, writer = os.pipe()
    argv = [interpreter(), "-I", "-S", "-c", _START, str(PACKAGE), str(os.getpid())]
    done = subprocess.run(
        argv, pass_fds=(reader,), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    os.close(reader)
    os.close(writer)
    assert done.returncode == 1
    assert "unexpected file descriptors" in done.stderr


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    argv = [interpreter(), "-I", "-S", "-c", _START, str(PACKAGE), "1"]
    assert subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 1


def test_it_works_from_anywhere(site: Any, tmp_path: Path) -> None:
    """From a directory full of traps, with a package path of its own, with an odd locale, and with -O."""
    site.build()
    for name in ("json.py", "sqlite3.py", "owui_vault.py", "sitecustomize.py"):
        (tmp_path / "traps").mkdir(exist_ok=True)
        (tmp_path / "traps" / name).write_text("raise SystemExit('a trap')")
    program = f"""
import sys
sys.path.insert(0, {str(PACKAGE.parent)!r})
from pathlib import Path
from owui_vault.capture import take_instant
from owui_vault.model import *
from owui_vault.system.clock import SystemClock
plan = CapturePlan(data_dir=Path({str(site.data)!r}), work_dir=Path({str(site.work)!r}), databases=("webui.db",))
import os
os.chdir({str(tmp_path / "traps")!r})
os.environ["PYTHONPATH"] = "."
captured = take_instant(plan, mode=Quiesce.LIVE, quiet=None, examine=lambda _: Findings(), clock=SystemClock(),
    limits=CaptureLimits(reserve_bytes=0))
print(captured.proof.mode.value)
"""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-I", "-O", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("live\n", "")


def test_two_captures_in_two_threads_do_not_meet(
    make_site: Callable[[Path], Any], tmp_path: Path, find_contradictions: Callable[..., list[str]]
) -> None:
    """In one process two vaults share nothing: a pin of one is never dropped by the other."""
    sites = [make_site(tmp_path / name).build(filling=50) for name in ("one", "two")]
    found: list[str] = []

    def capture(site: Any) -> None:
        for _ in range(8):
            captured = site.take(Quiesce.AUTO, quiet=site.quiet())
            found.extend(find_contradictions(site, captured))
            assert captured.proof.mode in (Proof.LIVE, Proof.PAUSE)

    for site in sites:
        site.run(rest_seconds=0.1)
    threads = [threading.Thread(target=capture, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == []


def test_a_cancelled_capture_ends_at_once_and_leaves_nothing(site: Any) -> None:
    site.build()
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        site.take(cancel=cancel)
    assert list(site.work.iterdir()) == []


def test_a_child_that_dies_is_an_error_with_a_reason(site: Any) -> None:
    site.build()

    def kill_the_child(_tree: Path) -> Findings:
        for line in Path("/proc/self/task").glob("*/children"):
            for process in line.read_text().split():
                os.kill(int(process), signal.SIGKILL)
        return Findings()

    with pytest.raises(CaptureError, match="unexpectedly"):
        site.take(examine=kill_the_child)
    assert list(site.work.iterdir()) == []


def test_a_data_directory_that_is_gone_is_an_error_with_a_reason(site: Any) -> None:
    with pytest.raises(CaptureError, match="vanished"):
        site.take()
    assert list(site.work.iterdir()) == []


def test_a_child_that_does_not_answer_in_time_fails_the_attempt(site: Any) -> None:
    """What it says later would answer another question, so it is not asked again."""
    site.build()
    session = Session(site.plan(), CaptureLimits(reserve_bytes=0), ignore_progress, NEVER)
    try:
        os.kill(session.pid, signal.SIGSTOP)
        with pytest.raises(AttemptFailedError, match="did not finish `prepare` in time"):
            session.ask("prepare", seconds=-1.4, pin=True, copy_seconds=10)
        assert not session.obeys
    finally:
        session.end()


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OSError(errno.ENOSPC, "No space left", "/srv/stage"), {"no_room": "/srv/stage: No space left"}),
        (OSError(errno.EDQUOT, "Quota exceeded"), {"no_room": "the disk: Quota exceeded"}),
        (OSError(errno.EIO, "I/O error", "/srv/stage"), {"failed": "/srv/stage: I/O error"}),
        (sqlite3.OperationalError("unable to open database file"), {"failed": "unable to open database file"}),
    ],
    ids=["full", "quota", "broken", "gone"],
)
def test_a_disk_that_fails_is_told_to_the_parent_and_the_child_goes_on(
    site: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    answer: dict[str, str],
) -> None:
    """A full one is told apart: there the operator can help."""
    site.build()

    def obey(_: Helper, message: dict[str, object]) -> dict[str, object]:
        if message["do"] == "seal":
            raise error
        return {"did": message["do"]}

    alarms: list[float] = []
    monkeypatch.setattr(Helper, "obey", obey)
    monkeypatch.setattr(helpers, "die_with_parent", lambda _: None)
    monkeypatch.setattr(helpers, "refuse_foreign_descriptors", lambda: None)
    monkeypatch.setattr(signal, "setitimer", lambda _, seconds: alarms.append(seconds))
    job: dict[str, object] = {key: [] for key in ("databases", "write_once", "links", "exclude", "include")}
    job |= {"data_dir": str(site.data), "work_dir": str(site.work), "reserve_bytes": 0, "wal_growth_bytes": 0}
    messages = [{"do": "seal", "seconds": 5, "job": job}, {"do": "finish", "seconds": 7}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(each) + "\n" for each in messages)))
    assert helpers.main(os.getppid()) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [answer, {"did": "finish"}]
    assert alarms[::2] == [5 + 30, 7 + 30]
    assert min(alarms[1::2]) > 3600
