"""What cannot go well is refused with a hint, before anything is touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from owui_vault import (
    BorgEngine,
    Call,
    Component,
    ConfigError,
    Container,
    DataDirectory,
    Engine,
    InitializeReport,
    InstanceNotFoundError,
    Limits,
    LockHeldError,
    NoSpaceError,
    Outcome,
    Quiesce,
    Repository,
    RepositoryInfo,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryUnreachableError,
    ResticEngine,
    RestoreError,
    RetentionPolicy,
    Secret,
    SnapshotAmbiguousError,
    SnapshotMissingError,
    TargetError,
    Vault,
    VaultError,
    WrongInstanceError,
)
from owui_vault.context.context import OperationContext
from owui_vault.context.state import StateDirectory
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.fakes import FakeClock
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance


class House:
    """An instance with one repository, and what it takes to look at it from elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        make_small_instance(self.data_dir)
        use_small_instance(self.data_dir, "first")
        self.repository = folder / "repository"
        self.vault = self.a_vault()
        self.vault.initialize()

    def a_vault(self, data_dir: Path | None = None, state: str = "state", **more: Any) -> Vault:
        engine = DirectoryEngine(self.repository, Secret("x"))
        return Vault(
            DataDirectory(data_dir or self.data_dir),
            [Repository("nas", engine, RetentionPolicy(last=1))],
            state_dir=self.folder / state,
            limits=Limits(lock_wait_seconds=0.3),
            **more,
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def refused(kind: type[VaultError], words: str, call: Callable[[], object]) -> VaultError:
    """The error, which must say what to do."""
    with pytest.raises(kind, match=words) as caught:
        call()
    assert caught.value.hint
    return caught.value


def test_a_repository_that_was_there_and_is_not(house: House) -> None:
    house.vault.snapshot()
    house.repository.rename(house.folder / "unmounted")
    error = refused(RepositoryMissingError, "no repository", house.vault.snapshot)
    assert error.exit_code == 10
    assert "mounted" in error.hint
    assert "mounted" in refused(RepositoryMissingError, "is no longer there", house.vault.initialize).hint
    assert not house.repository.exists()
    assert house.vault.initialize(again=True).repositories[0].created


@pytest.mark.parametrize("place", ["data/backups/nas", "data/uploads/nas", "linked/nas"])
def test_a_repository_among_the_live_data(house: House, place: str) -> None:
    """It would be stored into itself, and a restore in place would set it aside."""
    (house.folder / "linked").mkdir()
    (house.data_dir / "cache").symlink_to(house.folder / "linked")
    house.vault.snapshot()
    (house.folder / place).parent.mkdir(exist_ok=True)
    house.repository = house.repository.rename(house.folder / place)
    vault = house.a_vault(state="other")
    for call in (vault.snapshot, vault.initialize, vault.plan_replacement):
        error = refused(ConfigError, "'nas'.* is inside the data directory", call)
        assert error.exit_code == 2
    assert vault.restore("latest", house.folder / "copy").data_dir.is_dir()


@pytest.mark.parametrize("kind", ["restic", "borg"])
def test_a_repository_of_the_other_engine(house: House, kind: str) -> None:
    """Said before the engine is asked, which would call it damaged, or the passphrase wrong."""
    other = house.folder / "other"
    for folder in ("keys", "snapshots"):
        (other / folder).mkdir(parents=True)
    (other / "config").write_bytes(b"[repository]\nversion = 1\n" if kind == "borg" else os.urandom(32))
    engines: dict[str, Engine] = {
        "borg": ResticEngine(f"local:{other}", Secret("x"), program="/none"),
        "restic": BorgEngine(str(other), Secret("x"), program="/none"),
    }
    vault = Vault(DataDirectory(house.data_dir), [Repository("x", engines[kind])], state_dir=house.folder / "state")
    for call in (vault.snapshots, vault.snapshot, vault.initialize):
        error = refused(ConfigError, f"is a {kind} repository, but is used as", call)
        assert f"--engine {kind}" in error.hint


def test_a_state_directory_among_the_live_data(house: House) -> None:
    vault = house.a_vault(state="data/state")
    for call in (vault.snapshot, vault.initialize, vault.plan_replacement):
        refused(ConfigError, "the state directory .* is inside", call)


def test_another_repository_where_the_known_one_was(house: House) -> None:
    house.vault.snapshot()
    shutil.rmtree(house.repository)
    house.a_vault(state="somebody-elses").initialize()
    for call in (house.vault.snapshot, house.vault.snapshots, house.vault.plan_prune, house.vault.initialize):
        refused(RepositoryMissingError, "another repository", call)
    house.vault.initialize(again=True)
    assert house.vault.snapshot().outcome is Outcome.COMPLETE


def test_another_instance_under_the_same_name(house: House) -> None:
    house.vault.snapshot()
    other = house.folder / "other"
    make_small_instance(other)
    with closing(sqlite3.connect(other / "webui.db")) as connection:
        connection.execute("UPDATE user SET id = 'u2'")
        connection.commit()
    stranger = house.a_vault(other, state="state2")
    for call in (stranger.snapshot, stranger.plan_prune):
        error = refused(WrongInstanceError, "belongs to another instance", call)
        assert error.exit_code == 2
        assert "--adopt" in error.hint
    assert len(house.vault.snapshots()) == 1
    stranger.initialize(adopt=True)
    assert stranger.snapshot().outcome is Outcome.COMPLETE
    refused(WrongInstanceError, "belongs to another instance", house.vault.snapshot)


def test_two_runs_at_once(house: House) -> None:
    take = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); "
    script = take + "print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(house.data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        error = refused(LockHeldError, "another run", house.vault.snapshot)
        assert (error.exit_code, error.retryable) == (11, True)
    assert house.vault.snapshot().outcome is Outcome.COMPLETE


