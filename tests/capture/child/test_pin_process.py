"""The talk between the child and the process that holds its pins."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.sqlite import pin as pins
from owui_vault.capture.child.sqlite import pin_process as pinning
from owui_vault.capture.child.sqlite.pin_process import Pinner, PinnerGoneError, serve

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def application(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "webui.db", isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE filling(b); INSERT INTO filling VALUES (1)"
        )
        yield connection


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """`ask(deed, ...)`: what `serve`, in a thread of this process, answers."""
    ours, theirs = socket.socketpair()
    server = threading.Thread(target=serve, args=(theirs, 1 << 30))
    server.start()
    with ours, ours.makefile("r") as lines:

        def asked(deed: str, **details: object) -> dict[str, Any]:
            ours.sendall(json.dumps({"do": deed, **details}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(lines.readline())
            return answer

        yield asked
    server.join(timeout=10)
    assert not server.is_alive()
    theirs.close()


@pytest.fixture
def pinner() -> Iterator[Pinner]:
    """Made before this process opens a database: SQLite's own memory of one must not come along with a fork."""
    made = Pinner(1 << 30)
    yield made
    made.end()


def test_a_moment_and_what_was_so_then(ask: Ask, application: sqlite3.Connection, tmp_path: Path) -> None:
    assert ask("pin", name="webui.db", real=str(tmp_path / "webui.db")) == {}
    told = ask("moment", names=["webui.db"])
    assert abs(told["at_ns"] - time.time_ns()) < 60e9
    (each,) = told["commits"]
    assert (each["name"], each["commit"]["page_bytes"]) == ("webui.db", 4096)
    application.execute("INSERT INTO filling VALUES (2)")
    assert ask("testimony", name="webui.db")["told"]['SELECT count(*) FROM "filling"'] == "[(1,)]"
    assert ask("moment", names=["webui.db"])["commits"][0]["commit"]["change"] == each["commit"]["change"] + 1
    assert ask("dismiss") == {}
    assert ask("demand", name="webui.db") == {}
    assert application.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 1
    assert ask("release", name="webui.db") == {}
    assert application.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0


def test_a_database_that_is_gone_is_an_answer(ask: Ask, tmp_path: Path) -> None:
    assert "No such file" in ask("pin", name="webui.db", real=str(tmp_path / "gone.db"))["failed"]
    (tmp_path / "text.db").write_bytes(b"x" * 9000)
    (tmp_path / "text.db-shm").write_bytes(b"")
    assert "webui.db cannot be pinned" in ask("pin", name="webui.db", real=str(tmp_path / "text.db"))["failed"]


def test_turns_are_taken_while_nobody_asks(ask: Ask, application: sqlite3.Connection, tmp_path: Path) -> None:
    """The application can bring in all that it wrote before the last of them, which is never long ago."""
    ask("pin", name="webui.db", real=str(tmp_path / "webui.db"))
    application.execute("PRAGMA wal_autocheckpoint=0")
    for _ in range(5):
        application.execute("INSERT INTO filling VALUES (zeroblob(1600000))")
    until = time.monotonic() + 10
    frames, done = 1000, 0
    while frames - done >= pins._FRAMES_PER_TURN and time.monotonic() < until:
        time.sleep(0.05)
        _, frames, done = application.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert frames > 1500
    assert frames - done < pins._FRAMES_PER_TURN


def test_a_mistake_of_ours_is_no_answer() -> None:
    with pytest.raises(AssertionError, match="nobody can fly"):
        pinning.Pins(0).obey({"do": "fly"})


def test_the_process_ends_with_its_channel(pinner: Pinner, application: sqlite3.Connection, tmp_path: Path) -> None:
    pinner.pin("webui.db", str(tmp_path / "webui.db"))
    with pytest.raises(AttemptFailedError, match="No such file"):
        pinner.pin("other.db", str(tmp_path / "other.db"))
    assert pinner.at_one_moment(["webui.db"])[1]["webui.db"].pages > 0
    pinner.end_reference()
    other = Pinner(0)
    pid = other.pid
    other.end()
    assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_was_killed_is_told_of(pinner: Pinner, application: sqlite3.Connection, tmp_path: Path) -> None:
    """Whatever it held is not held any more, so nothing may go on."""
    pinner.pin("webui.db", str(tmp_path / "webui.db"))
    os.kill(pinner.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(PinnerGoneError, match="the process pinning the databases is gone: status -9"):
            pinner.require_held("webui.db")
    assert application.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0


def test_the_process_keeps_nothing_that_came_with_the_fork(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A descriptor of a database among them would take all pins with it when it is closed later."""
    closed: list[int] = []
    served: list[int] = []
    for name in ("dup2", "close"):
        monkeypatch.setattr(os, name, lambda first, second=None: closed.append(first) if second is None else None)
    monkeypatch.setattr(os, "_exit", lambda _: None)
    monkeypatch.setattr(pinning, "die_with_parent", lambda _: None)
    monkeypatch.setattr(socket, "socket", lambda fileno: fileno)
    monkeypatch.setattr(pinning, "serve", lambda channel, _: served.append(channel))
    here = [int(each) for each in os.listdir("/proc/self/fd")]
    pinning._become(7, 1, 0)
    monkeypatch.undo()
    assert served == [3]
    assert {each for each in here if each > 3} - {max(here)} <= set(closed)
    assert min(closed) > 3


def test_what_was_not_foreseen_is_the_answer(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With what it was, and with a traceback where the child complains; nothing of it is taken for an end in order."""

    def stumble(*_: object) -> None:
        raise ValueError("seven is not eight")

    monkeypatch.setattr(pinning.Pins, "obey", stumble)
    made = Pinner(1 << 30)
    for _ in range(2):
        with pytest.raises(PinnerGoneError, match="ValueError: seven is not eight"):
            made.require_held("webui.db")
    made.end()
    assert "Traceback" in capfd.readouterr().err


@pytest.fixture
def stumbling(monkeypatch: pytest.MonkeyPatch) -> Pinner:
    """One that makes a mistake as soon as it holds something and looks after it."""

    def stumble(_: object) -> None:
        raise KeyError("salt")

    monkeypatch.setattr(pins.Pin, "follow_if_due", stumble)
    return Pinner(1 << 30)


def test_so_it_is_when_it_happened_while_nobody_asked(
    stumbling: Pinner, application: sqlite3.Connection, tmp_path: Path
) -> None:
    stumbling.pin("webui.db", str(tmp_path / "webui.db"))
    with pytest.raises(PinnerGoneError, match="KeyError: 'salt'"):
        stumbling.require_held("webui.db")
    stumbling.end()


def test_a_disk_that_fails_while_turns_are_taken_costs_that_database_only(
    monkeypatch: pytest.MonkeyPatch, ask: Ask, application: sqlite3.Connection, tmp_path: Path
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    ask("pin", name="webui.db", real=str(tmp_path / "webui.db"))
    monkeypatch.setattr(pins, "last_commit", fail)
    assert ask("demand", name="webui.db")["failed"] == (
        "webui.db can no longer be pinned: [Errno 5] Input/output error"
    )
    monkeypatch.undo()
    assert application.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
    assert ask("release", name="webui.db") == {}


def test_a_process_that_does_not_answer_is_ended(
    pinner: Pinner, application: sqlite3.Connection, tmp_path: Path
) -> None:
    pinner.pin("webui.db", str(tmp_path / "webui.db"))
    pinner._channel.settimeout(0.3)
    os.kill(pinner.pid, signal.SIGSTOP)
    with pytest.raises(PinnerGoneError, match="it does not answer"):
        pinner.require_held("webui.db")
    assert application.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
