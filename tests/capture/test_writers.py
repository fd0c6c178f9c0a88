"""Writers that earlier, simpler procedures were wrong about without any error."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture import verify_stage
from owui_vault.model import CaptureLimits, Findings, Proof, Quiesce
from tests.capture.conftest import SimpleQuiet


@contextmanager
def program(text: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that says when it is ready, and kill it in the end."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


SPILLS_AND_ROLLS_BACK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")
connection.execute("PRAGMA cache_spill=1")
connection.execute(f"PRAGMA journal_mode={sys.argv[2]}")
print("ready", flush=True)
while True:
    connection.execute("BEGIN")
    connection.execute("UPDATE filling SET b = zeroblob(3000)")
    connection.execute("ROLLBACK")
"""


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["delete", "truncate", "persist"])
def test_a_transaction_that_spills_and_rolls_back_is_never_seen(
    site: Any, soak: Callable[[int], int], journal: str
) -> None:
    """Neither size nor SQLite's own counters tell of it; only the journal and the times do."""
    site.build(chroma="delete", filling=100)
    with program(SPILLS_AND_ROLLS_BACK, site.data / "vector_db" / "chroma.sqlite3", journal) as child:
        quiet = frozen(child.pid)
        for _ in range(soak(30)):
            captured = site.take(Quiesce.AUTO, quiet=quiet, limits=CaptureLimits(reserve_bytes=0, live_seconds=0.2))
            assert captured.proof.mode in (Proof.LIVE, Proof.PAUSE), captured.proof
            statement = "SELECT count(*) FROM filling WHERE b = zeroblob(3000)"
            assert site.rows(captured, "vector_db/chroma.sqlite3", statement) == [0]
            assert captured.problems == ()


def frozen(pid: int) -> SimpleQuiet:
    """A quiet that stops one process and waits until it has stopped."""

    def freeze() -> None:
        os.kill(pid, 19)
        while "\nState:\tT" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.001)

    return SimpleQuiet(freeze, lambda: os.kill(pid, 18), frozenset({Quiesce.PAUSE}))


ONE_BIG_WRITE_AFTER_THE_OTHER = """
import os, sys, time
descriptor = os.open(sys.argv[1], os.O_WRONLY)
data = [bytes([value]) * int(sys.argv[2]) for value in (1, 2)]
print("ready", flush=True)
while True:
    for each in data:
        os.pwrite(descriptor, each, 0)
        time.sleep(0.3)
"""


@pytest.mark.slow
def test_one_large_write_beside_an_attempt_is_never_half_captured(site: Any, soak: Callable[[int], int]) -> None:
    """Its modification time is set when it begins; the bytes land later."""
    size = 100 << 20
    site.build(filling=10)
    path = site.data / "vector_db" / "segment" / "level0.bin"
    path.write_bytes(b"\1" * size)
    live = taken = 0
    wanted = soak(60)
    with program(ONE_BIG_WRITE_AFTER_THE_OTHER, path, size):
        while taken < wanted or (not live and taken < wanted + 20):  # a single one may miss
            taken += 1
            captured = site.take()
            if captured.proof.mode is Proof.LIVE:
                live += 1
                content = (captured.stage / "data" / "vector_db" / "segment" / "level0.bin").read_bytes()
                assert content[:1] * size == content, (content[0], content[-1])
    assert live


APPENDS_FOR_EVER = """
import sys, time
with open(sys.argv[1], "ab", buffering=0) as file:
    print("ready", flush=True)
    while True:
        file.write(b"x" * 1000)
        time.sleep(0.02)
"""


def test_an_upload_that_grows_is_copied_or_found_out(site: Any) -> None:
    """A link to it would show the engine bytes of another moment; the look afterwards names it."""
    site.build()
    path = site.data / "uploads" / "growing.bin"
    path.write_bytes(b"")
    with program(APPENDS_FOR_EVER, path) as child:
        captured = site.take(Quiesce.AUTO, quiet=frozen(child.pid))
        assert captured.proof.mode in (Proof.LIVE, Proof.PAUSE)
        copy = captured.stage / "data" / "uploads" / "growing.bin"
        size_bytes = copy.stat().st_size
        time.sleep(0.1)
        grown = copy.stat().st_size > size_bytes
        assert verify_stage(captured) == (("uploads/growing.bin",) if grown else ())


