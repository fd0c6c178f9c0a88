"""Repositories that were moved, put back, damaged, not encrypted, locked, or are not there."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import owui_vault
import pytest
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.errors import (
    ConfigError,
    DeadlineExceededError,
    EngineError,
    NoSpaceError,
    ProgramMissingError,
    RepositoryAppendOnlyError,
    RepositoryDamagedError,
    RepositoryExistsError,
    RepositoryLockedError,
    RepositoryMissingError,
    SecretError,
)
from owui_vault.model import Progress, Secret, StoreReceipt
from owui_vault.ports import Call
from owui_vault.testing.children import mounted
from owui_vault.testing.engines.bench import PASSPHRASE, make_label
from tests.engines.borg.conftest import BorgBench

pytestmark = pytest.mark.slow


@pytest.mark.thorough
@pytest.mark.doubled
def test_a_moved_repository_is_used_without_a_question(bench: BorgBench) -> None:
    stored = bench.store().snapshot
    moved = bench.folder / "moved"
    bench.repository.rename(moved)
    engine = BorgEngine(str(moved), Secret(PASSPHRASE), program=bench.program)
    assert [each.id for each in engine.snapshots(bench.call())] == [stored.id]
    engine.store(bench.tree, make_label(2), bench.call())
    fresh = bench.folder / "new machine"
    fresh.mkdir()
    assert len(engine.snapshots(Call(folder=fresh))) == 2


@pytest.mark.thorough
def test_an_older_copy_put_back_is_explained_and_can_be_accepted(bench: BorgBench) -> None:
    stored = bench.store(1).snapshot
    shutil.copytree(bench.repository, bench.folder / "copy")
    bench.store(2)
    shutil.rmtree(bench.repository)
    (bench.folder / "copy").rename(bench.repository)
    with pytest.raises(RepositoryDamagedError, match="older") as caught:
        bench.store(3)
    assert "init --again" in caught.value.hint
    assert isinstance(bench.engine, BorgEngine)
    bench.engine.forget(bench.call())
    bench.store(3)
    assert set(bench.listed()) == {stored.id, make_label(3).id}


@pytest.mark.parametrize("mode", ["none", "authenticated-blake2"])
@pytest.mark.thorough
def test_what_is_not_encrypted_is_refused(empty: BorgBench, mode: str) -> None:
    """Before a byte is written, the first time and every time."""
    empty.bare("init", "--encryption", mode)
    tree = empty.build()
    for _ in range(2):
        with pytest.raises(EngineError, match="not encrypted") as caught:
            empty.engine.store(tree, make_label(), empty.call())
        assert "init" in caught.value.hint
        with pytest.raises(EngineError, match="not encrypted"):
            empty.engine.inspect(empty.call())
    assert empty.bare("list", "--short") == ""


def test_no_encryption_cannot_even_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="is not an encryption mode"):
        BorgEngine("/x", Secret("x"), encryption="none")


@pytest.mark.parametrize("passphrase", ["", " \n"])
@pytest.mark.doubled
def test_an_empty_passphrase_is_refused(empty: BorgBench, passphrase: str) -> None:
    """borg takes it: encrypted, and open to everybody."""
    with pytest.raises(SecretError, match="empty"):
        empty.other(Secret(passphrase)).initialize(empty.call())
    assert not empty.repository.exists()


def test_a_passphrase_in_the_environment_is_refused() -> None:
    """It would win over ours, and stand in /proc."""
    with pytest.raises(ConfigError):
        BorgEngine("/x", Secret("x"), environment={"BORG_PASSPHRASE": "x"})


@pytest.mark.thorough
@pytest.mark.doubled
def test_a_key_file_is_found_where_the_user_keeps_it(empty: BorgBench) -> None:
    keys = empty.folder / "my keys"
    engine = empty.other(encryption="keyfile-blake2", environment={"BORG_KEYS_DIR": str(keys)})
    engine.initialize(empty.call())
    assert len(list(keys.iterdir())) == 1
    engine.store(empty.build(), make_label(), empty.call())
    fresh = empty.folder / "fresh"
    fresh.mkdir()
    assert len(engine.snapshots(Call(folder=fresh))) == 1
    with pytest.raises(EngineError, match="key file") as caught:
        empty.other(environment={"BORG_KEYS_DIR": str(empty.folder / "none")}).snapshots(empty.call())
    assert "BORG_KEYS_DIR" in caught.value.hint


def test_a_directory_that_is_no_repository_is_left_as_it_is(empty: BorgBench) -> None:
    empty.repository.mkdir()
    with pytest.raises(RepositoryMissingError, match="is not a borg repository") as caught:
        empty.engine.inspect(empty.call())
    assert "mounted" in caught.value.hint
    (empty.repository / "mine").write_text("mine")
    with pytest.raises(RepositoryExistsError):
        empty.engine.initialize(empty.call())
    assert [path.name for path in empty.repository.iterdir()] == ["mine"]


@pytest.mark.doubled
def test_a_folder_that_is_not_there_is_not_made(empty: BorgBench) -> None:
    """A mount point without its disk."""
    engine = BorgEngine(str(empty.folder / "no" / "disk"), Secret(PASSPHRASE), program=empty.program)
    with pytest.raises(RepositoryMissingError, match="does not exist"):
        engine.initialize(empty.call())
    assert not (empty.folder / "no").exists()


@pytest.mark.thorough
def test_each_kind_of_damage_is_named(bench: BorgBench) -> None:
    stored = bench.store().snapshot
    whole = bench.folder / "whole"
    bench.repository.rename(whole)
    segment = max((whole / "data").rglob("*"), key=lambda path: path.stat().st_size).relative_to(whole)

    def again() -> Path:
        shutil.rmtree(bench.repository, ignore_errors=True)
        shutil.copytree(whole, bench.repository)
        return bench.repository / segment

    again().unlink()
    assert bench.engine.verify(bench.call())
    with pytest.raises(RepositoryDamagedError) as caught:
        bench.fetch(stored)
    assert "borg check" in caught.value.hint
    data = again().read_bytes()
    (bench.repository / segment).write_bytes(data[: len(data) // 2])
    assert bench.engine.verify(bench.call())
    again()
    (bench.repository / "config").write_text("[repository]\nversion = 1\nmax_segment")
    with pytest.raises(RepositoryDamagedError):
        bench.engine.snapshots(bench.call())
    again()
    for index in bench.repository.glob("index.*"):
        index.unlink()  # borg makes it anew
    assert bench.engine.verify(bench.call(), read_data=1.0) == ()
    assert set(bench.listed()) == {stored.id}


@pytest.mark.parametrize("which", ["largest", "last"])
@pytest.mark.thorough
def test_a_segment_that_lost_its_end_is_found_and_explained(bench: BorgBench, which: str) -> None:
    """A disk that lies, and a power cut. Without its last commit a repository is whole to borg, and older."""
    bench.store(1)
    bench.store(2)
    segments = sorted((path for path in (bench.repository / "data/0").iterdir()), key=lambda path: int(path.name))
    victim = segments[-1] if which == "last" else max(segments, key=lambda path: path.stat().st_size)
    os.truncate(victim, victim.stat().st_size // 2)
    for read_data in (0.0, 1.0):
        problems = bench.engine.verify(bench.call(), read_data=read_data)
        assert "older than when it was last used" in problems[0] if which == "last" else "damaged" in problems[0]
        assert "power cut" in problems[1] if which == "last" else "segment" in problems[1]


@pytest.mark.doubled
@pytest.mark.thorough
def test_a_share_of_the_data_is_really_read(bench: BorgBench) -> None:
    """`check` alone believes a checksum that somebody made fit; decrypting does not. So something is read."""
    bench.store()
    events: list[Progress] = []
    assert bench.engine.verify(bench.call(progress=events.append), read_data=0.2) == ()
    assert any("Extracting" in event.text for event in events)
    events.clear()
    assert bench.engine.verify(bench.call(progress=events.append)) == ()
    assert not any("Extracting" in event.text for event in events)


@pytest.mark.root
@pytest.mark.thorough
@pytest.mark.doubled
def test_a_full_target_is_told_apart_from_a_full_repository(bench: BorgBench, tmp_path: Path) -> None:
    stored = bench.store().snapshot
    target = tmp_path / "small"
    target.mkdir()
    with mounted("tmpfs", Path("tmpfs"), target, "size=1m"), pytest.raises(NoSpaceError, match="small"):
        bench.engine.fetch(stored.engine_id, target, bench.call())


@pytest.mark.doubled
@pytest.mark.thorough
def test_a_held_lock_is_waited_for_and_then_named(bench: BorgBench) -> None:
    """Reading needs the lock as well."""
    bench.store()
    holder = _hold(bench, 60)
    try:
        started = time.monotonic()
        with pytest.raises(RepositoryLockedError) as caught:
            bench.engine.snapshots(bench.call(timeout=12))
        assert 5 < time.monotonic() - started < 30
        assert "break-lock" in caught.value.hint
        assert caught.value.retryable
        assert re.match(
            rf"PID \d+ on {os.uname().nodename}\S*, since {datetime.now().astimezone():%Y}", caught.value.holder
        )
        started = time.monotonic()
        with pytest.raises(RepositoryLockedError):
            bench.engine.snapshots(replace(bench.call(timeout=12), lock_seconds=1))
        assert time.monotonic() - started < 5
    finally:
        holder.terminate()
        holder.wait()
    assert len(bench.engine.snapshots(bench.call())) == 1
    holder = _hold(bench, 3)
    assert len(bench.engine.snapshots(bench.call())) == 1
    holder.wait()


def _hold(bench: BorgBench, seconds: int) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(bench.folder), "BORG_PASSPHRASE": PASSPHRASE}
    argv = [bench.program, "with-lock", str(bench.repository), "sleep", str(seconds)]
    holder = subprocess.Popen(argv, env=environment)
    while not list(bench.repository.glob("lock.exclusive")):
        time.sleep(0.02)
    return holder


@pytest.mark.thorough
def test_a_killed_borg_leaves_no_lock_that_matters(bench: BorgBench) -> None:
    """It removes locks of dead processes of the same machine itself; nobody needs to break them."""
    bench.big(100_000_000)
    lines = [bench.program, "create", "::killed", "."]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(bench.folder),
        "BORG_PASSPHRASE": PASSPHRASE,
        "BORG_REPO": str(bench.repository),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    with subprocess.Popen(lines, env=environment, cwd=bench.tree) as child:
        while not bench.locks():
            time.sleep(0.01)
        time.sleep(0.3)
        child.send_signal(signal.SIGKILL)
    assert bench.locks()
    bench.engine.store(bench.tree, make_label(), bench.call())
    assert bench.locks() == []


@pytest.mark.thorough
def test_an_append_only_repository_says_that_nothing_was_freed(bench: BorgBench) -> None:
    """borg ends with 0 and frees nothing; where there is only nothing to free, it says so."""
    assert bench.engine.compact(bench.call()) == 0
    bench.bare("config", str(bench.repository), "append_only", "1")
    stored = bench.store().snapshot
    bench.engine.remove([stored.engine_id], bench.call())
    with pytest.raises(RepositoryAppendOnlyError):
        bench.engine.compact(bench.call())


@pytest.mark.thorough
def test_checkpoints_of_dead_runs_go_once_they_are_overtaken(bench: BorgBench) -> None:
    """Until then they spare the next run the upload; another series' and other tools' stay."""
    bench.build()
    names = ("open-webui-20260101T000000Z-0000abcd", "other-20990101T000000Z-0000abcd", "foreign")
    for name in names:
        bench.bare("create", f"::{name}.checkpoint", ".", cwd=bench.tree)
    assert bench.engine.snapshots(bench.call()) == ()
    bench.engine.compact(bench.call())
    assert bench.bare("list", "--short", "--consider-checkpoints").count("checkpoint") == 3
    bench.store()
    bench.engine.compact(bench.call())
    left = bench.bare("list", "--short", "--consider-checkpoints").split()
    assert sorted(name for name in left if "checkpoint" in name) == [f"{names[2]}.checkpoint", f"{names[1]}.checkpoint"]


@pytest.mark.thorough
@pytest.mark.doubled
def test_times_do_not_depend_on_where_we_live(bench: BorgBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """borg's times have no offset: they are local to whoever asks."""
    bench.build()
    bench.bare("create", "--timestamp", "2026-01-02T03:04:05", "::foreign", ".", cwd=bench.tree)
    monkeypatch.setenv("TZ", "America/New_York")
    (foreign,) = bench.engine.snapshots(bench.call())
    assert foreign.time.isoformat() == "2026-01-02T03:04:05+00:00"
    bench.store()
    started = bench.bare("list", "--format", "{start}{NL}").split("\n")
    assert any("2026-01-02 03:00:00" in line for line in started)


