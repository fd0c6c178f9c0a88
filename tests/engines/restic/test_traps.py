"""What restic does that a caller would not expect, each with what becomes of it here.

The suite (tests/conformance) has those that every engine must pass, tests/engines/restic/test_locks.py stale locks and
half-written files, test_restic_servers.py append-only servers, test_restic_output.py output that is half JSON.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.errors import (
    CancelledError,
    DeadlineExceededError,
    EngineError,
    NoSpaceError,
    RepositoryUnreachableError,
)
from owui_vault.model import Outcome, Secret
from owui_vault.ports import Call
from owui_vault.testing.children import descendants, left_after, mounted
from owui_vault.testing.engines.bench import PASSPHRASE, Bench, make_label
from owui_vault.testing.trees import assert_same, look

pytestmark = pytest.mark.slow


def bare(bench: Bench, program: Path, *arguments: str) -> str:
    environment = {"RESTIC_PASSWORD": PASSPHRASE, "PATH": os.environ["PATH"], "HOME": str(bench.folder)}
    argv = [str(program), "-r", str(bench.repository), "--no-cache", *arguments]
    return subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_damaged_snapshot_file_hides_itself_but_not_silently(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    first, second = bench.store(1).snapshot, bench.store(2).snapshot
    path = bench.repository / "snapshots" / second.engine_id
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:20])
    shutil.rmtree(bench.folder / "state")
    with caplog.at_level(logging.WARNING):
        assert set(bench.listed()) == {first.id}  # status 0
    assert second.engine_id[:8] in caplog.text
    assert bench.engine.verify(bench.call()) != ()


@pytest.mark.root
def test_what_only_restic_cannot_read_makes_it_incomplete(bench: Bench) -> None:
    """It opens, and reading it fails: status 3 after the snapshot was written with a label that said COMPLETE."""
    bench.build()
    victim = bench.tree / "data/broken"
    victim.write_bytes(b"x")
    with mounted("--bind", Path("/proc/self/mem"), victim, "rw"):
        stored = bench.store()
    assert [skipped.path for skipped in stored.skipped] == ["data/broken"]
    assert stored.snapshot.outcome is Outcome.INCOMPLETE
    (listed,) = bench.engine.snapshots(bench.call())
    assert (listed.engine_id, listed.outcome) == (stored.snapshot.engine_id, Outcome.INCOMPLETE)


def test_a_store_goes_on_upon_damage_and_reading_the_data_tells(bench: Bench) -> None:
    bench.store(1)
    pack = max((bench.repository / "data").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    assert bench.store(2).added_bytes < 100_000
    assert bench.engine.verify(bench.call()) == ()  # restic's quick check does not look there
    assert bench.engine.verify(bench.call(), read_data=1.0) != ()


@pytest.mark.root
def test_a_full_target_is_a_failed_fetch_whatever_the_summary_says(bench: Bench) -> None:
    stored = bench.store().snapshot
    target = bench.folder / "small"
    target.mkdir()
    with mounted("tmpfs", Path("tmpfs"), target, "size=1m"), pytest.raises(NoSpaceError):
        bench.engine.fetch(stored.engine_id, target, bench.call())


@pytest.mark.root
def test_a_full_place_for_temporary_files_is_no_full_repository(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """restic gathers what it will send there."""
    bench.big(10_000_000)
    place = bench.folder / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    with mounted("tmpfs", Path("tmpfs"), place, "size=1m"), pytest.raises(NoSpaceError, match="temporary") as caught:
        bench.engine.store(bench.tree, make_label(), bench.call())
    assert str(place) in caught.value.message
    assert "TMPDIR" in caught.value.hint
    assert bench.engine.snapshots(bench.call()) == ()


def test_the_instant_is_utc_wherever_we_are(
    bench: Bench, restic_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    moment = datetime(2026, 3, 29, 1, 30, 5, 999_999, tzinfo=UTC)  # does not exist in Berlin
    stored = bench.store(instant=moment).snapshot
    assert stored.time == moment
    (listed,) = json.loads(bare(bench, restic_program, "snapshots", "--json"))
    assert datetime.fromisoformat(listed["time"]) == moment.replace(microsecond=0)


def test_the_snapshot_holds_paths_of_the_tree_and_names_the_series(bench: Bench, restic_program: Path) -> None:
    bench.store()
    (listed,) = json.loads(bare(bench, restic_program, "snapshots", "--json"))
    assert listed["hostname"] == "open-webui"
    assert {"owui-vault", "id=00000001", "instance=open-webui", "outcome=complete"} <= set(listed["tags"])
    paths = [
        json.loads(line).get("path") for line in bare(bench, restic_program, "ls", "--json", "latest").splitlines()
    ]
    assert "/manifest.json" in paths


def test_a_plain_restic_restore_needs_nothing_of_ours(bench: Bench, restic_program: Path) -> None:
    bench.store()
    bare(bench, restic_program, "restore", "latest", "--target", str(bench.folder / "plain"))
    assert (bench.folder / "plain/data/webui.db").read_bytes() == (bench.tree / "data/webui.db").read_bytes()


def test_many_are_removed_at_once(bench: Bench) -> None:
    stored = [bench.store(number).snapshot for number in range(1, 4)]
    bench.engine.remove([each.engine_id for each in stored[:2]], bench.call())
    assert set(bench.listed()) == {stored[2].id}


def test_logs_and_state_hold_no_secret(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        stored = bench.store().snapshot
        bench.fetch(stored)
        bench.engine.verify(bench.call())
    assert PASSPHRASE not in caplog.text
    holders = [path for path in (bench.folder / "state").rglob("*") if path.is_file()]
    assert not [path for path in holders if PASSPHRASE.encode() in path.read_bytes()]


def hanging(folder: Path, first: str = "") -> ResticEngine:
    """A restic whose repository lies on something that hangs."""
    program = folder / "hanging"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *" version"*) echo restic 0.18.0 compiled with go1.24 on linux/amd64;;\n'
        f"*) {first or ':'}; sleep 60;; esac\n"
    )
    program.chmod(0o755)
    return ResticEngine(str(folder / "repository"), Secret(PASSPHRASE), program=str(program))


def test_a_question_to_a_hanging_repository_ends(tmp_path: Path) -> None:
    before = set(descendants(os.getpid()))
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        hanging(tmp_path).snapshots(Call(folder=tmp_path / "state", timeout_seconds=0.5))
    assert time.monotonic() - started < 10
    assert left_after(lambda: set(descendants(os.getpid())) - before) == set()


@pytest.mark.parametrize("says", ["", 'yes \'{"message_type":"status","bytes_done":5}\' | head -200000 & wait'])
def test_a_store_that_gets_nowhere_ends(tmp_path: Path, says: str) -> None:
    """Silence, or a status that says the same for ever."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("")
    before = set(descendants(os.getpid()))
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        hanging(tmp_path, says).store(
            tmp_path / "tree", make_label(), Call(folder=tmp_path / "state", idle_seconds=0.5)
        )
    assert time.monotonic() - started < 20
    assert left_after(lambda: set(descendants(os.getpid())) - before) == set()