def test_a_clock_that_jumped_backwards_loses_nothing(house: House) -> None:
    """The last snapshot was taken while it ran more than a year ahead."""
    first = house.vault.snapshot()
    (stored,) = house.vault.snapshots()
    assert stored.label
    ahead = replace(stored.label, instant=stored.label.instant + timedelta(days=400))
    DirectoryEngine(house.repository, Secret("x")).relabel(stored.engine_id, ahead, Call(folder=house.folder))
    second = house.vault.snapshot()
    (warning,) = [each for each in second.warnings if "the clock of this machine says" in each]
    assert f"{ahead.instant:%Y-%m-%d %H:%M:%S} UTC" in warning
    newest = house.vault.snapshots()[0]
    assert newest.id == second.id
    assert newest.label
    assert newest.label.sequence == ahead.sequence + 1
    plan = house.vault.plan_prune()
    assert [kept.snapshot.id for kept in plan.repositories[0].kept] == [second.id]
    assert [each.id for each in plan.repositories[0].removed] == [first.id]


def test_targets_that_cannot_take_a_restore(house: House) -> None:
    house.vault.snapshot()
    before = state_of_small_instance(house.data_dir)
    full = house.folder / "full"
    full.mkdir()
    (full / "something").write_text("mine")
    a_file = house.folder / "file"
    a_file.write_text("mine")
    link = house.folder / "link"
    link.symlink_to(full)
    for target in (full, a_file, link, house.data_dir, house.data_dir / "below", house.data_dir / "uploads"):
        error = refused(TargetError, str(target), partial(house.vault.restore, "latest", target))
        assert error.exit_code == 2
    assert (full / "something").read_text() == "mine"
    assert state_of_small_instance(house.data_dir) == before


