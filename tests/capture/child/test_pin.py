"""Several databases pinned at one moment."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.sqlite import pin as pins
from owui_vault.capture.child.sqlite.pin import Pin, at_one_moment
from owui_vault.capture.child.sqlite.wal import Commit, last_commit

PINS = Path(__file__).parents[1] / "programs" / "pins.py"
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
        command = [sys.executable, str(PINS), *map(str, paths), str(max(4, soak(40)))]  # seconds
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        writer.kill()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    claimed = [answer for answer in answers if isinstance(answer, list)]
    assert claimed
    assert [answer for answer in claimed if answer[0] - answer[1] not in (0, 1)] == []
    assert answers[-1]["looks"] > 2 * len(claimed)  # so it did happen that they were not


@pytest.fixture
def application(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An application with a database in WAL mode, and something in its log."""
    with closing(sqlite3.connect(tmp_path / "webui.db", isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=100;"
            "CREATE TABLE counter(n); CREATE TABLE filling(b); INSERT INTO counter VALUES (0)"
        )
        yield connection


@pytest.fixture
def make_pin(tmp_path: Path) -> Iterator[Callable[..., Pin]]:
    """`make_pin(growth_bytes)`: the database of `application`, pinned by this process."""
    with ExitStack() as made:

        def make(growth_bytes: int = 1 << 30) -> Pin:
            pin = Pin("webui.db", str(tmp_path / "webui.db"), growth_bytes)
            made.callback(pin.release)
            return pin

        yield make


def commit(application: sqlite3.Connection, times: int) -> None:
    for _ in range(times):
        application.execute("INSERT INTO filling VALUES (zeroblob(9000))")


def brought_in(application: sqlite3.Connection) -> tuple[int, int]:
    """How many frames the log has, and how many of them a checkpoint could bring into the database."""
    _, frames, done = application.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return frames, done


def test_a_database_whose_first_page_is_damaged_cannot_be_pinned(
    application: sqlite3.Connection, make_pin: Callable[..., Pin], tmp_path: Path
) -> None:
    """The attempt fails with SQLite's own words, and does not take the capture along."""
    application.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "webui.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 900)
    with pytest.raises(AttemptFailedError, match=r"webui\.db cannot be pinned: .*malf"):
        make_pin()


def test_a_pin_keeps_the_log_and_lets_the_application_bring_it_in(
    application: sqlite3.Connection, make_pin: Callable[..., Pin]
) -> None:
    """Without turns the whole log would be left for one commit after the pin is gone."""
    pin = make_pin()
    commit(application, 300)
    frames, done = brought_in(application)
    assert done < 100
    pin.follow_if_due()
    later, done = brought_in(application)
    assert (later, done) == (frames, frames)  # nothing of the log is in the way of a checkpoint any more
    commit(application, 300)
    assert brought_in(application)[0] > frames  # and it was not begun anew
    before = pin.commit().frames
    pin.follow_if_due()
    commit(application, 10)
    assert pin.commit().frames > before


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_the_log_holds_all_that_was_changed_since_the_pin(
    application: sqlite3.Connection, make_pin: Callable[..., Pin], turns: int
) -> None:
    """Also where the pin was made as all of it was in the database, and the application began it anew then."""
    commit(application, 50)
    application.execute("PRAGMA wal_checkpoint(RESTART)")
    pin = make_pin()
    first = pin.commit()
    for _ in range(turns):
        commit(application, 400)
        pin.follow_if_due()
        brought_in(application)
    last = pin.commit()
    assert (last.salt != first.salt) == bool(turns)
    assert last.frames >= 400 * turns
    pin.refuse_another_log(last)
    pin.require_held()


def test_a_log_that_was_begun_anew_all_the_same_is_noticed(
    application: sqlite3.Connection, make_pin: Callable[..., Pin], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would be a flaw of the locks; then nothing may be claimed."""
    pin = make_pin()
    commit(application, 300)
    pin.follow_if_due()
    pin._holding.rollback()
    application.execute("PRAGMA wal_checkpoint(RESTART)")
    commit(application, 1)
    with pytest.raises(AttemptFailedError, match="was restarted while it was pinned"):
        at_one_moment([pin])
    with pytest.raises(AttemptFailedError, match="was restarted while it was pinned"):
        pin.require_held()


def test_a_log_that_grows_beyond_the_limit_is_let_go(
    application: sqlite3.Connection, make_pin: Callable[..., Pin]
) -> None:
    """Whatever the rest of the capture is doing: the application must not pay for us with its disk."""
    pin = make_pin(1 << 20)
    commit(application, 50)
    pin.follow_if_due()
    pin.require_held()
    commit(application, 400)
    pin.follow_if_due()
    with pytest.raises(AttemptFailedError, match=r"the WAL of webui\.db grew beyond the limit"):
        pin.require_held()
    pin.follow_if_due()
    assert application.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0


def test_an_index_that_cannot_be_read_is_no_pin(
    application: sqlite3.Connection, make_pin: Callable[..., Pin], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that was frozen while it changed it, for one."""
    pin = make_pin()
    commit(application, 300)
    seen = pin._seen
    monkeypatch.setattr(pins, "last_commit", lambda _: None)
    with pytest.raises(AttemptFailedError, match="its WAL index cannot be read"):
        make_pin()
    with pytest.raises(AttemptFailedError, match="its WAL index cannot be read"):
        at_one_moment([pin])
    pin.follow_if_due()
    assert pin._seen is seen
    monkeypatch.setattr(pins, "last_commit", FlickeringLook(last_commit, readable=1))
    pin.follow_if_due()  # it could be read when the turn was decided on, and not after it had begun
    assert pin._seen is seen
    assert not pin._spare.in_transaction
    monkeypatch.undo()
    pin.follow_if_due()
    assert pin._seen is not seen


class FlickeringLook:
    """The real look, a few times; nothing to be seen after that."""

    def __init__(self, look: Callable[[int], Commit | None], readable: int) -> None:
        self.look, self.readable = look, readable

    def __call__(self, index: int) -> Commit | None:
        self.readable -= 1
        return self.look(index) if self.readable >= 0 else None


def test_a_database_written_to_between_the_two_looks_is_of_no_moment(
    application: sqlite3.Connection, make_pin: Callable[..., Pin], monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = make_pin()
    monkeypatch.setattr(Pin, "begin_reference", lambda _: commit(application, 1))
    with pytest.raises(AttemptFailedError, match=r"webui\.db was written to between two pins"):
        at_one_moment([pin])


@pytest.mark.parametrize(("counted_bytes", "statement"), [(1 << 30, "count(*)"), (0, "max(rowid)")])
def test_the_testimony_is_of_the_moment(
    application: sqlite3.Connection,
    make_pin: Callable[..., Pin],
    monkeypatch: pytest.MonkeyPatch,
    counted_bytes: int,
    statement: str,
) -> None:
    monkeypatch.setattr(pins, "_COUNT_IN_PIN_BYTES", counted_bytes)
    pin = make_pin()
    commit(application, 3)
    _, (moment,) = at_one_moment([pin])
    commit(application, 4)
    told = pin.reference_answers()
    assert told[f'SELECT {statement} FROM "filling"'] == "[(3,)]"
    assert told["PRAGMA page_count"] == f"[({moment.pages},)]"
    pin.end_reference()
    assert pin.commit().change == moment.change + 4


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_pin_that_cannot_be_made_leaves_nothing_open(
    application: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A descriptor of the database that is closed later would take the next pin's locks with it."""
    connect, left = sqlite3.connect, [number]

    def fail_at(*arguments: Any, **options: Any) -> sqlite3.Connection:
        left[0] -= 1
        if not left[0]:
            raise sqlite3.OperationalError("unable to open database file")
        made.append(connect(*arguments, **options))
        return made[-1]

    def indexes() -> int:
        paths = (Path(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd"))
        return sum(os.path.realpath(path).endswith("webui.db-shm") for path in paths)

    made: list[sqlite3.Connection] = []
    before = indexes()
    monkeypatch.setattr(sqlite3, "connect", fail_at)
    with pytest.raises(sqlite3.OperationalError):
        Pin("webui.db", str(tmp_path / "webui.db"), 1 << 30)
    assert indexes() == before
    for each in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            each.execute("SELECT 1")
