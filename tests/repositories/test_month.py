"""Months and years of snapshots and prunes: what is left is what the policy says, on every engine the same."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault.context.context import Repository
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.model import Label, Outcome, Proof, RetentionPolicy, Secret, Snapshot
from owui_vault.ports import Call, Engine
from owui_vault.repositories.retention import decide
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.vault import Vault
from tests.borg_templates import WITHOUT_SELFTEST, PlaceBorg
from tests.restic_templates import PlaceRestic

NEW_YEAR = datetime(2023, 12, 28, 3, tzinfo=UTC)
HOME_SERVER = RetentionPolicy(last=3, daily=7, weekly=4, monthly=6, yearly=2, tags=("release",))
OURS, OTHER = "open-webui", "laboratory"


@dataclass
class Months:
    """A series that grows by itself, in several repositories at once, and everything that was ever put into it."""

    engines: dict[str, Engine]
    folder: Path
    chance: random.Random
    history: list[Snapshot] = field(default_factory=list)
    strangers: int = 0

    def __post_init__(self) -> None:
        repositories = [Repository(name, engine, HOME_SERVER) for name, engine in self.engines.items()]
        self.vault = Vault(None, repositories, state_dir=self.folder / "state")
        self.vault.initialize()
        self.tree = self.folder / "stage"
        self.tree.mkdir()

    def call(self, name: str) -> Call:
        folder = self.folder / f"calls-{name}"
        folder.mkdir(exist_ok=True)
        return Call(folder=folder)

    def day(self, instant: datetime) -> None:
        """One or several snapshots, few of them INCOMPLETE, few of them tagged; and somebody else's, now and then."""
        for number in range(self.chance.choice([1, 1, 1, 1, 4])):
            self.store(OURS, instant + timedelta(hours=number), complete=self.chance.random() > 0.1)
        if self.chance.random() < 0.2:
            self.store(OTHER, instant, complete=True)

    def store(self, series: str, instant: datetime, *, complete: bool) -> None:
        label = Label(
            id=f"{self.chance.getrandbits(32):08x}",
            instance=series,
            fingerprint="f" * 16,
            instant=instant,
            sequence=len(self.history) + self.strangers,
            outcome=Outcome.COMPLETE if complete else Outcome.INCOMPLETE,
            mode=Proof.LIVE if complete else Proof.UNPROVEN,
            tags=("release",) if self.chance.random() < 0.02 else (),
        )
        (self.tree / "manifest.json").write_text(label.id)
        for name, engine in self.engines.items():
            engine.store(self.tree, label, self.call(name))
        if series == OURS:
            self.history.append(Snapshot(engine_id=label.id, name=label.id, time=instant, label=label))
        else:
            self.strangers += 1

    def prune(self) -> None:
        """Plan, carry out, and look whether exactly that happened, in each repository."""
        plan = self.vault.plan_prune()
        before = {name: self.others(name) for name in self.engines}
        self.vault.prune(plan)
        for planned in plan.repositories:
            left = self.vault.snapshots(planned.repository, OURS)
            assert [one.id for one in left] == [kept.snapshot.id for kept in planned.kept]
            assert all(kept.reasons for kept in planned.kept)
            assert self.others(planned.repository) == before[planned.repository]

    def others(self, name: str) -> list[tuple[str, str]]:
        """What in the repository is not of our series."""
        listed = self.engines[name].snapshots(self.call(name))
        return sorted((one.engine_id, one.name) for one in listed if one.instance != OURS)

    def left(self, name: str) -> list[str]:
        return [one.id for one in self.vault.snapshots(name, OURS)]

    def by_policy(self) -> list[str]:
        """What one decision about everything that was ever stored would keep."""
        return [kept.snapshot.id for kept in decide(HOME_SERVER, self.history)[0]]


def nights(first: datetime, count: int) -> Iterator[datetime]:
    for number in range(count):
        yield first + timedelta(days=number)


