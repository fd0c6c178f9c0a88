"""`restic copy` between two repositories: the same snapshots, both locks clean, no secret where it can be read."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from owui_vault import Repository, Vault
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.engines.restic.unconfirmed import mark_unconfirmed, storing_unconfirmed
from owui_vault.errors import ConfigError, SnapshotMissingError, WrongPassphraseError
from owui_vault.model import Outcome, Secret
from owui_vault.ports import Engine
from owui_vault.testing.engines.bench import Bench, make_label
from owui_vault.testing.trees import assert_same
from tests.restic_templates import PlaceRestic

Pair = tuple[Bench, Bench]
MakePair = Callable[[Path], Pair]


def engine(location: str, **more: Any) -> ResticEngine:
    return ResticEngine(location, Secret("x"), **more)


@pytest.mark.parametrize(
    ("one", "other", "possible"),
    [
        (engine("/a"), engine("/b"), True),
        (engine("/a", environment={"K": "1"}), engine("rest:https://h/b", environment={"L": "2"}), True),
        (engine("s3:h/a", environment={"AWS_ACCESS_KEY_ID": "1"}), engine("s3:h/b"), False),  # the other's profile
        (engine("/a"), engine("sftp:u@host:/b", environment={"PATH": "/where/its/ssh/is"}), False),
        (engine("/a", environment={"K": "1"}), engine("/b", environment={"K": "1"}), True),
        (engine("/a", environment={"K": Secret("1")}), engine("/b", environment={"K": Secret("1")}), True),
        (
            engine("/a", environment={"AWS_ACCESS_KEY_ID": "1"}),
            engine("/b", environment={"AWS_ACCESS_KEY_ID": "2"}),
            False,
        ),
        (engine("/a", options=["s3.region=x"]), engine("/b", options=["s3.region=y"]), False),
        (engine("/a"), engine("sftp:u@host:/b"), True),
        (engine("sftp:u@one:/a"), engine("sftp:u@two:/b"), False),  # restic starts one and the same ssh for both
        (engine("/a"), BorgEngine("/b", Secret("x")), False),
        (BorgEngine("/a", Secret("x")), engine("/b"), False),
    ],
)
def test_restic_copies_where_one_environment_serves_both(one: Engine, other: Engine, possible: bool) -> None:
    assert one.can_copy_from(other) is possible
    assert other.can_copy_from(one) is possible


@pytest.fixture
def pair(tmp_path: Path, restic_program: Path, place_restic: PlaceRestic) -> Pair:
    """Two repositories with passphrases of their own."""

    def bench(name: str) -> Bench:
        folder = tmp_path / name
        folder.mkdir()
        place_restic(folder / "repository", restic_program, name)
        made = ResticEngine(str(folder / "repository"), Secret(name), program=str(restic_program))
        return Bench(engine=made, folder=folder)

    return bench("source"), bench("target")


def copy(pair: Pair, *engine_ids: str) -> None:
    source, target = pair
    target.engine.copy_from(source.engine, engine_ids, target.call(), source.call())


@pytest.mark.slow
def test_what_is_copied_is_the_same_and_nothing_else_comes(pair: Pair) -> None:
    source, target = pair
    stored = [source.store(number).snapshot for number in range(3)]
    copy(pair, stored[0].engine_id, stored[2].engine_id)
    copy(pair, stored[0].engine_id)  # again: passed over
    assert len(target.engine.snapshots(target.call())) == 2
    found = target.listed()
    assert {each.id: each.label for each in found.values()} == {each.id: each.label for each in (stored[0], stored[2])}
    assert_same(source.tree, target.fetch(found[stored[2].id]))
    for bench in pair:
        assert not list((bench.repository / "locks").iterdir())
        assert not list((bench.folder / "state" / "runs").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("at_work", [False, True])
def test_what_a_killed_run_did_not_store_is_believed_once_it_was_copied(pair: Pair, *, at_work: bool) -> None:
    """The doubt was of what that run might have stored. A run that is still at work settles its own."""
    source, target = pair
    stored = source.store(1).snapshot
    folder = target.call().folder
    mark_unconfirmed(folder, stored.id)
    with storing_unconfirmed(folder, stored.id) if at_work else nullcontext():
        target.engine.copy_from(source.engine, [stored.engine_id], target.call(), source.call())
        (there,) = target.engine.snapshots(target.call())
        assert there.outcome is (Outcome.INCOMPLETE if at_work else Outcome.COMPLETE)


@pytest.mark.slow
def test_a_repository_made_like_another_cuts_files_as_that_one_does(pair: Pair, restic_program: Path) -> None:
    """So that what is copied there shares its data with what is stored there."""
    source, _ = pair
    folder = source.folder.parent / "alike"
    folder.mkdir()
    alike = Bench(
        engine=ResticEngine(str(folder / "repository"), Secret("alike"), program=str(restic_program)), folder=folder
    )
    info = alike.engine.initialize_like(source.engine, alike.call(), source.call())
    assert info.chunking == source.engine.inspect(source.call()).chunking
    source.big(8_000_000)
    stored = source.engine.store(source.tree, make_label(1), source.call()).snapshot
    alike.engine.copy_from(source.engine, [stored.engine_id], alike.call(), source.call())
    again = alike.engine.store(source.tree, make_label(2), alike.call())
    assert again.added_bytes < 100_000
    plain = ResticEngine(str(folder / "plain"), Secret("plain"), program=str(restic_program))
    assert plain.initialize(alike.call()).chunking != info.chunking


@pytest.mark.slow
def test_an_unknown_id_is_an_error_before_anything_is_copied(pair: Pair) -> None:
    known = pair[0].store(1).snapshot.engine_id
    with pytest.raises(SnapshotMissingError):
        copy(pair, known, "0" * 64)
    assert pair[1].listed() == {}


@pytest.mark.slow
def test_a_wrong_passphrase_of_the_source_is_told(pair: Pair) -> None:
    source, target = pair
    known = source.store(1).snapshot.engine_id
    stranger = ResticEngine(str(source.repository), Secret("wrong"), program=pair[0].engine._access.program)  # type: ignore[attr-defined]
    with pytest.raises(WrongPassphraseError):
        target.engine.copy_from(stranger, [known], target.call(), source.call())


@pytest.mark.slow
def test_a_copy_that_is_killed_leaves_no_lock_that_lasts(pair: Pair, tmp_path: Path) -> None:
    """The lock in the source is of the same process: whoever comes next there, finds out that it is dead."""
    source, target = pair
    source.big(4_000_000)
    snapshot = source.engine.store(source.tree, make_label(1), source.call()).snapshot
    slow = tmp_path / "slow-restic"
    program = source.engine._access.program  # type: ignore[attr-defined]
    slow.write_text(f'#!/bin/sh\nexec "{program}" --limit-upload 100 "$@"\n')
    slow.chmod(0o700)
    crawling = ResticEngine(str(target.repository), Secret("target"), program=str(slow))
    pid = os.fork()
    if pid == 0:
        crawling.copy_from(source.engine, [snapshot.engine_id], target.call(), source.call())
        os._exit(0)
    until = time.monotonic() + 60
    while not all(any((bench.repository / "locks").iterdir()) for bench in pair):
        assert time.monotonic() < until
        time.sleep(0.01)
    for each in {*source.left_running(), pid}:  # the engine too: it would clean up after itself
        os.kill(each, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert all(any((bench.repository / "locks").iterdir()) for bench in pair)
    assert target.listed() == {}
    source.engine.compact(source.call())  # needs the repository for itself
    copy(pair, snapshot.engine_id)
    assert set(target.listed()) == {snapshot.id}
    for bench in pair:
        assert not list((bench.repository / "locks").iterdir())


@pytest.mark.slow
def test_init_makes_new_repositories_alike_and_warns_of_one_that_is_not(tmp_path: Path, own_restic: Path) -> None:
    def a_vault(*names: str) -> Vault:
        engines = {name: ResticEngine(str(tmp_path / name), Secret("x"), program=str(own_restic)) for name in names}
        repositories = [Repository(name, each) for name, each in engines.items()]
        return Vault(None, repositories, state_dir=tmp_path / "state")

    first, second = a_vault("one", "two").initialize().repositories
    assert first.info
    assert second.info
    assert first.info.chunking == second.info.chunking != ""
    a_vault("stranger").initialize()
    vault = a_vault("one", "stranger", "new")
    report = vault.initialize("stranger", "new", like="one")
    assert [each.created for each in report.repositories] == [False, True]
    (told,) = report.warnings
    assert told.startswith("stranger: it cuts files into other pieces than 'one'")
    assert "init stranger --like one" in told
    with pytest.raises(ConfigError, match="no repository named 'nowhere'"):
        vault.initialize(like="nowhere")