def slowly(bench: Bench, program: Path, *, kib_per_second: int) -> ResticEngine:
    """An engine whose restic writes to the repository as over a slow line."""
    script = bench.folder / "slow-restic"
    script.write_text(f'#!/bin/sh\nexec {program} --limit-upload {kib_per_second} "$@"\n')
    script.chmod(0o755)
    return ResticEngine(str(bench.repository), Secret(PASSPHRASE), program=str(script))


@pytest.mark.thorough
@pytest.mark.doubled
def test_a_slow_line_is_no_standstill(bench: Bench, restic_program: Path) -> None:
    """All is read at once, and then no number of restic's moves until the packs are sent."""
    bench.big(12_000_000)
    call = replace(bench.call(), idle_seconds=4)
    started = time.monotonic()
    stored = slowly(bench, restic_program, kib_per_second=700).store(bench.tree, make_label(), call)
    assert time.monotonic() - started > 8, "that was no slow line"
    assert stored.snapshot.outcome is Outcome.COMPLETE


@pytest.mark.doubled
def test_a_store_is_bounded_in_all_when_somebody_says_so(bench: Bench, restic_program: Path) -> None:
    bench.big(12_000_000)
    call = replace(bench.call(), store_seconds=3)
    with pytest.raises(DeadlineExceededError, match="within 3 s"):
        slowly(bench, restic_program, kib_per_second=300).store(bench.tree, make_label(), call)
    assert bench.engine.snapshots(bench.call()) == ()


