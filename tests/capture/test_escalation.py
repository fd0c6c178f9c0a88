"""Live first, then frozen, then without proof: what is tried in which mode, and what is said about it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child.messages import Answer
from owui_vault.capture.child_client import Outlook, Worker
from owui_vault.errors import InstanceNotFoundError, NoSpaceError, NotProvenError, QuiesceError, ResumeError
from owui_vault.model import CaptureLimits, Findings, Proof, Quiesce
from owui_vault.system.clock import SystemClock

QUICK = CaptureLimits(reserve_bytes=0, live_seconds=0.4)

CHROMA = "vector_db/chroma.sqlite3"
IN_A_TRANSACTION = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")
connection.execute("PRAGMA cache_spill=1")
connection.execute("BEGIN")
connection.execute("UPDATE first SET n = 99")
connection.execute("UPDATE filling SET b = zeroblob(3000)")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def restless(site: Any) -> Any:
    """An instance in a transaction that never ends; its spilled pages are in the file already."""
    site.build()
    command = [sys.executable, "-c", IN_A_TRANSACTION, str(site.data / CHROMA)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        site.restless = child
        yield site
        child.kill()


@pytest.fixture
def quiet_for(make_quiet: Callable[..., Any]) -> Callable[[Any], Any]:
    def quiet(site: Any) -> Any:
        def freeze() -> None:
            os.kill(site.restless.pid, signal.SIGSTOP)
            time.sleep(0.05)

        return make_quiet(freeze, lambda: os.kill(site.restless.pid, signal.SIGCONT))

    return quiet


def test_auto_pauses_what_never_rests(restless: Any, quiet_for: Callable[[Any], Any]) -> None:
    quiet = quiet_for(restless)
    captured = restless.take(Quiesce.AUTO, quiet=quiet, limits=QUICK)
    assert captured.proof.mode is Proof.PAUSE
    assert [mode for mode, _ in quiet.held] == [Quiesce.PAUSE]
    assert 0 < captured.proof.freeze_seconds < 2
    assert captured.proof.outage_seconds == 0
    assert captured.proof.weaker == (f"{CHROMA} is in a transaction",)
    assert captured.problems == ()
    assert restless.rows(captured, CHROMA, "SELECT n FROM first") == [0]
    assert restless.rows(captured, CHROMA, "SELECT count(*) FROM filling WHERE b = zeroblob(3000)") == [0]


def test_live_never_pauses_and_an_unproven_copy_says_which_database_may_be_torn(
    restless: Any, quiet_for: Callable[[Any], Any]
) -> None:
    quiet = quiet_for(restless)
    captured = restless.take(Quiesce.LIVE, quiet=quiet, limits=QUICK)
    assert captured.proof.mode is Proof.UNPROVEN
    assert quiet.held == []
    assert "not one proven instant" in captured.problems[0]
    assert "is in a transaction" in captured.problems[0]
    assert f"{CHROMA} was written to while it was copied" in captured.problems
    assert {record.path: record.check for record in captured.databases} == {"webui.db": "ok", CHROMA: "torn"}
    assert not [problem for problem in captured.problems if "damaged" in problem]
    with pytest.raises(NotProvenError, match="is in a transaction"):
        restless.take(Quiesce.LIVE, quiet=quiet, limits=QUICK, unproven=False)
    assert list(restless.work.iterdir()) == []


def test_stop_happens_when_it_is_named(restless: Any, quiet_for: Callable[[Any], Any]) -> None:
    quiet = quiet_for(restless)
    captured = restless.take(Quiesce.STOP, quiet=quiet)
    assert captured.proof.mode is Proof.STOP
    assert [mode for mode, _ in quiet.held] == [Quiesce.STOP]
    assert captured.proof.outage_seconds > 0
    assert captured.proof.freeze_seconds == 0


def test_a_stop_waits_for_the_last_threads_of_what_was_stopped(site: Any, make_quiet: Callable[..., Any]) -> None:
    """Whoever stops it may see it end before it has let the last file go."""
    site.build()
    writer = site.run(rest_seconds=0, chats=0)
    quiet = make_quiet(lambda: threading.Timer(0.4, writer.child.kill).start(), lambda: None)
    captured = site.take(Quiesce.STOP, quiet=quiet)
    assert captured.proof.mode is Proof.STOP
    assert any(f"process {writer.child.pid} (" in each for each in captured.proof.weaker)


def test_a_pause_that_did_not_hold_is_discarded(restless: Any, quiet_for: Callable[[Any], Any]) -> None:
    quiet = quiet_for(restless)
    quiet.broken = [QuiesceError("somebody thawed it")]
    captured = restless.take(Quiesce.PAUSE, quiet=quiet)
    assert captured.proof.mode is Proof.PAUSE
    assert len(quiet.held) == 2
    assert any("somebody thawed it" in reason for reason in captured.proof.weaker)


def test_a_second_writer_during_every_pause_is_named(site: Any, make_quiet: Callable[..., Any]) -> None:
    """The quiet is believed to hold; the kernel says who else has the data open."""
    site.build()
    writer = site.run(rest_seconds=0, chats=0)
    quiet = make_quiet(lambda: None, lambda: None)
    captured = site.take(Quiesce.PAUSE, quiet=quiet, limits=CaptureLimits(reserve_bytes=0, freeze_seconds=1.0))
    assert captured.proof.mode is Proof.UNPROVEN
    assert len(quiet.held) == 3
    assert any(f"process {writer.child.pid} (" in each and "is not frozen" in each for each in captured.proof.weaker)


def test_a_quiet_that_cannot_be_had_is_not_a_proof(site: Any, make_quiet: Callable[..., Any]) -> None:
    site.build()

    def refuse() -> None:
        raise QuiesceError("it does not stop")

    quiet = make_quiet(refuse, lambda: None)
    captured = site.take(Quiesce.PAUSE, quiet=quiet)
    assert captured.proof.mode is Proof.UNPROVEN
    assert any("it does not stop" in reason for reason in captured.proof.weaker)
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        for asked in (None, make_quiet(refuse, lambda: None, frozenset())):
            captured = site.take(mode, quiet=asked)
            assert captured.proof.mode is Proof.UNPROVEN
            assert any(f"{mode.value} is not available for this instance" in reason for reason in captured.proof.weaker)


def test_auto_does_without_an_instance_that_cannot_be_found(restless: Any, make_quiet: Callable[..., Any]) -> None:
    """A stale pid file must not cost the snapshot; who names the mode gets the error."""

    def fail() -> None:
        raise InstanceNotFoundError("nothing runs that it names")

    captured = restless.take(Quiesce.AUTO, quiet=make_quiet(fail, lambda: None), limits=QUICK)
    assert captured.proof.mode is Proof.UNPROVEN
    assert "pause is not available for this instance: nothing runs that it names" in captured.problems[0]
    with pytest.raises(InstanceNotFoundError):
        restless.take(Quiesce.PAUSE, quiet=make_quiet(fail, lambda: None), limits=QUICK)


BUSY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("PRAGMA synchronous=OFF")
print("ready", flush=True)
number = 0
while True:
    number += 1
    connection.execute("BEGIN")
    connection.execute("UPDATE counter SET n = ?", (number,))
    connection.execute("UPDATE chat SET n = ?", (number,))
    connection.execute("UPDATE filling SET b = zeroblob(3000) WHERE rowid % 50 = ?", (number % 50,))
    connection.execute("COMMIT")
"""


