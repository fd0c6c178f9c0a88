"""Several databases pinned at one moment."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from owui_vault.capture.classify import Database
from owui_vault.capture.errors import AttemptFailedError
from owui_vault.capture.pin import Pin

PINS = Path(__file__).parent / "programs" / "pins.py"
IN_TURN = """
import sqlite3, sys
pair = [sqlite3.connect(path, isolation_level=None, timeout=10) for path in sys.argv[1:]]
for each in pair:
    each.execute("PRAGMA synchronous=OFF")
print("ready", flush=True)
while True:
    for each in pair:
        each.execute("UPDATE counter SET n = n + 1")
"""


@pytest.mark.slow
def test_two_pins_are_of_one_moment_or_of_none(tmp_path: Path, soak: Callable[[int], int]) -> None:
    """Two read transactions begun one after the other often are not; the one pinned first must not have moved."""
    paths = [tmp_path / "first.db", tmp_path / "second.db"]
    for path in paths:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE counter(n); INSERT INTO counter VALUES (0)")
    with subprocess.Popen([sys.executable, "-c", IN_TURN, *map(str, paths)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        command = [sys.executable, str(PINS), *map(str, paths), str(soak(40))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        writer.kill()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    claimed = [answer for answer in answers if isinstance(answer, list)]
    refused = [answer for answer in answers if isinstance(answer, str)]
    assert claimed
    assert [answer for answer in claimed if answer[0] - answer[1] not in (0, 1)] == []
    assert any("between two pins" in answer for answer in refused)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    with closing(sqlite3.connect(tmp_path / "webui.db")) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE counter(n); INSERT INTO counter VALUES (0)")
    return Database(name="webui.db", real=str(tmp_path / "webui.db"), mode="wal")


@contextmanager
def released(pin: Pin) -> Iterator[Pin]:
    yield pin
    pin.release()


def test_a_database_whose_first_page_is_damaged_cannot_be_pinned(database: Database) -> None:
    """The attempt fails with SQLite's own words, and does not take the capture along."""
    with open(database.real, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 900)
    with released(Pin(database)) as pin, pytest.raises(AttemptFailedError, match=r"webui\.db cannot be pinned: .*malf"):
        pin.hold()


def test_a_pin_is_begun_once(database: Database) -> None:
    """A second transaction on top would not move it to a later moment, so it is refused."""
    with released(Pin(database)) as pin:
        pin.hold()
        with pytest.raises(AttemptFailedError, match=r"webui\.db cannot be pinned: .*within a transaction"):
            pin.hold()


def test_a_watcher_with_a_transaction_of_its_own_is_refused(database: Database) -> None:
    """It would be blind to every commit: equal versions would prove nothing."""
    with released(Pin(database)) as pin:
        version = pin.version()
        with closing(sqlite3.connect(database.real)) as other, other:
            other.execute("UPDATE counter SET n = 1")
        assert pin.version() > version
        assert pin._watcher is not None
        pin._watcher.execute("BEGIN").close()
        with pytest.raises(AssertionError, match="must never hold a transaction"):
            pin.version()