def test_questions_are_answered_with_many_files_open(bench: Bench) -> None:
    """select(2) takes no descriptor beyond 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2000)), hard))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        bench.engine.inspect(bench.call())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in many:
            os.close(each)


def test_a_cancelled_store_is_asked_to_end_before_it_is_made_to(bench: Bench, restic_program: Path) -> None:
    """restic 0.14 dies of SIGTERM and leaves its lock; on SIGINT it clears up by itself."""
    heard = bench.folder / "heard"
    script = bench.folder / "listening-restic"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *" backup "*) ;; *) exec {restic_program} "$@";; esac\n'
        f"trap 'echo INT >> {heard}; exit 130' INT\ntrap 'echo TERM >> {heard}; exit 143' TERM\n"
        """echo '{"message_type":"status","bytes_done":5}'\nwhile :; do sleep 0.1; done\n"""
    )
    script.chmod(0o755)
    cancel = threading.Event()
    engine = ResticEngine(str(bench.repository), Secret(PASSPHRASE), program=str(script))
    with pytest.raises(CancelledError):
        engine.store(bench.build(), make_label(), bench.call(progress=lambda _: cancel.set(), cancel=cancel))
    assert heard.read_text() == "INT\n"


def test_a_store_that_ends_well_though_it_was_cancelled_is_not_believed(bench: Bench, restic_program: Path) -> None:
    """The signal comes too late. All is there, but nobody heard whether restic complained."""
    script = bench.folder / "late-restic"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *" backup "*) ;; *) exec {restic_program} "$@";; esac\n'
        """trap : INT\necho '{"message_type":"status","bytes_done":5}'\n"""
        f'setsid -w {restic_program} "$@" & wait $! || wait $!\n'
    )
    script.chmod(0o755)
    cancel = threading.Event()
    engine = ResticEngine(str(bench.repository), Secret(PASSPHRASE), program=str(script))
    with pytest.raises(CancelledError):
        engine.store(bench.build(), make_label(), bench.call(progress=lambda _: cancel.set(), cancel=cancel))
    (stored,) = bench.engine.snapshots(bench.call())
    assert stored.outcome is Outcome.INCOMPLETE
    assert_same(bench.tree, bench.fetch(stored))
    bench.engine.remove([stored.engine_id], bench.call())


def without_right_to_chown(bench: Bench, program: Path) -> ResticEngine:
    """Root of a container on a share, say."""
    script = bench.folder / "restic-of-a-container"
    script.write_text(f'#!/bin/sh\nexec setpriv --bounding-set=-chown --inh-caps=-chown {program} "$@"\n')
    script.chmod(0o755)
    return ResticEngine(str(bench.repository), Secret(PASSPHRASE), program=str(script))


@pytest.mark.root
def test_owners_that_cannot_be_given_keep_nothing_else_from_coming_back(bench: Bench, restic_program: Path) -> None:
    tree = bench.build()
    for path in (tree, *tree.rglob("*")):
        os.lchown(path, 1234, 1234)
    stored = bench.store().snapshot
    target = bench.folder / "target"
    target.mkdir()
    told: list[str] = []
    call = replace(bench.call(), warn=told.append)
    without_right_to_chown(bench, restic_program).fetch(stored.engine_id, target, call)
    assert told == []  # the vault compares owners, of all engines alike
    expected, found = look(tree), look(target)
    assert set(found) == set(expected)
    for name, seen in expected.items():
        there = found[name]
        assert (there.mode, there.mtime_ns, there.digest) == (seen.mode, seen.mtime_ns, seen.digest), name


@pytest.mark.root
def test_a_target_that_cannot_be_written_is_not_blamed_on_the_repository(bench: Bench, restic_program: Path) -> None:
    stored = bench.store().snapshot
    target = bench.folder / "target"
    target.mkdir()
    with mounted("--bind", target, target, "ro"), pytest.raises(EngineError) as caught:
        bench.engine.fetch(stored.engine_id, target, bench.call())
    assert not isinstance(caught.value, RepositoryUnreachableError)
    assert str(target) in caught.value.message