@pytest.mark.root
def test_a_target_that_is_too_small(house: House) -> None:
    """Looked at before a byte is written."""
    (house.data_dir / "uploads" / "large").write_bytes(bytes(80_000_000))
    house.vault.snapshot()
    small = house.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(small)], check=True)
    try:
        error = refused(NoSpaceError, "are free", lambda: house.vault.restore("latest", small / "copy"))
        assert "MB" in error.message
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.root
def test_a_stage_without_room_is_found_before_anything_is_copied(house: House) -> None:
    small = house.folder / "volume"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(small)], check=True)
    try:
        make_small_instance(small / "data")
        (small / "data" / "other.bin").write_bytes(bytes(20_000_000))
        vault = house.a_vault(small / "data", state="state3")
        refused(NoSpaceError, "free", vault.snapshot)
        assert not (small / "data" / ".owui-vault").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_snapshots_that_are_not_there(house: House) -> None:
    refused(SnapshotMissingError, "no complete snapshot", lambda: house.vault.restore("latest", house.folder / "copy"))
    house.vault.snapshot()
    refused(SnapshotMissingError, "no snapshot 'ffffffff'", lambda: house.vault.manifest("ffffffff"))
    assert not (house.folder / "copy").exists()
    refused(SnapshotMissingError, "at or before", lambda: house.vault.manifest("2001-01-01"))


def test_a_beginning_that_fits_two(house: House) -> None:
    house.vault.snapshot()
    (first,) = house.vault.snapshots()
    assert first.label
    other = replace(first.label, id=f"{first.id[:4]}{'0000' if first.id[4:] != '0000' else '1111'}", sequence=2)
    tree = house.vault.restore("latest", house.folder / "tree").target
    DirectoryEngine(house.repository, Secret("x")).store(tree, other, Call(folder=house.folder))
    error = refused(SnapshotAmbiguousError, "matches 2 snapshots", lambda: house.vault.manifest(first.id[:4]))
    assert first.id in error.hint
    assert other.id in error.hint
    refused(SnapshotMissingError, "is too short for the start", lambda: house.vault.manifest(first.id[:3]))
    assert house.vault.manifest(first.id).id == first.id


def test_what_is_not_configured(house: House) -> None:
    refused(ConfigError, "no repository named 'x'", lambda: house.vault.snapshot(to="x"))
    refused(ConfigError, "is not a tag", lambda: house.vault.snapshot(tags=["a b"]))
    for plan in ("Nightly", "a b", "p" * 64, "../x", "-x"):
        refused(ConfigError, "cannot be the name of a plan", partial(house.vault.snapshot, plan=plan))
    bare = Vault(None, [], state_dir=house.folder / "bare")
    refused(ConfigError, "no repository is configured", bare.snapshots)
    refused(ConfigError, "no instance is configured", bare.inspect)
    engine = DirectoryEngine(house.repository, Secret("x"))
    idle = Vault(None, [Repository("nas", engine)], state_dir=house.folder / "bare")
    refused(ConfigError, "no retention policy", idle.plan_prune)
    refused(ConfigError, "pause is not available for this instance", lambda: house.vault.hold().__enter__())
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        refused(
            ConfigError, f"{mode.value} is not available for this instance", partial(house.vault.snapshot, quiesce=mode)
        )
    refused(RestoreError, "there are no previous data", house.vault.undo)


def test_a_data_directory_one_level_too_high_makes_no_repository(tmp_path: Path) -> None:
    make_small_instance(tmp_path / "open-webui" / "data")
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    vault = Vault(DataDirectory(tmp_path / "open-webui"), [Repository("nas", engine)], state_dir=tmp_path / "state")
    error = refused(InstanceNotFoundError, "holds no webui.db", vault.initialize)
    assert error.hint == f"Did you mean {tmp_path}/open-webui/data?"
    assert not (tmp_path / "repository").exists()


def test_a_data_directory_that_went_away(house: House) -> None:
    house.data_dir.rename(house.folder / "elsewhere")
    for call in (house.vault.snapshot, house.vault.inspect, house.vault.recover):
        refused(InstanceNotFoundError, "does not exist", call)