def test_an_unproven_copy_of_the_application_database_is_whole_all_the_same(site: Any) -> None:
    """In the old journal mode it is never at rest here; a read transaction is the only way, and a short one."""
    site.build("delete", filling=100)
    with subprocess.Popen([sys.executable, "-c", BUSY, str(site.data / "webui.db")], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            captured = site.take(Quiesce.LIVE, limits=QUICK)
        finally:
            child.kill()
    if captured.proof.mode is Proof.UNPROVEN:
        assert captured.databases[0].check == "ok"
        assert not [problem for problem in captured.problems if problem.startswith("webui.db")]
    counter, chat = (site.rows(captured, "webui.db", f"SELECT n FROM {table}")[0] for table in ("counter", "chat"))
    assert counter == chat


def test_a_planned_database_that_is_not_there_is_named(site: Any) -> None:
    site.build()
    (site.data / CHROMA).unlink()
    captured = site.take()
    assert captured.proof.mode is Proof.LIVE
    assert captured.problems == (f"{CHROMA} is not in the snapshot",)


def test_an_instance_that_does_not_come_back_outranks_everything(restless: Any, make_quiet: Callable[..., Any]) -> None:
    def fail() -> None:
        raise ResumeError("it is down")

    with pytest.raises(ResumeError, match="it is down"):
        restless.take(Quiesce.PAUSE, quiet=make_quiet(lambda: None, fail))


def test_a_pause_that_would_last_too_long_is_not_begun(site: Any) -> None:
    site.build("delete", filling=20_000)
    quiet = site.quiet()
    captured = site.take(Quiesce.PAUSE, quiet=quiet, limits=CaptureLimits(reserve_bytes=0, freeze_seconds=0.001))
    assert captured.proof.mode is Proof.UNPROVEN
    assert quiet.held == []
    assert any("stop the instance" in reason for reason in captured.proof.weaker)


@pytest.mark.parametrize("mode", [Quiesce.AUTO, Quiesce.PAUSE, Quiesce.STOP])
def test_only_a_stop_is_believed_where_another_machine_may_write(
    site: Any, monkeypatch: pytest.MonkeyPatch, mode: Quiesce
) -> None:
    """No freeze here holds it, and no mark here need tell of it."""
    site.build("delete")
    look = Worker.prepare

    def prepare(worker: Worker, *, pin: bool = True) -> Outlook:
        where = ("vector_db is on nfs",)
        return replace(
            look(worker, pin=pin), obstacles=("it is not possible to wait for pending writes on nfs",), shared=where
        )

    monkeypatch.setattr(Worker, "prepare", prepare)
    quiet = site.quiet()
    captured = site.take(mode, quiet=quiet)
    stopped = mode is Quiesce.STOP
    assert captured.proof.mode is (Proof.STOP if stopped else Proof.UNPROVEN)
    assert len(quiet.held) == stopped
    assert any("another machine" in each and "vector_db is on nfs" in each for each in captured.proof.weaker)


def test_what_was_broken_by_the_moment_is_tried_again(site: Any) -> None:
    site.build()
    looks = []

    def examine(tree: Path) -> Findings:
        looks.append(tree)
        (site.data / "vector_db" / "segment" / "header.bin").write_bytes(b"%08d" % len(looks) * 4096)
        return Findings(broken=("collection knowledge: half an index",)) if len(looks) < 3 else Findings()

    captured = site.take(examine=examine)
    assert (captured.proof.mode, captured.proof.attempts, captured.problems) == (Proof.LIVE, 3, ())
    assert captured.proof.weaker == ("collection knowledge: half an index",)


@pytest.mark.parametrize("mode", [Quiesce.AUTO, Quiesce.LIVE, Quiesce.PAUSE, Quiesce.STOP])
def test_what_is_broken_at_the_source_is_proven_and_named(site: Any, mode: Quiesce) -> None:
    """Nobody wrote to the index between two looks: it is so, and no freeze would make it better."""
    site.build()
    findings = Findings(broken=("collection knowledge: 7 vectors are lost",), problems=("lost",), warnings=("odd",))
    quiet = site.quiet()
    captured = site.take(mode, quiet=quiet, examine=lambda _: findings, unproven=False)
    assert captured.proof.mode is {Quiesce.AUTO: Proof.LIVE}.get(mode) or Proof(mode.value)
    assert captured.proof.attempts == (1 if mode is Quiesce.STOP else 2)
    assert len(quiet.held) == {Quiesce.PAUSE: 2, Quiesce.STOP: 1}.get(mode, 0)
    assert captured.problems == ("collection knowledge: 7 vectors are lost", "lost")
    assert captured.warnings == ("odd",)


def test_what_is_broken_anew_each_time_is_stored_without_proof_and_named(site: Any) -> None:
    site.build()
    looks = []

    def examine(tree: Path) -> Findings:
        looks.append(tree)
        (site.data / "vector_db" / "segment" / "header.bin").write_bytes(b"%08d" % len(looks) * 4096)
        return Findings(broken=("collection knowledge: half an index",))

    captured = site.take(Quiesce.AUTO, quiet=site.quiet(), examine=examine)
    assert captured.proof.mode is Proof.UNPROVEN
    assert "collection knowledge: half an index" in captured.problems


def test_no_room_is_found_before_anything_is_copied(site: Any) -> None:
    site.build()
    with pytest.raises(NoSpaceError):
        site.take(limits=CaptureLimits(reserve_bytes=1 << 60))
    assert list(site.work.iterdir()) == []


def test_a_log_that_grows_beyond_the_limit_ends_the_pin(site: Any) -> None:
    """The application must not pay for our copy with its disk."""
    site.build(filling=20_000)
    site.run(rest_seconds=0.2, chats=40)
    limits = CaptureLimits(reserve_bytes=0, wal_growth_bytes=-1)
    with pytest.raises(NotProvenError, match="grew beyond the limit"):
        site.take(limits=limits, unproven=False)
    assert list(site.work.iterdir()) == []
    captured = site.take(limits=limits)
    assert captured.proof.mode is Proof.UNPROVEN
    assert any("the WAL of webui.db grew beyond the limit" in reason for reason in captured.proof.weaker)


def test_a_stage_on_another_file_system_allows_no_live_proof(site: Any, make_site: Callable[[Path], Any]) -> None:
    site.build()
    site.run(rest_seconds=-1)
    site.work = Path("/dev/shm") / f"owui-vault-test-{os.getpid()}"
    captured = site.take(Quiesce.AUTO, quiet=site.quiet())
    assert captured.proof.mode is Proof.PAUSE
    assert any("a different file system from the stage" in reason for reason in captured.proof.weaker)
    assert captured.proof.linked_files == 0
    site.end()
    site.work.rmdir()


def test_a_file_mapped_by_somebody_who_writes_allows_no_live_proof(site: Any, quiet_for: Callable[[Any], Any]) -> None:
    """Stores into a mapping move no time."""
    site.build()
    path = site.data / "vector_db" / "segment" / "header.bin"
    program = """
import mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
view = mmap.mmap(descriptor, 0)
print("ready", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        captured = site.take(Quiesce.AUTO, quiet=site.quiet())
        assert captured.proof.mode is Proof.UNPROVEN  # it is not among those that are frozen
        assert f"process {child.pid} (" in captured.proof.weaker[-1]
        site.restless = child
        captured = site.take(Quiesce.AUTO, quiet=quiet_for(site))
        assert captured.proof.mode is Proof.PAUSE
        assert any("mapped" in reason for reason in captured.proof.weaker)
        child.kill()


def test_a_database_replaced_by_another_file_is_never_mixed(site: Any) -> None:
    """Restored by another tool under the running capture: the pin would go on with the old file."""
    site.build()
    site.run(rest_seconds=-1)
    replacement = site.data.parent / "replacement.db"
    with closing(sqlite3.connect(replacement)) as other:
        other.executescript("CREATE TABLE counter(n); INSERT INTO counter VALUES (1000)")
    program = """
import os, shutil, sys, time
while True:
    shutil.copy(sys.argv[1], sys.argv[2] + ".new")
    os.rename(sys.argv[2] + ".new", sys.argv[2])
    time.sleep(0.003)
"""
    chroma = site.data / "vector_db" / "chroma.sqlite3"
    with subprocess.Popen([sys.executable, "-c", program, str(replacement), str(chroma)]) as child:
        captured = site.take(limits=QUICK)
        child.kill()
    if captured.proof.mode is Proof.LIVE:
        assert captured.databases[1].check == "ok"


class Sleepless(SystemClock):
    """No wait between two attempts."""

    def sleep(self, seconds: float) -> None:
        """Go on at once."""


def test_a_stop_after_which_somebody_still_writes_is_no_proof(site: Any, make_quiet: Callable[..., Any]) -> None:
    """Within one stop it is tried three times: the last threads may outlive the first."""
    site.build()
    writer = site.run(rest_seconds=-1)
    quiet = make_quiet(lambda: None, lambda: None)
    captured = site.take(Quiesce.STOP, quiet=quiet, clock=Sleepless())
    assert captured.proof.mode is Proof.UNPROVEN
    assert (captured.proof.attempts, len(quiet.held)) == (3, 1)
    assert f"process {writer.child.pid} (" in captured.problems[0]


def test_an_instant_whose_pinned_database_cannot_be_copied_is_tried_again(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build()
    finish = Worker.finish
    failures = ["webui.db could not be copied: copying webui.db took too long"]

    def fail(self: Worker) -> Answer | None:
        if failures:
            self.tally.note(failures.pop())
            return None
        return finish(self)

    monkeypatch.setattr(Worker, "finish", fail)
    captured = site.take()
    assert (captured.proof.mode, captured.proof.attempts, captured.problems) == (Proof.LIVE, 2, ())
    assert captured.proof.weaker == ("webui.db could not be copied: copying webui.db took too long",)


def test_a_clock_that_was_not_waited_for_is_told(
    site: Any, make_quiet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a freeze with everybody in view nobody is left who could write unseen; the record says that it was so."""
    site.build()
    asked = Worker._ask

    def ask(self: Worker, deed: str, *, seconds: float, **details: object) -> Answer:
        answer = asked(self, deed, seconds=seconds, **details)
        return {**answer, "unsettled": 1} if deed == "attempt" else answer

    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        captured = site.take(mode, quiet=make_quiet(lambda: None, lambda: None))
        assert captured.proof.weaker == ()
    monkeypatch.setattr(Worker, "_ask", ask)
    captured = site.take(Quiesce.PAUSE, quiet=make_quiet(lambda: None, lambda: None))
    assert captured.proof.mode is Proof.PAUSE
    assert captured.proof.weaker == ("no process was left to write, so there was no wait for the file system's clock",)
