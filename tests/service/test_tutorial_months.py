"""Two months of the plans in examples/plans: what lies in each place at their end, as an operator would count it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault import BorgEngine, ResticEngine, RetentionPolicy, RunReport, Secret
from owui_vault.config import load_settings
from owui_vault.model import RunOutcome, Verdict
from owui_vault.ports import Engine
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.borg_templates import WITHOUT_SELFTEST
from tests.service.world import START, World

PLANS = Path(__file__).parent.parent.parent / "examples" / "plans"
KEYS = {"S3_KEY_ID": "x", "B2_KEY_ID": "x"}
DAY = timedelta(days=1)
END = datetime(2026, 8, 1, tzinfo=UTC)

#: 1 June 2026 is a Monday. Snapshots are of three o'clock, pulls of six on Sundays; a kept one is named by its day.
LAST_WEEK = [f"07-{day}" for day in range(25, 32)]
EXPECTED = {
    # three and seven newest, and the newest of each of the last four weeks: this one's is the 31st
    "here": ["07-12", "07-19", *LAST_WEEK],
    # thirty days, the newest of June, and the oldest of all, since there are no twelve months yet
    "s3": ["06-01", "06-30", *(f"07-{day:02}" for day in range(2, 32))],
    # nothing can be deleted there: each night the newest was wanted, and stays
    "b2": [*(f"06-{day:02}" for day in range(1, 31)), *(f"07-{day:02}" for day in range(1, 32))],
    # eight weeks, the oldest of the first pull, and the newest of June, which was still there on 5 July
    "nas": ["06-01", "06-07", "06-14", "06-21", "06-28", "06-30", "07-05", "07-12", "07-19", "07-26"],
}


class ServerAndNas:
    """A server with the plans of one file, and the NAS with its own, each with a state of its own."""

    def __init__(self, folder: Path, file: str, make_engine: Callable[[Path, Secret], Engine]) -> None:
        self.settings = load_settings(PLANS / file, KEYS)
        self.server = World(
            folder,
            *self.settings.plans,
            repositories=[each.name for each in self.settings.repositories],
            keep={each.name: each.keep or RetentionPolicy() for each in self.settings.repositories},
            append_only=[each.name for each in self.settings.repositories if each.append_only],
            make_engine=make_engine,
        )
        pull = load_settings(PLANS / "nas.yaml", {})
        self.nas = World(
            folder / "nas's own",
            *pull.plans,
            repositories=["nas"],
            shared={"server": self.server.engines["here"]},
            keep={each.name: each.keep or RetentionPolicy() for each in pull.repositories},
            make_engine=make_engine,
        )
        self.server.run()
        self.nas.run()

    def live(self, until: datetime) -> list[RunReport]:
        """The server looks at three and at five, the NAS on Sundays at six."""
        reports = []
        day = START
        while day < until:
            for hour in (3, 5):
                self.server.clock.set(day + timedelta(hours=hour))
                reports.append(self.server.run())
            if day.weekday() == 6:
                self.nas.clock.set(day + timedelta(hours=6))
                reports.append(self.nas.run())
                assert brings_nothing(self.nas), "what was pruned there is not brought again"
            day += DAY
        return reports

    def kept(self) -> dict[str, list[str]]:
        found = {name: self.server.vault.snapshots(name) for name in self.server.engines}
        found["nas"] = self.nas.vault.snapshots("nas")
        return {name: [f"{each.instant:%m-%d}" for each in reversed(list(listed))] for name, listed in found.items()}


def brings_nothing(world: World) -> bool:
    plan = world.vault.plan_replication("server", ["nas"])
    return not any(each.copies for each in plan.repositories)


@pytest.mark.rare
@pytest.mark.parametrize("file", ["primary-and-two-copies.yaml", "primary-and-three-copies.yaml"])
def test_two_months_of_a_plan(tmp_path: Path, file: str) -> None:
    places = ServerAndNas(tmp_path, file, DirectoryEngine)
    reports = places.live(END)
    assert {each.outcome for report in reports for each in report.runs} == {RunOutcome.SUCCESS}
    assert places.kept() == {name: EXPECTED[name] for name in (*places.server.engines, "nas")}
    for world in (places.server, places.nas):
        assert world.vault.status().verdict is Verdict.FINE


@pytest.mark.rare
def test_two_months_of_primary_and_two_copies_on_real_engines(tmp_path: Path) -> None:
    """The cloud is a repository of borg: what is brought there goes through this machine."""
    places = ServerAndNas(tmp_path, "primary-and-two-copies.yaml", a_real_engine)
    reports = places.live(END)
    assert {each.outcome for report in reports for each in report.runs} == {RunOutcome.SUCCESS}
    assert places.kept() == {name: EXPECTED[name] for name in (*places.server.engines, "nas")}


def a_real_engine(place: Path, passphrase: Secret) -> Engine:
    if place.name == "s3":
        return BorgEngine(str(place), passphrase, environment=WITHOUT_SELFTEST)
    return ResticEngine(str(place), passphrase)
