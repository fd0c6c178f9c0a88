"""What our pins do to the database of an application that writes and checkpoints by many connections: nothing."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[1] / "programs"
PROCESSES, CONNECTIONS = 4, 2  # eight connections: some share a process, some do not
ROWS = 500


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.executescript(
            "CREATE TABLE message (id INTEGER PRIMARY KEY, chat REAL, text TEXT, amount INTEGER);"
            "CREATE INDEX ix_message_chat ON message (chat);"
            "CREATE INDEX ix_message_text ON message (text, amount);"
            "CREATE TABLE note (id TEXT PRIMARY KEY, value REAL UNIQUE)"
        )
        connection.executemany("INSERT INTO message VALUES (?, ?, 'x', 1)", ((n, n / ROWS) for n in range(ROWS)))
        connection.commit()


@contextmanager
def crowd_at_work(database: Path, seed: random.Random, commits: list[int]) -> Iterator[None]:
    """For the length of the block; `commits` has their number afterwards."""
    argv = [sys.executable, str(PROGRAMS / "crowd.py"), str(database), str(CONNECTIONS)]
    crowd = [
        subprocess.Popen([*argv, str(seed.randrange(1 << 30))], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    try:
        for each in crowd:
            assert each.stdout
            assert each.stdout.readline() == b"ready\n"
        yield
        commits += [int(each.communicate(timeout=120)[0]) for each in crowd]
    finally:
        for each in crowd:
            each.kill()
            each.communicate()
    assert [each.returncode for each in crowd] == [0] * PROCESSES


def full_check(database: Path) -> list[str]:
    """Of the live database itself, by SQLite and by what the writers keep true."""
    with closing(sqlite3.connect(database)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        if connection.execute("SELECT count(*), sum(amount) FROM message").fetchone() != (ROWS, ROWS):
            found.append("a transaction is lost, or half there")
    return found


@pytest.mark.slow
def test_no_pin_harms_a_database_that_eight_connections_write_to_and_checkpoint(
    tmp_path: Path, soak: Callable[[int], int], seed: random.Random, record_property: Callable[[str, object], None]
) -> None:
    """Beside a run of the same length without us, since some SQLites (3.7.0 to 3.51.2) can harm one by themselves."""
    pins = soak(10_000)
    found, commits = {}, {"with us": list[int](), "without us": list[int]()}
    seconds, refused = 0.0, ""
    for way, counted in commits.items():
        database = tmp_path / way / "webui.db"
        database.parent.mkdir()
        make_database(database)
        with crowd_at_work(database, seed, counted):
            if way == "without us":
                time.sleep(seconds)  # as long as the other run took: that is what is compared
            else:
                argv = [sys.executable, str(PROGRAMS / "pin_often.py"), str(database), str(pins)]
                done = subprocess.run([*argv, str(seed.randrange(1 << 30))], capture_output=True, text=True, check=True)
                held, refused, took = done.stdout.split()
                seconds = float(took)
                assert int(held) == pins
        found[way] = full_check(database)
    told = {way: sum(counted) for way, counted in commits.items()}
    measured = {"pins refused": refused, "seconds": round(seconds, 1), "SQLite": sqlite3.sqlite_version}
    for name, value in {**measured, **told}.items():
        record_property(name, value)
    print(pins, "pins", measured, "commits", told, found)  # for whoever runs the full count
    assert all(count > 10 for count in told.values()), told
    assert found["with us"] == ["ok"], found
