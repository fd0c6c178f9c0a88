"""Status: fine only where that is known now; overdue, wrong and unknown each with its reason and exit code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault import Vault
from owui_vault.cli import exit_codes
from owui_vault.context.state import LastStored
from owui_vault.errors import QuiesceError
from owui_vault.model import CronSchedule, IntervalSchedule, Outcome, Plan, RunOutcome, Verdict
from owui_vault.service.run_entries import RunBegan
from tests.service.world import START, World

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAILY = CronSchedule(expression="0 3 * * *")
NIGHTLY = Plan(name="nightly", schedule=DAILY)
PROOF = Plan(name="proof", schedule=CronSchedule(expression="0 5 1 * *"), snapshot=False, verify=True, read_data=1.0)
BOTH = pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])


def at(day: int, time: str) -> datetime:
    return datetime.fromisoformat(f"2026-06-{day:02d}T{time}").replace(tzinfo=UTC)


@BOTH
def test_a_plan_that_keeps_up_is_fine(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(3, "08:00"), HOUR)
    report = world.vault.status(offline=offline)
    (plan,) = report.plans
    (state,) = plan.repositories
    assert (report.verdict, plan.verdict, state.verdict) == (Verdict.FINE,) * 3
    assert state.newest
    assert (state.newest.id, state.newest.instant) == (world.taken[-1].id, at(3, "03:00"))
    assert (plan.next_due, state.due, state.late_after) == (at(4, "03:00"), at(4, "03:00"), at(4, "09:00"))
    assert plan.last_run
    assert plan.last_run.outcome is RunOutcome.SUCCESS
    assert state.restore_points == (None if offline else 3)
    assert state.as_of == (at(3, "03:00") + world.takes if offline else world.clock.now())


@BOTH
def test_nobody_having_called_run_for_days_is_overdue(tmp_path: Path, *, offline: bool) -> None:
    """A machine that is up, a tick that is gone: old answers are judged by now."""
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(3, "08:00"), HOUR)
    world.clock.set(at(4, "09:00"))
    assert world.vault.status(offline=offline).verdict is Verdict.FINE
    world.clock.set(at(4, "09:01"))
    report = world.vault.status(offline=offline)
    assert report.verdict is Verdict.OVERDUE
    assert report.plans[0].repositories[0].reasons == (
        "overdue: no complete snapshot of this plan since"
        f" {at(4, '03:00').astimezone():%Y-%m-%d %H:%M:%S %Z}, when one was due",
    )


@BOTH
def test_a_new_plan_is_fine_until_its_first_time(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run()
    assert world.vault.status(offline=offline).verdict is Verdict.FINE
    world.clock.set(at(1, "03:00"))
    assert world.vault.status(offline=offline).verdict is Verdict.OVERDUE


def test_a_plan_that_nobody_ever_ran_is_overdue_and_offline_unknown(tmp_path: Path) -> None:
    """Nobody knows since when there is such a plan; and a state that was lost says nothing good."""
    world = World(tmp_path, NIGHTLY)
    assert world.vault.status().verdict is Verdict.OVERDUE
    report = world.vault.status(offline=True)
    assert report.verdict is Verdict.UNKNOWN
    assert report.plans[0].repositories[0].reasons == ("this machine knows nothing of it",)


def test_a_state_that_was_lost_is_made_up_for_by_the_repositories(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(3, "08:00"), HOUR)
    world.service().ledger.path.unlink()
    assert world.vault.status().verdict is Verdict.FINE
    assert world.vault.status(offline=True).verdict is Verdict.UNKNOWN


def test_another_machine_sees_the_same_in_the_repositories_alone(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(3, "08:00"), HOUR)
    other = Vault(
        None,
        world.vault.repositories,
        clock=world.clock,
        state_dir=tmp_path / "other",
        plans=[NIGHTLY],
        environ={"TZ": "UTC"},
    )
    assert other.status().verdict is Verdict.FINE
    world.clock.set(at(4, "09:01"))
    assert other.status().verdict is Verdict.OVERDUE


def test_a_snapshot_by_hand_or_of_another_plan_is_none_of_this_plan(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, Plan(name="weekly", schedule=CronSchedule(expression="0 4 * * 0")))
    world.ticks(at(1, "08:00"), HOUR)
    world.clock.set(at(3, "08:00"))
    world.snapshot()
    world.run("weekly")
    report = world.vault.status()
    assert [each.verdict for each in report.plans] == [Verdict.OVERDUE, Verdict.FINE]


def test_a_repository_that_does_not_answer_is_unknown_and_offline_as_old_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, repositories=("nas", "disk"))
    world.ticks(at(3, "08:00"), HOUR)
    world.carry_away("disk")
    report = world.vault.status()
    nas, disk = report.plans[0].repositories
    assert (report.verdict, nas.verdict, disk.verdict) == (Verdict.UNKNOWN, Verdict.FINE, Verdict.UNKNOWN)
    assert disk.error
    assert disk.error.type == "RepositoryMissingError"
    assert disk.newest is None
    assert world.vault.status(offline=True).verdict is Verdict.FINE


def test_a_disk_that_may_be_away_counts_the_same_and_its_absence_does_not(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, repositories=("nas", "disk"), optional=("disk",))
    world.ticks(at(2, "05:00"), HOUR)
    world.carry_away("disk")
    report = world.vault.status()
    assert [each.verdict for each in report.plans[0].repositories] == [Verdict.FINE, Verdict.FINE]
    assert any(each.startswith("disk is away, as it may be") for each in report.warnings)
    world.ticks(at(3, "09:30"), HOUR)
    report = world.vault.status()
    assert [each.verdict for each in report.plans[0].repositories] == [Verdict.FINE, Verdict.OVERDUE]


@BOTH
def test_what_failed_in_one_repository_is_wrong_there_until_it_went_well(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY, repositories=("nas", "disk"))
    world.ticks(at(2, "08:00"), HOUR)
    world.carry_away("disk")
    world.ticks(at(3, "08:00"), HOUR)
    world.bring_back("disk")
    report = world.vault.status(offline=offline)
    nas, disk = report.plans[0].repositories
    assert (report.verdict, nas.verdict, disk.verdict) == (Verdict.WRONG, Verdict.FINE, Verdict.WRONG)
    assert "snapshot failed there at" in disk.reasons[0]
    world.run("nightly")
    assert world.vault.status(offline=offline).verdict is Verdict.FINE


@BOTH
def test_a_run_that_failed_as_a_whole_is_wrong_until_one_went_well(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run("nightly")
    world.refusal = QuiesceError("could not be paused")
    world.run("nightly")
    report = world.vault.status(offline=offline)
    assert report.verdict is Verdict.WRONG
    assert "could not be paused" in report.plans[0].reasons[0]
    world.refusal = None
    world.run("nightly")
    assert world.vault.status(offline=offline).verdict is Verdict.FINE


@BOTH
def test_an_incomplete_snapshot_is_no_restore_point(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(2, "08:00"), HOUR)
    world.outcome = Outcome.INCOMPLETE
    world.ticks(at(3, "08:00"), HOUR)
    report = world.vault.status(offline=offline)
    (state,) = report.plans[0].repositories
    assert report.verdict is Verdict.WRONG
    assert state.newest
    assert state.newest.instant == at(2, "03:00")
    assert f"the newest snapshot, {world.taken[-1].id}, is INCOMPLETE" in state.reasons


@BOTH
def test_a_plan_without_snapshot_is_judged_by_its_verification(tmp_path: Path, *, offline: bool) -> None:
    """As deep as it asks for: a glance is no proof."""
    world = World(tmp_path, NIGHTLY, PROOF)
    world.ticks(at(1, "06:00"), HOUR)
    report = world.vault.status(offline=offline)
    proof = report.plans[1].repositories[0]
    assert proof.verdict is Verdict.FINE
    assert proof.due == datetime(2026, 7, 1, 5, tzinfo=UTC)
    world.clock.set(datetime(2026, 7, 2, 4, 59, tzinfo=UTC))
    world.verify(repository="nas")
    assert world.vault.status(offline=offline).plans[1].verdict is Verdict.FINE
    world.clock.set(datetime(2026, 7, 2, 5, 1, tzinfo=UTC))
    assert world.vault.status(offline=offline).plans[1].verdict is Verdict.OVERDUE
    world.verify(repository="nas", read_data=1.0)
    assert world.vault.status(offline=offline).plans[1].verdict is Verdict.FINE


@BOTH
def test_what_a_verification_found_wrong_stays_wrong_until_one_finds_it_right(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run("nightly")
    world.verified["nas"] = ("webui.db differs",)
    world.verify(repository="nas")
    report = world.vault.status(offline=offline)
    assert report.verdict is Verdict.WRONG
    assert "found something wrong" in report.plans[0].repositories[0].reasons[0]
    world.verified = {}
    world.verify(repository="nas")
    assert world.vault.status(offline=offline).verdict is Verdict.FINE


def test_a_repository_that_lost_its_newest_is_wrong(tmp_path: Path) -> None:
    """An older state of it was put back: what it holds is complete, and not what it was."""
    world = World(tmp_path, NIGHTLY)
    world.vault.status()
    world.run("nightly")
    state = world.vault._context.state
    folder = state.repository_folder("nas", world.engines["nas"].location)
    gone = LastStored(id="0badcafe", engine_id="gone", sequence=99, instant=START)
    state.remember_stored(folder, "open-webui", gone)
    report = world.vault.status()
    assert report.verdict is Verdict.WRONG
    assert "0badcafe" in report.plans[0].repositories[0].reasons[0]


@BOTH
def test_a_run_that_was_killed_is_wrong_before_anybody_told_of_it(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run("nightly")
    world.service().ledger.append(
        RunBegan(run="0badcafe", plan="nightly", at=world.clock.now(), because="due", holder="gone")
    )
    report = world.vault.status(offline=offline)
    assert report.verdict is Verdict.WRONG
    assert "did not end" in report.plans[0].reasons[0]


def test_while_it_runs_the_last_run_that_ended_counts(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run("nightly")
    seen = []

    def look(_step: str) -> None:
        world.meanwhile = lambda _step: None
        report = world.vault.status(offline=True)
        assert report.plans[0].last_run
        seen.append((report.verdict, report.plans[0].last_run.outcome))

    world.meanwhile = look
    world.clock.advance(HOUR)
    world.run("nightly")
    assert seen == [(Verdict.FINE, RunOutcome.RUNNING)]


@BOTH
def test_max_age_counts_whatever_the_plan_says(tmp_path: Path, *, offline: bool) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(2, "05:00"), HOUR)
    assert world.vault.status(max_age=2 * HOUR, offline=offline).verdict is Verdict.FINE
    world.clock.advance(timedelta(minutes=1))
    report = world.vault.status(max_age=2 * HOUR, offline=offline)
    assert report.verdict is Verdict.OVERDUE
    assert "is older than 2:00:00" in report.plans[0].repositories[0].reasons[0]


def test_every_is_due_an_interval_after_the_newest(tmp_path: Path) -> None:
    world = World(tmp_path, Plan(name="carried", schedule=IntervalSchedule(every=DAY)))
    world.run()
    (plan,) = world.vault.status().plans
    assert (plan.next_due, plan.repositories[0].late_after) == (START + DAY, START + DAY + 6 * HOUR)


@BOTH
def test_a_clock_set_back_keeps_nobody_quiet(tmp_path: Path, *, offline: bool) -> None:
    """Restore points of years to come: the last one that is credible decides."""
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(2, "05:00"), HOUR)
    world.clock.set(datetime(2031, 1, 1, tzinfo=UTC))
    world.run("nightly")
    world.clock.set(at(2, "06:00"))
    assert world.vault.status(offline=offline).verdict is Verdict.FINE
    world.clock.set(at(3, "09:01"))
    report = world.vault.status(offline=offline)
    assert report.verdict is Verdict.OVERDUE
    assert offline or "in the future does not count" in report.plans[0].repositories[0].reasons[0]


def test_without_plans_every_series_is_shown_and_max_age_judges(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run("nightly")
    bare = Vault(None, world.vault.repositories, clock=world.clock, state_dir=tmp_path / "other")
    report = bare.status()
    assert [(each.repository, each.series, each.verdict) for each in report.series] == [
        ("nas", "open-webui", Verdict.FINE)
    ]
    assert "--max-age" in report.warnings[0]
    world.clock.advance(27 * HOUR)
    assert bare.status(max_age=26 * HOUR).verdict is Verdict.OVERDUE
    assert bare.status(offline=True).verdict is Verdict.UNKNOWN
    world.carry_away("nas")
    assert bare.status(max_age=26 * HOUR).verdict is Verdict.UNKNOWN


def test_an_empty_repository_is_wrong(tmp_path: Path) -> None:
    world = World(tmp_path)
    report = world.vault.status()
    assert report.verdict is Verdict.WRONG
    assert report.series[0].reasons == ("there is no complete snapshot",)


def test_offline_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run("nightly")
    world.carry_away("nas")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "state").rglob("*")}
    assert world.vault.status(offline=True).verdict is Verdict.FINE
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "state").rglob("*")} == before


def test_unknown_is_6_and_never_outranks_what_is_wrong() -> None:
    assert exit_codes.worst([6, 3]) == 6
    assert exit_codes.worst([6, 5]) == 5
    assert exit_codes.worst([0, 6]) == 6


def test_no_code_of_an_error_becomes_none() -> None:
    assert exit_codes.worst([12, 0]) == 12
    assert exit_codes.worst([11, 3]) == 1
    assert exit_codes.worst([10, 4]) == 4