def test_a_bare_machine_restores_with_the_repository_alone(house: House) -> None:
    """No instance, no state, only a location and a passphrase."""
    taken = house.vault.snapshot()
    engine = DirectoryEngine(house.repository, Secret("x"))
    bare = Vault(None, [Repository("nas", engine)], state_dir=house.folder / "new-state")
    assert [each.id for each in bare.snapshots()] == [taken.id]
    restored = bare.restore("latest", house.folder / "copy")
    assert state_of_small_instance(restored.data_dir) == state_of_small_instance(house.data_dir)
    uploads = bare.restore(taken.id, house.folder / "part", components=[Component.UPLOADS])
    assert sorted(path.name for path in uploads.data_dir.iterdir()) == ["uploads"]
    refused(TargetError, "holds no legacy", lambda: bare.restore("latest", house.folder / "x", [Component.LEGACY]))


@pytest.mark.parametrize("name", ["My Instance", "../../../evil", "", ".hidden", "a" * 64, "ä", "a/b"])
def test_names_that_could_not_be_written_down(tmp_path: Path, name: str) -> None:
    """Found at once, and not after a capture; and no folder is made of them."""
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    data = DataDirectory(tmp_path / "data")
    for instance, repository, series in (
        (DataDirectory(tmp_path / "data", name=name), "nas", None),
        (Container("open-webui", name=name), "nas", None),
        (data, name, None),
        (None, "nas", name),
    ):
        with pytest.raises(ConfigError, match="cannot be the name of") as caught:
            Vault(instance, [Repository(repository, engine)], state_dir=tmp_path / "state", series=series)
        assert "a-z 0-9" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_cannot_be_made_does_not_hide_the_others(tmp_path: Path) -> None:
    class Away(DirectoryEngine):
        def inspect(self, call: Call) -> RepositoryInfo:
            raise RepositoryUnreachableError("its host does not answer", hint="Look at the host.")

    near = Repository("near", DirectoryEngine(tmp_path / "near", Secret("x")))
    far, farther = (Repository(name, Away(tmp_path / name, Secret("x"))) for name in ("far", "farther"))
    report = Vault(None, [far, near], state_dir=tmp_path / "state").initialize()
    failed, made = report.repositories
    assert isinstance(failed.error, RepositoryUnreachableError)
    assert failed.info is None
    assert (made.created, made.error) == (True, None)
    with pytest.raises(RepositoryUnreachableError) as caught:
        Vault(None, [far, farther], state_dir=tmp_path / "state").initialize()
    assert isinstance(caught.value.report, InitializeReport)
    assert [each.repository for each in caught.value.report.repositories] == ["far", "farther"]


def test_two_repositories_of_one_name(tmp_path: Path) -> None:
    """Each has its folder and its notes by its name."""
    repositories = [Repository("nas", DirectoryEngine(tmp_path / each, Secret("x"))) for each in ("one", "two")]
    refused(ConfigError, "the same name", lambda: Vault(None, repositories, state_dir=tmp_path / "state"))


def test_two_repositories_in_one_place(tmp_path: Path) -> None:
    """Whoever copied a part of the configuration and forgot to change it would believe to have two copies."""
    repositories = [Repository(each, DirectoryEngine(tmp_path / "one", Secret("x"))) for each in ("nas", "far")]
    refused(ConfigError, "'nas' and 'far' are at the same place", lambda: Vault(None, repositories))


def test_adopting_a_series_for_an_instance_that_has_no_user(house: House) -> None:
    """It has no fingerprint yet: whatever was started on the directory next would own the series."""
    with closing(sqlite3.connect(house.data_dir / "webui.db")) as connection:
        connection.execute("DELETE FROM user")
        connection.commit()
    error = refused(ConfigError, "cannot adopt the series", lambda: house.vault.initialize(adopt=True))
    assert "first user" in error.hint