def test_what_changes_while_the_engine_reads_is_named(site: Any) -> None:
    site.build()
    (site.data / "uploads" / "sub").mkdir()
    for name in ("in place", "rewritten", "sub/deleted"):
        (site.data / "uploads" / name).write_text(name)
    captured = site.take()
    assert verify_stage(captured) == ()
    with (site.data / "uploads" / "in place").open("r+") as file:
        file.write("IN")
    (site.data / "uploads" / "rewritten").write_text("something longer")
    (site.data / "uploads" / "sub" / "deleted").unlink()  # the link in the stage holds it
    (captured.stage / "data" / "uploads" / "0.txt").unlink()
    assert verify_stage(captured) == ("uploads/0.txt", "uploads/in place", "uploads/rewritten")
    assert (captured.stage / "data" / "uploads" / "sub" / "deleted").read_text() == "sub/deleted"


def test_an_upload_changed_between_the_instant_and_the_inventory_is_noticed(site: Any) -> None:
    """The pinned database is copied and checked in between, which may take minutes."""
    site.build()
    for name in ("deleted", "in place", "rewritten"):
        (site.data / "uploads" / name).write_bytes(b"as it was at the instant")

    def while_copies_are_checked(_: Path) -> Findings:
        (site.data / "uploads" / "deleted").unlink()
        (site.data / "uploads" / "in place").write_bytes(b"longer than it was at the instant")
        with (site.data / "uploads" / "rewritten").open("r+b") as file:
            file.write(b"AS")
        return Findings()

    captured = site.take(examine=while_copies_are_checked)
    assert captured.proof.mode is Proof.LIVE
    assert verify_stage(captured) == ("uploads/in place", "uploads/rewritten")


COMES_AND_GOES = """
import os, sys, time
print("ready", flush=True)
number = 0
while True:
    number += 1
    path = f"{sys.argv[1]}/{number % 7}.bin"
    with open(path, "wb") as file:
        file.write(b"%d" % number)
    time.sleep(0.002)
    os.unlink(f"{sys.argv[1]}/{(number - 3) % 7}.bin") if number > 3 else None
    time.sleep(0.002)
"""


def test_uploads_that_come_and_go_in_subdirectories_are_those_of_one_listing(
    site: Any, soak: Callable[[int], int]
) -> None:
    """Deleted between listing and link, or replaced under the same name: the attempt fails."""
    site.build()
    folder = site.data / "uploads" / "deep" / "er"
    folder.mkdir(parents=True)
    with program(COMES_AND_GOES, folder) as child:
        for _ in range(soak(100)):
            captured = site.take(Quiesce.AUTO, quiet=frozen(child.pid))
            assert captured.proof.mode in (Proof.LIVE, Proof.PAUSE), captured.proof
            found = [path.read_bytes() for path in (captured.stage / "data" / "uploads" / "deep" / "er").iterdir()]
            numbers = sorted(int(content or b"0") for content in found)
            assert len(numbers) <= 4
            assert numbers[-1] - (numbers[1] if numbers[0] == 0 else numbers[0]) <= 3


TRUNCATES_THEN_WRITES = """
import sys, time
print("ready", flush=True)
while True:
    with open(sys.argv[1], "wb") as file:
        time.sleep(0.2)
        file.write(b"whole")
    time.sleep(0.2)
"""