def put_foreign(engine: DirectoryEngine, months: Months) -> None:
    """A snapshot without a label of ours, as another tool would leave it."""
    before = {one.engine_id for one in engine.snapshots(months.call("fake"))}
    months.store(OTHER, NEW_YEAR, complete=True)
    (made,) = {one.engine_id for one in engine.snapshots(months.call("fake"))} - before
    path = Path(engine.location) / "snapshots" / f"{made}.json"
    path.write_text(path.read_text().replace("laboratory", "").replace("instance", "stranger"))


def test_years_of_nightly_snapshots_and_prunes_keep_what_the_policy_says(
    tmp_path: Path, seed: random.Random, soak: Callable[[int], int]
) -> None:
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    months = Months({"fake": engine}, tmp_path, seed)
    put_foreign(engine, months)
    assert any(one.label is None for one in engine.snapshots(months.call("fake")))
    for instant in nights(NEW_YEAR, soak(1200)):
        months.day(instant)
        if seed.random() < 0.8:
            months.prune()
        assert_newest_complete_is_there(months, months.left("fake"))
    months.prune()
    assert months.left("fake") == months.by_policy()


def assert_newest_complete_is_there(months: Months, left: Sequence[str]) -> None:
    complete = [one.id for one in months.history if one.is_restore_point]
    assert not complete or complete[-1] in left


def test_a_clock_that_jumps_loses_no_new_snapshot_and_no_count(tmp_path: Path, seed: random.Random) -> None:
    months = Months({"fake": DirectoryEngine(tmp_path / "repository", Secret("x"))}, tmp_path, seed)
    for number in range(20):
        wrong = {8: timedelta(days=4000), 14: timedelta(days=-4000)}.get(number, timedelta())
        months.store(OURS, NEW_YEAR + timedelta(days=number) + wrong, complete=True)
        months.prune()
        assert months.left("fake")[0] == months.history[-1].id
    daily = RetentionPolicy(daily=7)
    plan = months.vault.plan_prune(daily)
    kept = [one.snapshot.id for one in plan.repositories[0].kept]
    assert kept == [one.id for one in months.history[-7:][::-1]]


def test_an_engine_that_removes_one_too_many_is_noticed(tmp_path: Path, seed: random.Random) -> None:
    """The comparison above can fail: it does, when a kept one vanishes."""
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    months = Months({"fake": engine}, tmp_path, seed)
    for instant in nights(NEW_YEAR, 12):
        months.store(OURS, instant, complete=True)
    months.prune()
    engine.remove([engine.snapshots(months.call("fake"))[0].engine_id], months.call("fake"))
    assert months.left("fake") != months.by_policy()


@pytest.mark.slow
def test_restic_and_borg_keep_the_same_and_leave_others_alone(
    tmp_path: Path,
    seed: random.Random,
    *,
    soak: Callable[[int], int],
    newest_restic: Path,
    newest_borg: Path,
    place_restic: PlaceRestic,
    place_borg: PlaceBorg,
) -> None:
    place_restic(tmp_path / "restic", newest_restic, "x")
    place_borg(tmp_path / "borg", newest_borg, "x")
    restic = ResticEngine(str(tmp_path / "restic"), Secret("x"), program=str(newest_restic))
    borg = BorgEngine(str(tmp_path / "borg"), Secret("x"), program=str(newest_borg), environment=WITHOUT_SELFTEST)
    months = Months({"restic": restic, "borg": borg}, tmp_path, seed)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    environment = {"PATH": os.defpath, "HOME": str(foreign), "RESTIC_PASSWORD": "x", "BORG_PASSPHRASE": "x"}
    for argv in (
        [str(newest_restic), "-r", str(tmp_path / "restic"), "backup", "--tag", "mine", str(foreign)],
        [str(newest_borg), "create", f"{tmp_path / 'borg'}::mine", str(foreign)],
    ):
        subprocess.run(argv, env=environment, check=True, capture_output=True)
    months.store(OTHER, NEW_YEAR, complete=True)
    at = NEW_YEAR
    for number in range(max(6, soak(60))):
        months.day(at)
        at += timedelta(days=seed.choice([1, 1, 2, 9, 40]))
        if number % 3 == 2:
            months.prune()
    months.prune()
    assert months.left("restic") == months.left("borg") == months.by_policy()
    assert all(len(months.others(name)) == 1 + months.strangers for name in months.engines)