@pytest.mark.doubled
def test_a_program_that_is_missing_or_no_borg_is_named(bench: BorgBench) -> None:
    engine = BorgEngine(str(bench.repository), Secret(PASSPHRASE), program="/no/such/borg")
    with pytest.raises(ProgramMissingError, match="/no/such/borg"):
        engine.inspect(bench.call())
    for text in ("echo borg 1.1.18", "echo borg 2.0.0b9", "echo hello"):
        script = bench.with_program(f'[ "$1" = --version ] && {{ {text}; exit; }}\nexec {{borg}} "$@"\n')
        with pytest.raises(ProgramMissingError) as caught:
            script.engine.inspect(script.call())
        assert "1.2" in caught.value.hint


@pytest.mark.doubled
def test_the_version_is_asked_for_once(bench: BorgBench) -> None:
    """It takes as long as listing does."""
    asked = bench.folder / "asked"
    counted = bench.with_program(f'[ "$1" = --version ] && echo x >> {asked}\nexec {{borg}} "$@"\n')
    for _ in range(2):
        assert counted.engine.inspect(counted.call()).engine_version[:2] == "1."
    assert asked.read_text() == "x\n"


@pytest.mark.doubled
@pytest.mark.thorough
def test_borg_tests_itself_before_it_writes_and_not_before_each_question(bench: BorgBench) -> None:
    """A quarter of the time of a question, about what it would notice anyway: all that is read is authenticated."""
    seen = bench.folder / "seen"
    witnessed = bench.with_program(f'echo "$1 ${{BORG_SELFTEST:-tests}}" >> {seen}\nexec {{borg}} "$@"\n')
    witnessed.fetch(witnessed.store().snapshot)
    told = set(seen.read_text().splitlines())
    assert told == {"--version disabled", "create tests", "list disabled", "extract disabled"}


