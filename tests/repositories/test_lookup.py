"""Which snapshot is meant, in which series, in which repository; and what is left of the look: nothing."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from owui_vault import (
    Call,
    CancelledError,
    DataDirectory,
    Limits,
    LockHeldError,
    Outcome,
    Repository,
    RepositoryMissingError,
    Secret,
    SnapshotAmbiguousError,
    SnapshotMissingError,
    Vault,
    VaultError,
    WrongPassphraseError,
)
from owui_vault.context import scratch
from owui_vault.model.json_codec import local_text
from owui_vault.system.lock import file_lock
from owui_vault.system.removal import remove_tree
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.built_once import BuiltOnce


class House:
    """Two instances that share a repository, and a second repository that holds the first one's alone."""

    taken: dict[str, str]

    def __init__(self, folder: Path, as_built: House | None = None) -> None:
        self.folder = folder
        self.nas, self.usb = self.engine("nas"), self.engine("usb")
        self.home, self.work = self.instance("home", "nas", "usb"), self.instance("work", "nas")
        if as_built is not None:
            self.taken = dict(as_built.taken)
            return
        for name in ("home", "work"):
            make_small_instance(folder / name)
            use_small_instance(folder / name, name)
        self.home.initialize()
        self.taken = {"home": self.home.snapshot(to="nas").id, "work": self.work.snapshot().id}

    def engine(self, name: str, passphrase: str = "x") -> DirectoryEngine:
        return DirectoryEngine(self.folder / f"repository-{name}", Secret(passphrase))

    def instance(self, name: str, *repositories: str) -> Vault:
        data_dir = DataDirectory(self.folder / name, name=name)
        return Vault(data_dir, [Repository(each, self.engine(each)) for each in repositories], state_dir=self.state)

    def waiting(self, seconds: float) -> Vault:
        """The first instance, with whoever holds something waited for so long."""
        data_dir = DataDirectory(self.folder / "home", name="home")
        limits = Limits(lock_wait_seconds=seconds)
        return Vault(data_dir, [Repository("nas", self.nas)], state_dir=self.state, limits=limits)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def bare(self, *repositories: Repository) -> Vault:
        """Another machine: nothing but repositories."""
        return Vault(None, repositories or [Repository("nas", self.nas)], state_dir=self.folder / "bare")

    def again(self, engine: DirectoryEngine, id_: str) -> None:
        """The newest snapshot once more under another id."""
        tree = self.folder / f"tree-{id_}"
        newest = self.home.restore("latest", tree, app_data_dir=str(self.folder / "home")).snapshot
        assert newest.label
        manifest = tree / "manifest.json"
        manifest.write_text(manifest.read_text().replace(f'"{newest.id}"', f'"{id_}"'))
        label = replace(newest.label, id=id_, sequence=newest.label.sequence + 1)
        engine.store(tree, label, Call(folder=self.folder))


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> BuiltOnce[House]:
    return BuiltOnce(tmp_path_factory.mktemp("houses"), House)


@pytest.fixture
def house(houses: BuiltOnce[House]) -> House:
    return House(houses.place, houses.put_back())


def test_an_id_needs_no_series(house: House, tmp_path: Path) -> None:
    bare = house.bare()
    for name, id_ in house.taken.items():
        listed = next(each for each in bare.snapshots() if each.id == id_)
        for wanted in (id_, listed.engine_id, listed.name, listed):
            assert bare.manifest(wanted).instance == name
        assert bare.restore(id_, tmp_path / f"copy of {name}").manifest.instance == name
        assert bare.verify(id_).ok
    assert house.home.manifest(house.taken["work"]).instance == "work"


def test_everything_is_listed_when_asked_for_what_is_not_ours_included(house: House) -> None:
    house.home.snapshot(to="usb")
    (mine,) = house.home.snapshots("nas")
    (foreign,) = house.home.snapshots("usb")
    record = house.folder / f"repository-usb/snapshots/{foreign.engine_id}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "label": "of another program"}))
    assert [each.id for each in house.home.snapshots()] == [mine.id]
    everything = house.home.snapshots(everything=True)
    assert {each.instance: each.id for each in everything if each.label} == house.taken
    assert [each.engine_id for each in everything if not each.label] == [foreign.engine_id]


def test_a_repository_that_was_chosen_and_does_not_answer_is_an_error(house: House) -> None:
    (house.folder / "repository-usb").rename(house.folder / "unplugged")
    with pytest.raises(RepositoryMissingError):
        house.home.snapshots("usb")


@pytest.mark.parametrize("wanted", ["latest", "2100-01-01", "beginning"])
def test_whatever_else_needs_one_where_there_are_several(house: House, wanted: str) -> None:
    bare = house.bare()
    text = house.taken["work"][:7] if wanted == "beginning" else wanted
    with pytest.raises(SnapshotMissingError) as caught:
        bare.manifest(text)
    assert "--instance: home, work" in caught.value.hint
    assert bare.manifest(text, instance="work").id == house.taken["work"]
    assert house.home.manifest("latest").id == house.taken["home"]
    assert house.home.manifest("latest", instance="work").id == house.taken["work"]


