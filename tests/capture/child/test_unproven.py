"""What is stored without proof: every database and every file that can be had, whatever gets in the way."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child import unproven as gathering
from owui_vault.capture.child.databases import RawCopies
from owui_vault.capture.child.errors import AttemptFailedError, SourceChangedError
from owui_vault.capture.child.fences import Fences
from owui_vault.capture.child.main import Helper, job_from
from owui_vault.capture.child.sqlite.pin_process import Pinner

AtEachLook = Callable[[Callable[[int], object]], list[int]]

WEBUI, CHROMA = "webui.db", "vector_db/chroma.sqlite3"
INDEX = "vector_db/segment/header.bin"
ATTEMPT = {"do": "attempt", "seconds": 2.0, "frozen": False, "held": True, "patience_seconds": 0.0, "pin": True}
GATHER = {"do": "gather", "seconds": 10.0, "patience_seconds": 0.0}
FINISH = {"do": "finish", "seconds": 10}
HOLDS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")
connection.execute("BEGIN " + sys.argv[2])
connection.execute("UPDATE filling SET b = zeroblob(3000)")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def make_helper(site: Any) -> Iterator[Callable[[], Helper]]:
    """`make_helper()`: the child's deeds on this site, prepared, in this process."""

    def make() -> Helper:
        nothing: dict[str, object] = {key: [] for key in ("links", "mounted", "exclude", "include", "processes")}
        places = {"data_dir": str(site.data), "work_dir": str(site.work), "databases": [WEBUI, CHROMA]}
        limits = {"write_once": ["uploads"], "reserve_bytes": 0, "wal_growth_bytes": 1 << 30}
        helper = Helper(job_from({"job": {**nothing, **places, **limits}}))
        made.callback(helper.pinned.end)
        helper.obey({"do": "prepare", "seconds": 10, "pin": True, "copy_seconds": 10})
        return helper

    with ExitStack() as made:
        yield make


