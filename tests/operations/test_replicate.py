"""What one repository holds is brought to others: the same snapshots, no more than they would keep, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault import (
    BorgEngine,
    ConfigError,
    ContentMismatchError,
    CopyWay,
    DataDirectory,
    Engine,
    Limits,
    Outcome,
    Repository,
    RepositoryDamagedError,
    RepositoryUnreachableError,
    ResticEngine,
    RetentionPolicy,
    Secret,
    Snapshot,
    Step,
    Vault,
    VaultError,
    WrongInstanceError,
)
from owui_vault.operations.replicate import missing
from owui_vault.repositories.retention import decide
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance
from tests.repositories.test_retention import EXAMPLES, any_series, policies
from tests.restic_templates import PlaceRestic

POLICIES = {name: RetentionPolicy(last=last) for name, last in {"near": 10, "far": 2, "away": 1, "usb": 1}.items()}


class House:
    """An instance with a repository nearby, and another one that was added later."""

    def __init__(self, folder: Path, engines: dict[str, Engine] | None = None) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        make_small_instance(self.data_dir)
        self.faults: dict[tuple[str, str, str], Callable[[], None]] = {}
        self.engines: dict[str, Engine] = engines or {
            name: FaultyEngine(DirectoryEngine(folder / name, Secret(name)), self.faulty(name))
            for name in ("near", "far")
        }
        self.vault = self.a_vault()
        self.vault.initialize()

    def faulty(self, name: str) -> Callable[[str, str], None]:
        return lambda call, moment: self.faults.get((name, call, moment), lambda: None)()

    def a_vault(self, *, state: str = "state", instance: bool = True) -> Vault:
        return Vault(
            DataDirectory(self.data_dir) if instance else None,
            [Repository(name, engine, POLICIES[name]) for name, engine in self.engines.items()],
            state_dir=self.folder / state,
            limits=Limits(lock_wait_seconds=0.3),
        )

    def taken(self, number: int) -> list[str]:
        """Snapshots that only the near repository has, oldest first."""
        return [self.snapshot() for _ in range(number)]

    def snapshot(self) -> str:
        use_small_instance(self.data_dir, os.urandom(4).hex())
        return self.vault.snapshot(to="near").id

    def ids(self, name: str = "far") -> list[str]:
        return [each.id for each in self.vault.snapshots(name)]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def raising(error: VaultError) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


@EXAMPLES
@given(series=any_series(), policy=policies, there=st.sets(st.integers(0, 30)))
def test_a_second_run_after_the_next_prune_has_nothing_to_do(
    series: list[Snapshot], policy: RetentionPolicy, there: set[int]
) -> None:
    here = [replace(each, repository="far") for number, each in enumerate(series) if number in there]
    try:
        brought = missing(policy, here, series)
        together = [*here, *(replace(each, repository="far", verified_at=None) for each in brought)]
        kept, removed = decide(policy, together) if together else ((), ())
    except ConfigError:  # a policy that keeps nothing at all of this series is refused
        return
    assert {each.id for each in removed}.isdisjoint(each.id for each in brought)
    left = [each.snapshot for each in kept]
    assert missing(policy, left, series) == ()


def test_a_mirror_that_was_added_later_gets_what_it_would_keep_and_the_newest_first(house: House) -> None:
    taken = house.taken(4)
    plan = house.vault.plan_replication("near", to=("far",))
    (planned,) = plan.repositories
    assert [each.id for each in planned.copies] == [taken[3], taken[2]]
    assert house.ids() == []
    report = house.vault.replicate(plan)
    (result,) = report.repositories
    assert [each.id for each in result.copied] == [taken[3], taken[2]]
    assert result.error is None
    near = {each.id: each for each in house.vault.snapshots("near")}
    for copied in house.vault.snapshots("far"):
        original = near[copied.id]
        assert copied.label == original.label
        assert house.vault.manifest(copied) == house.vault.manifest(original)
    restored = house.vault.restore(taken[3], house.folder / "copy", repository="far")
    assert state_of_small_instance(restored.data_dir) == state_of_small_instance(house.data_dir)
    assert house.vault.verify("latest", "far", read_data=1.0).ok


def test_what_is_there_is_not_brought_again(house: House) -> None:
    house.taken(2)
    house.vault.replicate(house.vault.plan_replication())
    assert [each.copies for each in house.vault.plan_replication().repositories] == [()]
    house.vault.prune(house.vault.plan_prune(repository="far"))
    assert [each.copies for each in house.vault.plan_replication().repositories] == [()]
    newest = house.snapshot()
    (planned,) = house.vault.plan_replication().repositories
    assert [each.id for each in planned.copies] == [newest]


def test_a_plan_that_was_carried_out_meanwhile_brings_nothing_twice(house: House) -> None:
    house.taken(2)
    plan = house.vault.plan_replication()
    house.a_vault(state="another machine").replicate(plan)
    assert house.vault.replicate(plan).repositories[0].copied == ()
    assert len(house.vault.snapshots("far", everything=True)) == 2


def test_named_snapshots_are_brought_whatever_keep_says(house: House) -> None:
    taken = house.taken(4)
    plan = house.vault.plan_replication(snapshots=[taken[0], "latest"])
    assert [each.id for each in plan.repositories[0].copies] == [taken[3], taken[0]]
    house.vault.replicate(plan)
    assert house.ids() == [taken[3], taken[0]]


def test_no_instance_is_needed_and_all_series_come(house: House) -> None:
    """The machine that holds the copies pulls them."""
    house.taken(1)
    other = Vault(
        DataDirectory(house.data_dir, name="laboratory"), house.vault.repositories, state_dir=house.folder / "state"
    )
    other.snapshot(to="near")
    shutil.rmtree(house.data_dir)
    receiver = house.a_vault(state="receiver", instance=False)
    receiver.replicate(receiver.plan_replication("near"))
    assert {each.instance for each in receiver.snapshots("far")} == {"open-webui", "laboratory"}


def test_a_repository_that_is_away_keeps_no_other_from_its_copies(tmp_path: Path) -> None:
    faults: dict[str, VaultError] = {}

    def fault(_call: str, _moment: str) -> None:
        if faults:
            raise faults["away"]

    engines: dict[str, Engine] = {name: DirectoryEngine(tmp_path / name, Secret(name)) for name in ("near", "far")}
    engines["usb"] = FaultyEngine(DirectoryEngine(tmp_path / "usb", Secret("usb")), fault)
    house = House(tmp_path, engines)
    (taken,) = house.taken(1)
    faults["away"] = RepositoryUnreachableError("away")
    plan = house.vault.plan_replication()
    assert [type(each.error) for each in plan.repositories] == [type(None), RepositoryUnreachableError]
    report = house.vault.replicate(plan)
    assert [each.error for each in report.repositories][1] is faults["away"]
    assert house.ids() == [taken]


def test_where_all_fail_the_first_error_is_raised_with_the_report(house: House) -> None:
    house.taken(1)
    plan = house.vault.plan_replication()
    house.faults["far", "store", "before"] = raising(RepositoryUnreachableError("away"))
    with pytest.raises(RepositoryUnreachableError) as caught:
        house.vault.replicate(plan)
    assert caught.value.report is not None
    assert house.ids() == []
    house.faults.clear()
    house.vault.replicate(plan)
    assert len(house.ids()) == 1


def test_a_source_that_is_away_is_an_error_before_anything_is_done(house: House) -> None:
    house.taken(1)
    house.faults["near", "snapshots", "before"] = raising(RepositoryUnreachableError("away"))
    with pytest.raises(RepositoryUnreachableError):
        house.vault.plan_replication()


def test_a_damaged_snapshot_stays_behind_and_the_others_come(house: House) -> None:
    taken = house.taken(2)
    fetches = iter([RepositoryDamagedError("a pack is damaged")])

    def damaged_once() -> None:
        for error in fetches:
            raise error

    plan = house.vault.plan_replication()
    house.faults["near", "fetch", "before"] = damaged_once
    report = house.vault.replicate(plan)
    assert isinstance(report.repositories[0].error, RepositoryDamagedError)
    assert house.ids() == [taken[0]]


def test_what_is_not_as_its_manifest_says_is_not_stored(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.taken(1)
    behind = house.engines["near"]
    assert isinstance(behind, FaultyEngine)
    fetch = behind.engine.fetch

    def fetch_and_change(engine_id: str, target: Path, *more: object, **named: object) -> None:
        fetch(engine_id, target, *more, **named)  # type: ignore[arg-type]
        with (target / "data" / "webui.db").open("r+b") as file:
            file.seek(100)
            file.write(b"rotten")

    plan = house.vault.plan_replication()
    monkeypatch.setattr(behind.engine, "fetch", fetch_and_change)
    with pytest.raises(ContentMismatchError, match="differs from its manifest"):
        house.vault.replicate(plan)
    assert house.ids() == []
    assert list((house.folder / "state" / "scratch").iterdir()) == []


def test_an_incomplete_snapshot_stays_incomplete(house: House) -> None:
    use_small_instance(house.data_dir, "precious")
    (upload,) = (house.data_dir / "uploads").iterdir()
    house.faults["near", "store", "before"] = lambda: (None, upload.write_text("changed while it was stored"))[0]
    report = house.vault.snapshot(to="near")
    assert report.outcome is Outcome.INCOMPLETE
    house.vault.replicate(house.vault.plan_replication())
    assert [(each.id, each.outcome) for each in house.vault.snapshots("far")] == [(report.id, Outcome.INCOMPLETE)]


def test_what_nobody_believes_here_is_not_believed_elsewhere(house: House) -> None:
    """The repository says complete; only this machine knows that the run did not live to look once more."""
    good, doubted = house.taken(2)
    folder = next(each for each in (house.folder / "state" / "repositories").iterdir() if each.name.startswith("near"))
    memory = json.loads((folder / "memory.json").read_text())
    (folder / "memory.json").write_text(json.dumps(memory | {"unverified": {doubted: "open-webui"}}))
    plan = house.vault.plan_replication()
    assert [each.id for each in plan.repositories[0].copies] == [good]
    assert doubted in plan.warnings[0]


def test_another_instance_under_the_same_name_is_refused(house: House) -> None:
    house.taken(1)
    other = house.folder / "other"
    make_small_instance(other)
    with closing(sqlite3.connect(other / "webui.db")) as connection, connection:
        connection.execute("UPDATE user SET id = 'somebody else'")
    Vault(DataDirectory(other), house.vault.repositories[1:], state_dir=house.folder / "elsewhere").snapshot()
    (planned,) = house.vault.plan_replication().repositories
    assert isinstance(planned.error, WrongInstanceError)
    with pytest.raises(WrongInstanceError):
        house.vault.replicate(house.vault.plan_replication())


@pytest.mark.parametrize(
    ("source", "to", "told"),
    [("near", ("near",), "cannot be copied to itself"), ("nowhere", (), "no repository named 'nowhere'")],
)
def test_a_mistaken_request_is_refused(house: House, source: str, to: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        house.vault.plan_replication(source, to=to)


def test_a_single_repository_has_nowhere_to_go(house: House) -> None:
    with pytest.raises(ConfigError, match="no repository to copy to"):
        Vault(None, house.vault.repositories[:1], state_dir=house.folder / "state").plan_replication()


@pytest.mark.parametrize(("call", "moment"), [("store", "before"), ("store", "after"), ("snapshots", "after")])
def test_killed_at_any_step_nothing_is_listed_falsely_and_the_next_run_finishes(
    house: House, call: str, moment: str
) -> None:
    taken = house.taken(2)
    plan = house.vault.plan_replication()
    house.faults["far", call, moment] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    pid = os.fork()
    if pid == 0:
        house.a_vault().replicate(plan)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    house.faults.clear()
    for each in house.vault.snapshots("far"):
        assert house.vault.verify(each, "far", read_data=1.0).ok
    house.vault.replicate(house.vault.plan_replication())
    assert house.ids() == taken[::-1]
    house.vault.recover()
    assert list((house.folder / "state" / "scratch").iterdir()) == []


def test_progress_names_both_repositories(house: House) -> None:
    house.taken(1)
    heard: list[tuple[Step, str]] = []
    house.vault.replicate(
        house.vault.plan_replication(), progress=lambda event: heard.append((event.step, event.repository))
    )
    assert heard[0] == (Step.FETCH, "near")
    assert (Step.STORE, "far") in heard


PULL = """
import sys
from pathlib import Path
from owui_vault import Repository, Secret, Vault
from owui_vault.errors import VaultError
from owui_vault.testing.engines.directory import DirectoryEngine

