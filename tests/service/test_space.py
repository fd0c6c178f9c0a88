"""Space: what a repository takes, how fast it grows and when its place is full, each only as far as it is known."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault.model import CronSchedule, Plan, Proof, ProofRecord
from owui_vault.service import space
from owui_vault.service.run_entries import PlaceMeasured, PointSeen, line, parse, still_needed, told_by
from owui_vault.system.clock import SystemClock
from tests.service.world import START, World

DAY = timedelta(days=1)
NIGHTLY = Plan(name="nightly", schedule=CronSchedule(expression="0 3 * * *"))
BOTH = pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])


def at(day: int, time: str = "08:00") -> datetime:
    return datetime.fromisoformat(f"2026-06-{day:02d}T{time}").replace(tzinfo=UTC)


def measured(world: World, day: int, size: int, free: int | None) -> None:
    entry = PlaceMeasured(repository="nas", at=at(day), size_bytes=size, free_bytes=free)
    world.service().ledger.append(entry)


@BOTH
def test_a_repository_on_this_machine_tells_what_it_takes_and_what_is_free(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.nights(3)
    (found,) = world.vault.status(offline=offline).space
    expected = sum(each.stat().st_blocks * 512 for each in (tmp_path / "nas").rglob("*") if each.is_file())
    assert (found.repository, found.size_bytes) == ("nas", expected)
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert found.free_bytes == pytest.approx(free, rel=0.2)
    assert found.as_of == (at(3, "03:00") + world.takes if offline else world.clock.now())


def test_growth_and_the_time_until_the_place_is_full(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.clock.set(at(11))
    measured(world, 1, 1_000, 100_000)
    measured(world, 11, 21_000, 80_000)
    (found,) = world.vault.status(offline=True).space
    assert (found.growth_bytes_per_day, found.until_full_seconds) == (2_000, 40 * 86_400)


def test_a_place_that_others_fill_too_is_full_when_it_is_full(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.clock.set(at(11))
    measured(world, 1, 1_000, 100_000)
    measured(world, 11, 1_000, 20_000)
    (found,) = world.vault.status(offline=True).space
    assert (found.growth_bytes_per_day, found.until_full_seconds) == (0, 2.5 * 86_400)
    assert any("nas is full in about 2 days" in each for each in world.vault.status(offline=True).warnings)


def test_a_place_that_does_not_fill_has_no_time_until_it_is_full(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.clock.set(at(11))
    measured(world, 1, 9_000, 80_000)
    measured(world, 11, 1_000, 90_000)
    (found,) = world.vault.status(offline=True).space
    assert (found.growth_bytes_per_day, found.until_full_seconds) == (-800, None)


def test_what_is_known_for_less_than_a_day_says_nothing_about_growth(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.nights(1)
    (found,) = world.vault.status(offline=True).space
    assert (found.growth_bytes_per_day, found.until_full_seconds) == (None, None)


def test_only_the_last_thirty_days_and_nothing_dated_in_the_future_count(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    for moment, size in ((START, 1), (START + 30 * DAY, 1_000), (START + 40 * DAY, 11_000), (START + 99 * DAY, 10**9)):
        entry = PlaceMeasured(repository="nas", at=moment, size_bytes=size, free_bytes=None)
        world.service().ledger.append(entry)
    world.clock.set(START + 41 * DAY)
    (found,) = world.vault.status(offline=True).space
    assert (found.size_bytes, found.growth_bytes_per_day, found.free_bytes) == (11_000, 1_000, None)


@BOTH
def test_a_place_that_does_not_tell_is_unknown_and_neither_good_nor_bad(tmp_path: Path, *, offline: bool) -> None:
    """What this machine added there is known all the same."""
    world = World(tmp_path, NIGHTLY)
    world.nights(9)
    before = world.vault.status(offline=offline)
    far = type("Far", (type(world.engines["nas"]),), {"location": property(lambda _self: "sftp:nas:/srv/backup")})
    world.engines["nas"].__class__ = far
    world.service().ledger.path.write_bytes(
        b"".join(each + b"\n" for each in world.service().ledger.path.read_bytes().splitlines() if b"place" not in each)
    )
    report = world.vault.status(offline=offline)
    (found,) = report.space
    assert (found.size_bytes, found.free_bytes, found.until_full_seconds) == (None, None, None)
    assert found.growth_bytes_per_day == pytest.approx(8, rel=0.2)  # what the world adds each night
    assert report.verdict is before.verdict


def test_offline_a_repository_is_not_even_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, NIGHTLY)
    world.nights(3)
    monkeypatch.setattr(space, "measure", lambda *_: pytest.fail("it was"))
    assert world.vault.status(offline=True).space[0].size_bytes


def test_a_repository_that_cannot_be_counted_in_time_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / "data" / str(number)).write_bytes(b"x" * 5000)
    assert space.measure(str(tmp_path), SystemClock(), patience_seconds=60).size_bytes
    late = space.measure(f"local:{tmp_path}", SystemClock(), patience_seconds=-1)
    assert late.size_bytes is None
    assert late.free_bytes
    assert space.measure("rest:https://example.org/", SystemClock(), patience_seconds=60) == space.DiskSpace()
    assert space.measure(str(tmp_path / "absent"), SystemClock(), patience_seconds=60) == space.DiskSpace()


def test_measuring_follows_no_link_out_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "big").write_bytes(b"x" * 100_000)
    (tmp_path / "repository" / "link").symlink_to(tmp_path / "elsewhere")
    assert space.measure(str(tmp_path / "repository"), SystemClock(), patience_seconds=60).size_bytes == 0


def test_a_ledger_begun_anew_still_knows_the_last_measurement() -> None:
    entries = [
        PlaceMeasured(repository=name, at=START + number * DAY, size_bytes=number, free_bytes=None)
        for number in range(3)
        for name in ("nas", "offsite")
    ]
    assert still_needed(entries, told_by(entries, None)) == tuple(entries[-2:])
    assert parse(line(entries[0])) == entries[0]


def test_a_ledger_begun_anew_still_knows_what_was_seen_of_other_machines() -> None:
    seen = [
        PointSeen(plan=plan, repository="nas", at=START + DAY, snapshot=f"{number:08x}", instant=START)
        for number in range(2)
        for plan in ("nightly", "cold")
    ]
    assert still_needed(seen, told_by(seen, None)) == tuple(seen[-2:])
    assert parse(line(seen[0])) == seen[0]


def test_freeze_and_outage_are_in_the_ledger(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.proof = ProofRecord(mode=Proof.PAUSE, attempts=4, freeze_seconds=0.25, outage_seconds=3.0)
    world.run("nightly")
    step = world.vault.history()[0].steps[0]
    assert (step.freeze_seconds, step.outage_seconds) == (0.25, 3.0)