@contextmanager
def in_a_transaction(path: Path, kind: str) -> Iterator[None]:
    command = [sys.executable, "-c", HOLDS, str(path), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()


def rows(helper: Helper, statement: str) -> list[Any]:
    """Ask a copy of the application's database; what lies beside it is taken into account."""
    with closing(sqlite3.connect(helper.writer.place(WEBUI))) as connection:
        return connection.execute(statement).fetchall()


def held(helper: Helper) -> list[str]:
    """Which files of the live data the process with the pins has open."""
    pinner = helper.pinned.process()
    links = [str(each.readlink()) for each in Path(f"/proc/{pinner}/fd").iterdir()] if pinner else []
    return sorted({link for link in links if link.startswith(f"{helper.job.data_dir}/")})


def finished(helper: Helper) -> Any:
    """What is known of the first database at the end."""
    databases = helper.obey(FINISH)["databases"]
    assert isinstance(databases, list)
    return databases[0]


def never_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's database changes during each copy of it that must be whole."""
    take = RawCopies.take

    def refuse(self: RawCopies, database: Any, mark: Any, *, once: bool = False) -> None:
        if database.name == WEBUI and not once:
            raise SourceChangedError(WEBUI)
        take(self, database, mark, once=once)

    monkeypatch.setattr(RawCopies, "take", refuse)


def test_what_is_pinned_is_held_until_it_is_copied(site: Any, make_helper: Callable[[], Helper]) -> None:
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()
    helper.obey(GATHER)
    assert held(helper) == [str(site.data / f"{WEBUI}{suffix}") for suffix in ("", "-shm", "-wal")]
    assert finished(helper)["pinned"]
    assert held(helper) == []


def test_a_second_name_of_a_pinned_database_is_a_file_like_any_other(
    site: Any, make_helper: Callable[[], Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it has no locks to lose."""
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()
    (site.data / "uploads" / "second").hardlink_to(site.data / WEBUI)
    assert helper.obey(GATHER)["torn"] == []
    assert finished(helper)["pinned"]
    assert (Path(helper.writer.place("uploads/second"))).stat().st_size == (site.data / WEBUI).stat().st_size


def test_a_database_that_cannot_be_pinned_is_copied_with_its_log(
    site: Any, make_helper: Callable[[], Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build("wal")
    site.run(rest_seconds=-1)

    def fail(*_: object) -> None:
        raise AttemptFailedError("webui.db cannot be pinned: database disk image is malformed")

    monkeypatch.setattr(Pinner, "pin", fail)
    helper = make_helper()
    assert helper.obey({**GATHER, "patience_seconds": 2.0})["torn"] == []
    assert held(helper) == []
    assert not finished(helper)["pinned"]
    assert Path(helper.writer.place(f"{WEBUI}-wal")).stat().st_size > 0
    assert rows(helper, "SELECT n FROM counter") == [(1,)]


def test_a_database_of_no_known_moment_is_let_go_and_copied(
    site: Any, make_helper: Callable[[], Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()

    def fail(*_: object) -> None:
        raise AttemptFailedError("webui.db was written to between two pins")

    monkeypatch.setattr(Pinner, "at_one_moment", fail)
    assert helper.obey({**GATHER, "patience_seconds": 2.0})["torn"] == []
    assert held(helper) == []
    assert not finished(helper)["pinned"]
    assert rows(helper, "SELECT n FROM counter") == [(1,)]


def test_a_database_stays_pinned_when_its_application_is_gone(site: Any, make_helper: Callable[[], Helper]) -> None:
    """Between an attempt and the gathering: it is as exact as before."""
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()
    helper.obey(ATTEMPT)
    for writer in site.writers:
        writer.end()
    assert helper.obey({**GATHER, "patience_seconds": 2.0})["torn"] == []
    assert finished(helper)["pinned"]
    assert rows(helper, "SELECT n FROM counter") == [(1,)]


def test_a_database_that_was_replaced_is_copied_anew(site: Any, make_helper: Callable[[], Helper]) -> None:
    site.build("wal")
    site.run(rest_seconds=-1)
    helper = make_helper()
    for writer in site.writers:
        writer.end()
    with closing(sqlite3.connect(site.data.parent / "new")) as other:
        other.executescript("CREATE TABLE counter(n); INSERT INTO counter VALUES (77)")
    (site.data.parent / "new").rename(site.data / WEBUI)
    for suffix in ("-wal", "-shm"):
        (site.data / f"{WEBUI}{suffix}").unlink()
    assert helper.obey({**GATHER, "patience_seconds": 2.0})["torn"] == []
    assert not finished(helper)["pinned"]
    assert rows(helper, "SELECT n FROM counter") == [(77,)]


def test_what_never_rests_is_copied_in_one_read_transaction(
    site: Any, make_helper: Callable[[], Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build("delete")
    helper = make_helper()
    never_at_rest(monkeypatch)
    assert helper.obey(GATHER)["torn"] == []
    found = finished(helper)
    assert (found["name"], found["mode"], found["pinned"]) == (WEBUI, "delete", False)
    assert found["changed_ns"] == (site.data / WEBUI).stat().st_mtime_ns
    assert rows(helper, "PRAGMA quick_check") == [("ok",)]
    assert rows(helper, "SELECT count(*) FROM filling") == [(200,)]


def test_the_vectors_are_never_locked(
    site: Any, make_helper: Callable[[], Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build("delete")
    locked: list[str] = []

    def note_lock(real: str, *_: object) -> str:
        locked.append(real)
        return "not asked"

    monkeypatch.setattr(gathering, "copy_under_lock", note_lock)
    helper = make_helper()
    with in_a_transaction(site.data / CHROMA, "IMMEDIATE"), in_a_transaction(site.data / WEBUI, "IMMEDIATE"):
        helper.obey(GATHER)
    assert locked == [str(site.data / WEBUI)]


def test_a_writer_that_lets_nobody_read_gets_its_database_copied_as_it_is(
    site: Any, make_helper: Callable[[], Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torn, and with the journal: rolling back by it is what a restart would do."""
    site.build("delete")
    helper = make_helper()
    monkeypatch.setattr(gathering, "_LONGEST_LOCK_SECONDS", 0.05)
    with in_a_transaction(site.data / WEBUI, "EXCLUSIVE"):
        assert helper.obey(GATHER)["torn"] == [WEBUI]
    assert Path(helper.writer.place(f"{WEBUI}-journal")).stat().st_size > 0
    assert rows(helper, "SELECT count(*) FROM filling WHERE b = zeroblob(3000)") == [(0,)]


@pytest.mark.parametrize(("failures", "copied"), [(1, True), (1000, False)], ids=["at last", "never"])
def test_a_database_that_changes_at_each_look_is_tried_again(
    site: Any, make_helper: Callable[[], Helper], monkeypatch: pytest.MonkeyPatch, failures: int, copied: bool
) -> None:
    site.build("delete")
    helper = make_helper()
    monkeypatch.setattr(gathering, "copy_under_lock", lambda *_: "it is locked")
    left = [failures]
    take = RawCopies.take

    def change(self: RawCopies, database: Any, mark: Any, *, once: bool = False) -> None:
        if database.name == WEBUI:
            left[0] -= once
            if left[0] >= 0 or not once:
                raise SourceChangedError(WEBUI)
        take(self, database, mark, once=once)

    monkeypatch.setattr(RawCopies, "take", change)
    assert helper.obey(GATHER)["torn"] == [WEBUI]
    assert Path(helper.writer.place(WEBUI)).exists() == copied


@pytest.fixture
def at_each_look(monkeypatch: pytest.MonkeyPatch) -> AtEachLook:
    """`at_each_look(deed)`: `deed` hears the number of each look at the index; what it answers counts them."""

    def install(deed: Callable[[int], object]) -> list[int]:
        looks = [0]
        opened = Fences.open

        def open_after(self: Fences, real: str, mark: Any, name: str) -> int:
            if name == INDEX:
                looks[0] += 1
                deed(looks[0])
            return opened(self, real, mark, name)

        monkeypatch.setattr(Fences, "open", open_after)
        return looks

    return install


@pytest.mark.parametrize(("times", "copied"), [(4, True), (5, True), (7, True), (100, False)])
def test_a_file_replaced_at_each_look_is_tried_again(
    site: Any, make_helper: Callable[[], Helper], at_each_look: AtEachLook, times: int, copied: bool
) -> None:
    """After four the fifth look is whole; later ones take what there is, and somewhere it ends."""
    site.build("delete")
    path = site.data / INDEX
    helper = make_helper()

    def replace(look: int) -> None:
        if look <= times:
            (site.data.parent / "new").write_bytes(b"%d" % look)
            (site.data.parent / "new").rename(path)

    path.write_bytes(b"something new")
    looks = at_each_look(replace)
    assert helper.obey(GATHER)["torn"] == ([] if times < 5 else [INDEX])
    copy = Path(helper.writer.place(INDEX))
    assert (copy.read_bytes() if copied else copy.exists()) == (b"%d" % times if copied else False)
    assert looks[0] == min(times + 1, 10)


@pytest.mark.parametrize("look", [1, 5])
def test_a_file_that_is_deleted_meanwhile_is_named_and_leaves_nothing(
    site: Any, make_helper: Callable[[], Helper], at_each_look: AtEachLook, look: int
) -> None:
    site.build("delete")
    path = site.data / INDEX
    helper = make_helper()

    def delete(number: int) -> None:
        path.write_bytes(b"%d" % number * number)
        os.utime(path, ns=(number, number))
        if number == look:
            path.unlink()

    path.write_bytes(b"something new")
    looks = at_each_look(delete)
    assert helper.obey(GATHER)["torn"] == [INDEX]
    assert looks[0] == look
    assert not Path(helper.writer.place(INDEX)).exists()