folder = Path(sys.argv[1])
repositories = [Repository(name, DirectoryEngine(folder / name, Secret(name))) for name in ("near", "far")]
vault = Vault(None, repositories, state_dir=folder / "own")
try:
    print(vault.replicate(vault.plan_replication()).repositories[0].copied)
except VaultError as error:
    print(type(error).__name__, error.message, error.hint)
"""


@pytest.mark.root
def test_owners_that_would_get_lost_on_the_way_are_a_reason_to_refuse(house: House) -> None:
    for path in [house.data_dir, *house.data_dir.rglob("*")]:
        os.lchown(path, 1000, 1000)
    house.taken(1)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-chown", sys.executable, "-c", PULL, str(house.folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot pass through this machine unchanged" in done.stdout, done.stdout + done.stderr
    assert "as root" in done.stdout
    assert house.ids() == []


# On real engines


@pytest.fixture
def real(tmp_path: Path, own_restic: Path, own_borg: Path, place_restic: PlaceRestic) -> House:
    """From restic to restic, and on to borg."""
    engines: dict[str, Engine] = {}
    for name in ("near", "far"):
        place_restic(tmp_path / name, own_restic, name)
        engines[name] = ResticEngine(str(tmp_path / name), Secret(name), program=str(own_restic))
    engines["away"] = BorgEngine(str(tmp_path / "away"), Secret("away"), program=str(own_borg))
    return House(tmp_path, engines)


@pytest.mark.slow
def test_restic_copies_by_itself_and_borg_gets_it_through_this_machine(real: House) -> None:
    taken = real.taken(2)
    plan = real.vault.plan_replication("near")
    assert [(each.way, len(each.copies)) for each in plan.repositories] == [(CopyWay.ENGINE, 2), (CopyWay.STAGE, 1)]
    report = real.vault.replicate(plan)
    assert [[each.id for each in result.copied] for result in report.repositories] == [taken[::-1], [taken[1]]]
    assert [each.copies for each in real.vault.plan_replication("near").repositories] == [(), ()]
    labels = {each.id: each.label for each in real.vault.snapshots("near")}
    assert {each.id: each.label for each in real.vault.snapshots("far")} == labels
    copies = [real.folder / name for name in ("near-copy", "far-copy", "away-copy", "back-copy")]
    for name, copy in zip(real.engines, copies, strict=False):
        real.vault.restore(taken[1], copy, repository=name, app_data_dir="/same")
    # And back, from borg to a new restic repository.
    back = ResticEngine(str(real.folder / "back"), Secret("back"), program=str(real.engines["near"]._access.program))  # type: ignore[attr-defined]
    vault = Vault(
        None, [Repository("away", real.engines["away"]), Repository("back", back)], state_dir=real.folder / "other"
    )
    vault.initialize("back")
    vault.replicate(vault.plan_replication())
    vault.restore(taken[1], copies[3], repository="back", app_data_dir="/same")
    for copy in copies[1:]:
        subprocess.run(["diff", "-r", copies[0], copy], check=True)
        assert {path.relative_to(copy): path.lstat().st_mtime_ns // 1000 for path in copy.rglob("data/uploads/*")} == {
            path.relative_to(copies[0]): path.lstat().st_mtime_ns // 1000 for path in copies[0].rglob("data/uploads/*")
        }
    assert not list((real.folder / "state").rglob("runs/*"))
