"""Several databases pinned at one moment."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

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