def test_a_moment_inside_a_rewrite_is_tried_again(site: Any) -> None:
    """Exact is not the same as sensible: a pickle is truncated first and filled later."""
    site.build()
    path = site.data / "vector_db" / "segment" / "index_metadata.pickle"
    path.write_bytes(b"whole")

    def examine(tree: Path) -> Findings:
        whole = (tree / path.relative_to(site.data)).read_bytes() == b"whole"
        return Findings() if whole else Findings(broken=("collection: its pickle is cut off",))

    patient = CaptureLimits(reserve_bytes=0, live_seconds=60, live_attempts=20)
    with program(TRUNCATES_THEN_WRITES, path):
        for _ in range(3):
            captured = site.take(examine=examine, limits=patient)
            assert captured.proof.mode is Proof.LIVE
            assert (captured.stage / "data" / path.relative_to(site.data)).read_bytes() == b"whole"


CHECKPOINTS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
print("ready", flush=True)
while True:
    connection.execute(f"PRAGMA wal_checkpoint({sys.argv[2]})").fetchall()
    time.sleep(0.001)
"""


@pytest.mark.parametrize("kind", ["PASSIVE", "RESTART", "TRUNCATE"])
def test_checkpoints_by_others_never_move_what_is_pinned(
    site: Any, soak: Callable[[int], int], find_contradictions: Callable[..., list[str]], kind: str
) -> None:
    """A foreign RESTART or TRUNCATE waits for us while it holds the write lock, so commits are late; never wrong."""
    site.build(filling=1000)
    site.run(rest_seconds=0.03)
    with program(CHECKPOINTS, site.data / "webui.db", kind):
        proven, wanted = 0, soak(50)
        for number in range(wanted + 9):
            if proven and number >= wanted:
                break
            captured = site.take(Quiesce.AUTO, quiet=site.quiet())
            if captured.proof.mode is Proof.UNPROVEN:  # on a machine so busy that nothing gets done within a freeze
                assert captured.problems
                continue
            assert find_contradictions(site, captured) == [], captured.proof
            proven += 1
        assert proven


def test_an_instance_that_starts_and_stops_is_captured_all_the_same(
    site: Any, soak: Callable[[int], int], find_contradictions: Callable[..., list[str]]
) -> None:
    """What was classified a moment ago may be otherwise: cold, pinned, or with a log that nobody holds."""
    site.build()
    for _ in range(soak(60)):
        writer = site.run(rest_seconds=0.05)
        captured = site.take()
        if captured.proof.mode is Proof.LIVE:
            assert find_contradictions(site, captured) == []
        writer.end()
        captured = site.take()
        assert captured.proof.mode is Proof.LIVE
        assert captured.proof.pinned == ()
        assert find_contradictions(site, captured) == []


HOLDS_EXCLUSIVELY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode=EXCLUSIVE")
connection.execute("UPDATE counter SET n = 5")
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_database_locked_for_one_process_alone_is_never_pinned(site: Any) -> None:
    site.build()
    with program(HOLDS_EXCLUSIVELY, site.data / "webui.db"):
        captured = site.take()
        assert captured.proof.pinned == ()
        if captured.proof.mode is Proof.LIVE:
            assert site.rows(captured, "webui.db", "SELECT n FROM counter") == [5]


def test_equal_bytes_keep_their_time_and_other_bytes_never_have_it(site: Any) -> None:
    """Engines go by size and time: what did not change is not read again, what did is."""
    site.build()
    site.run(rest_seconds=-1)
    names = ("webui.db", "vector_db/chroma.sqlite3", "vector_db/segment/header.bin")

    def times() -> dict[str, int]:
        captured = site.take()
        return {name: (captured.stage / "data" / name).stat().st_mtime_ns for name in names}

    first = times()
    assert times() == first
    for name in names[:2]:
        with closing(sqlite3.connect(site.data / name)) as connection:
            connection.execute("UPDATE filling SET b = zeroblob(2999) WHERE rowid = 1")
            connection.commit()
    header = site.data / "vector_db" / "segment" / "header.bin"
    status = header.stat()
    header.write_bytes(b"%08d" % 7 * 4096)
    os.utime(header, ns=(status.st_atime_ns, status.st_mtime_ns))  # as tools do that keep times
    second = times()
    assert all(second[name] != first[name] for name in names)
