"""Replicating as a step of a plan: what is brought, pruned and verified then, and what is overdue."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault.errors import ConfigError, RepositoryUnreachableError
from owui_vault.model import (
    CronSchedule,
    IntervalSchedule,
    Plan,
    PlannedReplication,
    PlanStep,
    RetentionPolicy,
    RunOutcome,
    Verdict,
)
from owui_vault.service.parts import require_valid_plans
from tests.service.test_run import DAILY, HOUR, at
from tests.service.world import START, World

DAY = timedelta(days=1)
SUNDAY = CronSchedule(expression="0 6 * * 0")


def to(*names: str, source: str = "nas") -> tuple[PlannedReplication, ...]:
    return (PlannedReplication(source=source, to=names),)


PRIMARY = Plan(name="nightly", schedule=DAILY, repositories=("nas",), replicate=to("s3", "b2"))
PULL = Plan(name="pull", schedule=SUNDAY, snapshot=False, replicate=to("here"), verify=True)


def test_each_night_the_mirrors_get_what_they_lack_and_are_pruned_and_verified(tmp_path: Path) -> None:
    world = World(tmp_path, PRIMARY, repositories=("nas", "s3", "b2"), keep=RetentionPolicy(last=2))
    reports = world.ticks(START + 4 * DAY, HOUR)
    assert [each.exit_code for report in reports for each in report.runs] == [0] * 4
    steps = [each.step for each in reports[-1].runs[0].steps]
    assert steps == [PlanStep.SNAPSHOT, PlanStep.REPLICATE, PlanStep.PRUNE]
    newest = [each.id for each in world.taken[:1:-1]]
    there = {name: [each.id for each in world.vault.snapshots(name)] for name in world.engines}
    assert there == {"nas": newest, "s3": newest, "b2": newest}
    assert world.brought == [each.id for each in world.taken for _ in range(2)]
    assert world.vault.status().verdict is world.vault.status(offline=True).verdict is Verdict.FINE


def test_without_repositories_it_stores_where_no_mirror_is(tmp_path: Path) -> None:
    world = World(tmp_path, Plan(name="nightly", schedule=DAILY, replicate=to("s3")), repositories=("nas", "s3"))
    service = world.service()
    (plan,) = service.plans
    assert (service.repositories_of(plan), service.places_of(plan)) == (("nas",), ("nas", "s3"))


def test_a_mirror_that_is_away_fails_alone_and_gets_it_the_next_night(tmp_path: Path) -> None:
    world = World(tmp_path, PRIMARY, repositories=("nas", "s3", "b2"))
    world.run()
    world.carry_away("s3")
    (report,) = world.ticks(at(1, "03:10"))
    (record,) = report.runs
    assert (record.outcome, record.exit_code) == (RunOutcome.FAILED, 1)
    step = record.step(PlanStep.REPLICATE)
    assert step
    assert [(each.repository, each.outcome) for each in step.results] == [
        ("s3", RunOutcome.FAILED),
        ("b2", RunOutcome.SUCCESS),
    ]
    pruned = record.step(PlanStep.PRUNE)
    assert pruned
    assert [(each.repository, each.outcome) for each in pruned.results] == [
        ("nas", RunOutcome.SUCCESS),
        ("s3", RunOutcome.SKIPPED),
        ("b2", RunOutcome.SUCCESS),
    ]
    world.bring_back("s3")
    (report,) = world.ticks(at(2, "03:10"))
    assert report.runs[0].exit_code == 0
    assert len(world.vault.snapshots("s3")) == len(world.vault.snapshots("nas")) == 2


def test_an_optional_mirror_that_is_away_is_a_note(tmp_path: Path) -> None:
    world = World(tmp_path, PRIMARY, repositories=("nas", "s3", "b2"), optional=("s3",))
    world.run()
    world.carry_away("s3")
    (report,) = world.ticks(at(1, "03:10"))
    assert report.runs[0].exit_code == 0


def test_a_source_that_is_away_fails_every_mirror_and_nothing_else(tmp_path: Path) -> None:
    plan = Plan(name="nightly", schedule=DAILY, repositories=("s3",), replicate=to("b2"))
    world = World(tmp_path, plan, repositories=("nas", "s3", "b2"))
    world.run()
    world.carry_away("nas")
    (report,) = world.ticks(at(1, "03:10"))
    assert {each.step: each.outcome for each in report.runs[0].steps} == {
        PlanStep.SNAPSHOT: RunOutcome.SUCCESS,
        PlanStep.REPLICATE: RunOutcome.FAILED,
        PlanStep.PRUNE: RunOutcome.SUCCESS,
    }


def test_what_fails_in_the_snapshot_keeps_the_mirrors_from_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, PRIMARY, repositories=("nas", "s3", "b2"))
    plain = Plan(name="nightly", schedule=DAILY, repositories=("nas",))
    world.service(plain)
    world.ticks(at(1, "03:10"))
    world.service(PRIMARY)
    world.refusal = RepositoryUnreachableError("nobody answers")
    (report,) = world.ticks(at(2, "03:10"))
    assert report.runs[0].exit_code == 1
    assert world.brought == [world.taken[0].id] * 2


def test_the_receiver_pulls_weekly_and_prunes_and_verifies_its_own_only(tmp_path: Path) -> None:
    """Its source is read, and neither pruned nor verified from there."""
    nightly = Plan(name="nightly", schedule=DAILY, repositories=("nas",), prune=False)
    world = World(tmp_path, nightly, repositories=("nas", "here"), keep=RetentionPolicy(last=1))
    world.ticks(at(7, "04:00"), HOUR)
    world.service(PULL)
    world.clock.set(at(7, "05:00"))
    world.run()
    reports = world.ticks(at(7, "08:00"))
    (record,) = [each for report in reports for each in report.runs]
    assert [(each.step, [one.repository for one in each.results]) for each in record.steps] == [
        (PlanStep.REPLICATE, ["here"]),
        (PlanStep.PRUNE, ["here"]),
        (PlanStep.VERIFY, ["here"]),
    ]
    assert record.exit_code == 0
    assert len(world.vault.snapshots("nas")) == 7
    assert [each.id for each in world.vault.snapshots("here")] == [world.taken[-1].id]


def test_a_pull_is_overdue_one_interval_after_the_newest_that_it_has(tmp_path: Path) -> None:
    """Whether it was not brought, or nothing came at its source; judged by what is there, on any machine."""
    world = World(tmp_path, Plan(name="nightly", schedule=DAILY, repositories=("nas",)), repositories=("nas", "here"))
    world.ticks(at(7, "04:00"), HOUR)
    world.service(PULL)
    world.run()
    world.ticks(at(7, "08:00"))
    verdicts = {}
    for day, time in ((7, "09:00"), (14, "05:00"), (14, "23:00"), (15, "07:00")):
        world.clock.set(at(day, time))
        verdicts[day, time] = world.vault.status().verdict
    assert verdicts == {
        (7, "09:00"): Verdict.FINE,
        (14, "05:00"): Verdict.FINE,
        (14, "23:00"): Verdict.FINE,
        (15, "07:00"): Verdict.OVERDUE,
    }


@pytest.mark.slow
def test_a_mirror_is_overdue_by_the_snapshots_of_its_plan(tmp_path: Path) -> None:
    world = World(tmp_path, PRIMARY, repositories=("nas", "s3", "b2"))
    world.ticks(at(2, "03:10"))
    world.carry_away("s3")
    world.ticks(at(4, "03:10"))
    world.bring_back("s3")
    world.clock.set(at(4, "12:00"))
    states = {each.repository: each.verdict for each in world.vault.status().plans[0].repositories}
    assert states["s3"] in (Verdict.WRONG, Verdict.OVERDUE)
    assert (states["nas"], states["b2"]) == (Verdict.FINE, Verdict.FINE)
    (late,) = [each for each in world.vault.status().plans[0].repositories if each.repository == "s3"]
    assert any(text.startswith("overdue") for text in late.reasons)


@pytest.mark.slow
def test_a_carried_disk_gets_it_when_it_is_there(tmp_path: Path) -> None:
    carried = Plan(name="carried", schedule=IntervalSchedule(every=7 * DAY), snapshot=False, replicate=to("disk"))
    nightly = Plan(name="nightly", schedule=DAILY, repositories=("nas",))
    world = World(tmp_path, nightly, carried, repositories=("nas", "disk"), optional=("disk",))
    world.carry_away("disk")
    world.run()
    world.ticks(at(3, "12:00"), HOUR)
    world.bring_back("disk")
    world.ticks(at(5, "12:00"), HOUR)
    assert len(set(world.brought)) == 3, "what was there on the third, and nothing more before the week has passed"


@pytest.mark.parametrize(
    "plan",
    [
        Plan(name="x", schedule=DAILY, replicate=to("nas")),
        Plan(name="x", schedule=DAILY, replicate=to()),
        Plan(name="x", schedule=DAILY, replicate=to("nowhere")),
        Plan(name="x", schedule=DAILY, repositories=("nas", "s3"), replicate=to("s3")),
        Plan(name="x", schedule=DAILY, replicate=(*to("s3"), *to("nas", source="s3"))),
    ],
)
def test_a_plan_that_could_not_be_carried_out_is_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError):
        require_valid_plans([plan], ["nas", "s3"])