@pytest.mark.doubled
def test_a_program_that_says_nothing_is_given_up(bench: BorgBench) -> None:
    mute = bench.with_program('case "$1" in list) sleep 100;; esac\nexec {borg} "$@"\n')
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="borg did not finish"):
        mute.engine.snapshots(mute.call(timeout=2))
    assert time.monotonic() - started < 20


@pytest.mark.thorough
@pytest.mark.doubled
def test_contents_can_be_left_in_the_middle(bench: BorgBench) -> None:
    stored = bench.store().snapshot
    entries = bench.engine.contents(stored.engine_id, bench.call())
    next(entries)
    assert bench.locks() == []
    assert bench.left_running() == set()
    del entries
    assert not [each for each in os.listdir("/proc/self/fd") if str(bench.folder) in _target_of(each)]


def _target_of(descriptor: str) -> str:
    try:
        return str(Path("/proc/self/fd", descriptor).readlink())
    except FileNotFoundError:  # that of the listing itself
        return ""


@pytest.mark.thorough
@pytest.mark.doubled
def test_a_hard_link_has_the_size_of_its_file(bench: BorgBench) -> None:
    stored = bench.store().snapshot
    sizes = {entry.path: entry.size_bytes for entry in bench.engine.contents(stored.engine_id, bench.call())}
    assert sizes["data/hard"] == sizes["data/uploads/a.pdf"] == 70_000