def test_a_named_series_is_the_only_one_looked_into(house: House, tmp_path: Path) -> None:
    bare = house.bare()
    with pytest.raises(SnapshotMissingError):
        bare.manifest(house.taken["work"], instance="home")
    assert bare.restore("latest", tmp_path / "copy", instance="work").manifest.instance == "work"
    report = bare.verify("latest", instance="work")
    assert report.snapshot
    assert report.snapshot.id == house.taken["work"]


def test_a_series_that_is_empty_names_those_that_are_not(house: House) -> None:
    with pytest.raises(SnapshotMissingError) as caught:
        house.bare().manifest("latest", instance="elsewhere")
    assert "The series 'elsewhere' is empty here; others are: home, work" in caught.value.hint


def test_a_beginning_that_fits_two_is_not_looked_for_elsewhere(house: House) -> None:
    for engine, id_ in ((house.nas, "aaaa0001"), (house.nas, "aaaa0002"), (house.usb, "aaaa0003")):
        house.again(engine, id_)
    with pytest.raises(SnapshotAmbiguousError):
        house.home.manifest("aaaa")
    assert house.home.manifest("aaaa", repository="usb").instance == "home"


@pytest.mark.parametrize("order", ["away first", "away last"])
@pytest.mark.parametrize(("away", "kind"), [("closed", WrongPassphraseError), ("nowhere", RepositoryMissingError)])
def test_a_repository_that_does_not_answer_may_hold_it(
    house: House, order: str, away: str, kind: type[VaultError]
) -> None:
    engine = house.engine("nas", "another passphrase") if away == "closed" else house.engine("not-there")
    repositories = [Repository(away, engine), Repository("usb", house.usb)]
    bare = house.bare(*(repositories if order == "away first" else reversed(repositories)))
    for wanted in (house.taken["home"], "latest"):
        with pytest.raises(kind) as caught:
            bare.manifest(wanted)
        assert "Elsewhere: usb: there is no " in caught.value.hint


def test_latest_from_a_later_repository_is_told(house: House, tmp_path: Path) -> None:
    house.again(house.usb, "bbbb0001")
    closed = Repository("nas", house.engine("nas", "another passphrase"))
    bare = house.bare(closed, Repository("usb", house.usb))
    for report in (bare.restore("latest", tmp_path / "copy"), bare.verify("latest")):
        assert report.snapshot
        assert report.snapshot.id == "bbbb0001"
        (told,) = [each for each in report.warnings if "was skipped" in each]
        assert told.startswith("repository 'nas' was skipped (the passphrase does not open ")
        assert told.endswith("this snapshot is from 'usb'")
    empty = Repository("empty", house.engine("empty"))
    house.bare(empty).initialize()
    report = house.bare(empty, Repository("usb", house.usb)).restore("latest", tmp_path / "another")
    assert "repository 'empty' was skipped (there is no complete snapshot)" in report.warnings[0]
    by_id = house.bare(empty, Repository("usb", house.usb)).restore("bbbb0001", tmp_path / "third")
    assert not [each for each in by_id.warnings if "was skipped" in each]


def test_a_snapshot_of_one_repository_is_found_in_another(house: House) -> None:
    house.home.snapshot(to=["nas", "usb"])
    (in_usb,) = house.home.snapshots("usb")
    assert house.home.manifest(in_usb).id == in_usb.id
    assert house.home.manifest(in_usb, "nas").id == in_usb.id
    unknown = replace(in_usb, engine_id="e" * 64, label=None)
    with pytest.raises(SnapshotMissingError, match="in repository 'usb'"):
        house.home.manifest(unknown)


def test_a_snapshot_that_went_wrong_late_is_incomplete_wherever_it_is_told(house: House, tmp_path: Path) -> None:
    """The manifest was written before; only the label knows."""
    stored = house.home.snapshots("nas")[0]
    assert stored.label
    house.nas.relabel(stored.engine_id, replace(stored.label, outcome=Outcome.INCOMPLETE), Call(folder=tmp_path))
    manifest = house.home.manifest(stored.id)
    assert manifest.outcome is Outcome.INCOMPLETE
    assert "while this repository's engine stored them" in manifest.problems[0]
    restored = house.home.restore(stored.id, tmp_path / "copy")
    assert restored.manifest.outcome is Outcome.INCOMPLETE
    assert any("this snapshot is INCOMPLETE" in each for each in restored.warnings)
    assert "ATTENTION: this snapshot is INCOMPLETE" in (tmp_path / "copy/RESTORE.txt").read_text()
    assert any("this snapshot is INCOMPLETE" in each for each in house.home.verify(stored.id).warnings)