def test_a_repository_that_somebody_makes_in_this_moment_is_taken_as_it_is(tmp_path: Path) -> None:
    behind = DirectoryEngine(tmp_path / "repository", Secret("x"))
    made: list[RepositoryInfo] = []

    def somebody_was_faster(operation: str, moment: str) -> None:
        if (operation, moment) == ("initialize", "before"):
            made.append(behind.initialize(Call(folder=tmp_path)))

    vault = Vault(None, [Repository("nas", FaultyEngine(behind, somebody_was_faster))], state_dir=tmp_path / "state")
    (result,) = vault.initialize().repositories
    assert (result.created, result.error) == (False, None)
    assert [result.info] == made
    assert vault.snapshots() == ()


def test_a_repository_that_stays_locked(house: House) -> None:
    """Waited for as long as configured, and then said."""
    clock = FakeClock()

    def locked(operation: str, _moment: str) -> None:
        if operation == "snapshots":
            raise RepositoryLockedError("another program works on it")

    engine = FaultyEngine(DirectoryEngine(house.repository, Secret("x")), locked)
    vault = Vault(
        None,
        [Repository("nas", engine)],
        state_dir=house.folder / "elsewhere",
        limits=Limits(lock_wait_seconds=30),
        clock=clock,
    )
    began = clock.monotonic()
    with pytest.raises(RepositoryLockedError) as caught:
        vault.snapshots()
    assert caught.value.retryable
    assert 30 <= clock.monotonic() - began <= 32


def test_an_operation_on_the_data_needs_the_container_found_first(tmp_path: Path) -> None:
    """Else it would work with a directory that nobody has looked for."""
    context = OperationContext(
        instance=Container("open-webui"), repositories=(), state=StateDirectory(tmp_path / "state")
    )
    with pytest.raises(TypeError, match="locate the container first"):
        context.the_instance()


@pytest.mark.root
@pytest.mark.parametrize("what", ["repository", "state"])
def test_what_a_mount_shows_among_the_live_data(house: House, what: str) -> None:
    """It was stored into itself, every time again."""
    house.vault.snapshot()
    shown = house.data_dir / "backups"
    shown.mkdir()
    outside = house.folder / "disk"
    outside.mkdir()
    if what == "repository":
        house.repository = house.repository.rename(outside / "nas")
    vault = house.a_vault(state="other" if what == "repository" else "disk/state")
    assert not any("is inside" in warning for warning in vault.inspect().warnings)
    subprocess.run(["mount", "--bind", outside, shown], check=True)
    try:
        for call in (vault.snapshot, vault.initialize, vault.plan_replacement):
            error = refused(ConfigError, "is inside the data directory of the instance, where a mount", call)
            assert error.exit_code == 2
        assert any("where a mount shows it: a snapshot is refused" in each for each in vault.inspect().warnings)
    finally:
        subprocess.run(["umount", shown], check=True)


def test_a_repository_inside_another_one(house: House, tmp_path: Path) -> None:
    def initialize(**places: Path) -> Callable[[], object]:
        engines = {name: DirectoryEngine(place, Secret("x")) for name, place in places.items()}
        repositories = [Repository(name, engine) for name, engine in engines.items()]
        return Vault(DataDirectory(house.data_dir), repositories, state_dir=house.folder / "s").initialize

    inside = house.repository / "objects" / "deeper"
    nas, outer, inner = house.repository, tmp_path / "a", tmp_path / "a" / "b"
    refused(ConfigError, "'new' .* would be inside the repository 'nas'", initialize(new=inside, nas=nas))
    refused(ConfigError, "'nas' .* would be around the repository 'new'", initialize(nas=nas, new=inside))
    refused(ConfigError, "'outer' .* would be around the repository", initialize(outer=outer, inner=inner))
    (tmp_path / "borg").mkdir()
    (tmp_path / "borg" / "config").write_bytes(b"[repository]\nversion = 1\n")
    refused(ConfigError, "inside a repository of borg", initialize(new=tmp_path / "borg" / "data" / "new"))
    assert not inside.exists()
    assert not (tmp_path / "a").exists()