def chunking(stored: StoreReceipt) -> str:
    label = stored.snapshot.label
    assert label
    return label.chunking


@pytest.mark.thorough
@pytest.mark.doubled
def test_a_series_keeps_its_way_of_cutting(bench: BorgBench) -> None:
    assert chunking(bench.store(1)) == "fixed,65536"
    assert chunking(bench.store(2, chunking="fixed,16384")) == "fixed,16384"
    with pytest.raises(EngineError, match="uses the chunker parameters") as caught:
        bench.store(3, chunking="rabin")
    assert "instance name" in caught.value.hint
    info = bench.bare("info", "::open-webui-20260103T030000Z-00000002")
    assert "fixed,16384" in info


def test_the_borg_of_this_environment_comes_first(borg_program: Path, tmp_path: Path) -> None:
    """The extra `owui-vault[borg]`; a path is that very program, and a folder called `borg` is no package."""
    (tmp_path / "borg").mkdir()
    code = "from owui_vault.engines.borg.program import find_program as f; print(f('borg'), f('/x/borg'))"
    environment = {"PYTHONPATH": str(Path(owui_vault.__file__).parent.parent)}
    beside = str(borg_program.parent / "python3")
    answers = [
        subprocess.run([python, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        for python in (beside, sys.executable)
    ]
    assert answers[0].stdout == f"{(beside, '-P', '-m', 'borg')} ('/x/borg',)\n"
    if beside != sys.executable and importlib.util.find_spec("borg") is None:
        assert answers[1].stdout == "('borg',) ('/x/borg',)\n"