_KILLED = """
import os, signal, sys
from pathlib import Path
from owui_vault import Repository, Secret, Vault
from owui_vault.testing.engines.directory import DirectoryEngine

class Deadly(DirectoryEngine):
    def fetch(self, engine_id, target, call, *, paths=()):
        super().fetch(engine_id, target, call, paths=paths)
        if (target / sys.argv[3]).exists():
            if sys.argv[4] == "live":
                print("there", flush=True)
                sys.stdin.read()
            os.kill(os.getpid(), signal.SIGKILL)

vault = Vault(None, [Repository("nas", Deadly(Path(sys.argv[1]), Secret("x")))], state_dir=Path(sys.argv[2]))
vault.verify("latest", instance="home")
"""


def killed(house: House, *words: str) -> list[str]:
    script = house.folder / "killed.py"
    script.write_text(_KILLED)
    return [sys.executable, str(script), str(house.folder / "repository-nas"), str(house.state), *words]


def left(house: House) -> list[str]:
    return sorted(str(path.relative_to(house.state)) for path in house.state.glob("scratch/*"))


@pytest.mark.parametrize("name", ["data/webui.db", "manifest.json"])
@pytest.mark.parametrize("cure", ["recover", "verify", "snapshot"])
def test_what_a_killed_look_had_fetched_is_removed(house: House, name: str, cure: str) -> None:
    assert left(house) == []
    done = subprocess.run(killed(house, name, "die"), check=False, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    assert done.returncode == -signal.SIGKILL
    assert len(left(house)) == 1
    getattr(house.home, cure)()
    assert left(house) == []


def test_what_cannot_be_removed_yet_is_removed_the_next_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that outlived its run may still write there."""

    def refuse(_folder: Path) -> None:
        raise OSError(39, "Directory not empty")

    (house.state / "scratch/verify-dead").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(scratch, "remove_tree", refuse)
        assert house.home.recover().actions == ()
    assert left(house) == ["scratch/verify-dead"]
    assert len(house.home.recover().actions) == 1
    assert left(house) == []


def test_what_a_living_look_has_fetched_stays(house: House) -> None:
    command = killed(house, "data/webui.db", "live")
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout
        assert other.stdout.readline() == b"there\n"
        before = left(house)
        assert house.home.recover().actions == ()
        assert house.home.verify().ok
        assert left(house) == before
    actions = house.home.recover().actions
    assert ["fetched files that a killed run left" in each for each in actions] == [True]
    assert left(house) == []


def test_nothing_fetched_lies_anywhere_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /tmp outlives everybody, and is not always ours alone."""
    seen: list[str] = []
    fetch = DirectoryEngine.fetch

    def noting(self: DirectoryEngine, engine_id: str, target: Path, call: Call, **more: object) -> None:
        seen.append(str(target))
        fetch(self, engine_id, target, call, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(DirectoryEngine, "fetch", noting)
    house.home.manifest("latest")
    house.home.verify("latest")
    assert seen
    assert all(place.startswith(f"{house.state}/scratch/") for place in seen)
    assert left(house) == []


def test_a_time_copied_from_the_list_is_that_snapshot(house: House) -> None:
    (first,) = house.home.snapshots("nas")
    while local_text(datetime.now(UTC)) == local_text(first.instant):
        time.sleep(0.01)  # lists show seconds
    house.home.snapshot(to="nas")
    listed = house.home.snapshots("nas")
    assert len({local_text(each.instant) for each in listed}) == 2
    for each in listed:
        for text in (local_text(each.instant), local_text(each.instant, zone=False), str(each.instant)):
            assert house.home.manifest(text).id == each.id


@contextmanager
def held_by_another(folder: Path) -> Iterator[None]:
    """As by a run that was stopped in that moment."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_place_for_fetched_files_is_waited_for_as_long_as_allowed(house: House) -> None:
    vault = house.waiting(0.2)
    cancel = threading.Event()
    with held_by_another(house.state / "scratch"):
        with pytest.raises(LockHeldError, match=r"waited 0\.2 s"):
            vault.verify()
        with pytest.raises(LockHeldError):
            vault.manifest("latest")
        timer = threading.Timer(0.2, cancel.set)
        timer.start()
        with pytest.raises(CancelledError):
            house.waiting(60).verify(cancel=cancel)
        timer.join()
    assert vault.verify().ok


def test_nobody_waits_while_a_dead_runs_files_are_removed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes may have been fetched."""
    (house.state / "scratch/verify-dead").mkdir(parents=True)
    removed: list[Path] = []

    def meanwhile(folder: Path) -> None:
        if folder.name == "verify-dead" and not removed:
            removed.append(folder)
            assert house.waiting(0).manifest("latest")
        remove_tree(folder)

    monkeypatch.setattr(scratch, "remove_tree", meanwhile)
    assert house.home.verify().ok
    assert removed
    assert left(house) == []


def test_a_note_that_somebody_holds_is_waited_for_as_long_as_allowed(house: House) -> None:
    with file_lock(house.state / "instances/home/ledger.json"), pytest.raises(LockHeldError):
        house.waiting(0.2).verify()
