"""What `run` does, when, and what it says: simulated weeks, and whatever may go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault.errors import (
    CancelledError,
    ConfigError,
    LockHeldError,
    QuiesceError,
    RepositoryUnreachableError,
    ResumeError,
)
from owui_vault.model import (
    CronSchedule,
    IntervalSchedule,
    Outcome,
    Plan,
    PlanStep,
    Quiesce,
    RetentionPolicy,
    RunOutcome,
    RunRecord,
    RunReport,
    Verdict,
)
from owui_vault.service import run_ledger, run_plans
from owui_vault.service.run_ledger import RunLedger
from tests.service.world import KEEP, SERIES, START, TICK, Killed, World

HALF, HOUR, DAY = timedelta(minutes=30), timedelta(hours=1), timedelta(days=1)
DAILY = CronSchedule(expression="0 3 * * *")
NIGHTLY = Plan(name="nightly", schedule=DAILY)
QUIET = RunReport()


def at(day: int, time: str) -> datetime:
    return datetime.fromisoformat(f"2026-06-{day:02d}T{time}").replace(tzinfo=UTC)


def began(reports: list[RunReport]) -> list[tuple[str, str]]:
    return [(each.plan, each.began.strftime("%d %H:%M")) for report in reports for each in report.runs]


def outcomes(record: RunRecord) -> dict[PlanStep, RunOutcome]:
    return {each.step: each.outcome for each in record.steps}


@pytest.mark.slow
def test_a_week_of_a_nightly_plan_is_seven_runs(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(START + 7 * DAY, HOUR)
    assert [each.instant for each in world.taken] == [at(day, "03:00") for day in range(1, 8)]
    assert {each.plan for each in world.vault.snapshots()} == {"nightly"}
    assert [each.outcome for each in world.vault.history()] == [RunOutcome.SUCCESS] * 7


@pytest.mark.slow
def test_a_collapse_stops_retention_night_after_night_until_it_is_accepted(tmp_path: Path) -> None:
    """Each run says so and ends 5, the status is wrong, online and offline; and a mirror is not pruned either."""
    world = World(tmp_path, NIGHTLY, repositories=("nas", "far"), keep=RetentionPolicy(last=1))
    world.chats = 480
    world.ticks(at(1, "03:10"))
    world.chats = 12
    for day in (2, 3):
        (report,) = world.ticks(at(day, "03:10"))
        (record,) = report.runs
        assert (record.outcome, record.exit_code) == (RunOutcome.WRONG, 5)
        step = record.step(PlanStep.PRUNE)
        assert step
        assert [(each.outcome, "has collapsed" in each.problems[0]) for each in step.results] == [
            (RunOutcome.WRONG, True)
        ] * 2
    assert {name: len(world.vault.snapshots(name)) for name in world.engines} == {"nas": 3, "far": 3}
    status = world.vault.status()
    assert status.collapse
    assert (status.verdict, status.collapse.snapshot) == (Verdict.WRONG, world.taken[-1].id)
    offline = world.vault.status(offline=True)
    assert (offline.verdict, offline.collapse) == (Verdict.WRONG, None)
    assert any("has collapsed" in text for each in offline.plans[0].repositories for text in each.reasons)
    world.clock.advance(timedelta(minutes=5))
    world.vault.accept_collapse(status.collapse)
    assert world.vault.status().verdict is world.vault.status(offline=True).verdict is Verdict.FINE
    (report,) = world.ticks(at(4, "03:10"))
    assert report.runs[0].exit_code == 0
    assert {name: len(world.vault.snapshots(name)) for name in world.engines} == {"nas": 1, "far": 1}


def test_an_append_only_repository_is_left_alone_and_that_is_no_failure(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, repositories=("nas", "far"), keep=RetentionPolicy(last=1), append_only=("far",))
    reports = world.ticks(at(3, "03:10"))
    assert [each.exit_code for report in reports for each in report.runs] == [0, 0, 0]
    step = reports[-1].runs[0].step(PlanStep.PRUNE)
    assert step
    assert [(each.outcome, each.note) for each in step.results] == [
        (RunOutcome.SUCCESS, ""),
        (RunOutcome.SKIPPED, "it is append-only: never pruned from here"),
    ]
    assert {name: len(world.vault.snapshots(name)) for name in world.engines} == {"nas": 1, "far": 3}


def test_nothing_due_is_nothing_done_and_nobody_asked(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    assert world.run() == QUIET, "the plan is noted, and not due before its first time"
    before = world.service().ledger.path.read_bytes()
    world.carry_away("nas")
    assert world.run() == QUIET
    assert world.service().ledger.path.read_bytes() == before
    assert world.asked == []


def test_soft_daily_and_cold_weekly_are_two_plans_in_one_repository(tmp_path: Path) -> None:
    cold = Plan(name="cold", schedule=CronSchedule(expression="0 4 * * 0"), quiesce=Quiesce.STOP, verify=True)
    world = World(tmp_path, NIGHTLY, cold)
    reports = world.ticks(START + 8 * DAY, HOUR)
    assert began(reports) == [
        *(("nightly", f"{day:02d} 03:00") for day in range(1, 8)),
        ("cold", "07 04:00"),
        ("nightly", "08 03:00"),
    ]
    assert world.modes == [None] * 7 + [Quiesce.STOP, None]
    assert [each[2] for each in world.verifications] == [0.0]


def test_two_plans_of_one_time_run_one_after_the_other(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, Plan(name="other", schedule=DAILY))
    (report,) = world.ticks(at(1, "03:10"))
    assert [each.plan for each in report.runs] == ["nightly", "other"]
    assert [each.exit_code for each in report.runs] == [0, 0]


def test_a_night_that_was_slept_through_is_made_up_for_once(tmp_path: Path) -> None:
    """Three nights asleep are one run, not three."""
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(2, "04:00"))
    world.clock.set(at(5, "09:30"))
    reports = world.ticks(at(6, "12:00"), HALF)
    assert began(reports) == [("nightly", "05 09:30"), ("nightly", "06 03:00")]


def test_without_catch_up_a_night_that_was_missed_is_missed(tmp_path: Path) -> None:
    plan = Plan(name="nightly", schedule=DAILY, catch_up=False)
    world = World(tmp_path, plan)
    world.run()
    world.clock.set(at(5, "03:14"))
    assert began([world.run()]) == [("nightly", "05 03:14")], "a tick that came late is no miss"
    world.clock.set(at(6, "03:16"))
    assert world.run() == QUIET
    (decision,) = world.run(dry_run=True).decisions
    assert "was missed, and catch_up is off" in decision.because
    assert decision.next_due == at(7, "03:00")


def test_a_run_longer_than_its_interval_is_followed_by_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, Plan(name="hourly", schedule=CronSchedule(expression="0 * * * *")))
    world.takes = timedelta(minutes=90)
    times = [time for _, time in began(world.ticks(at(1, "06:00")))]
    assert times == ["01 01:00", "01 02:40", "01 04:20"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-03-28T00:00", ["28 01:30", "29 01:00", "30 00:30"]),
        ("2026-10-24T00:00", ["24 00:30", "25 00:30", "26 01:30"]),
    ],
    ids=["forward", "back"],
)
def test_clock_changes_neither_miss_a_night_nor_run_it_twice(tmp_path: Path, start: str, expected: list[str]) -> None:
    schedule = CronSchedule(expression="30 2 * * *", timezone="Europe/Vienna")
    world = World(tmp_path, Plan(name="nightly", schedule=schedule))
    world.clock.set(datetime.fromisoformat(start).replace(tzinfo=UTC))
    assert [time for _, time in began(world.ticks(world.clock.now() + 3 * DAY, HALF))] == expected


def test_a_clock_that_was_set_back_neither_repeats_nor_silences(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(2, "03:20"))
    world.clock.set(at(2, "01:00"))
    assert began(world.ticks(at(3, "12:00"))) == [("nightly", "03 03:00")]


@pytest.mark.parametrize("schedule", [DAILY, IntervalSchedule(every=HOUR)], ids=["cron", "every"])
def test_a_clock_that_was_corrected_by_a_minute_does_nothing_twice(
    tmp_path: Path, schedule: CronSchedule | IntervalSchedule
) -> None:
    world = World(tmp_path, Plan(name="nightly", schedule=schedule))
    world.run()
    world.clock.set(at(1, "03:00"))
    world.run()
    taken = len(world.taken)
    world.clock.set(at(1, "02:59"))
    assert world.run() == QUIET
    world.clock.set(at(1, "03:00"))
    assert world.run() == QUIET
    assert len(world.taken) == taken


def test_a_clock_that_ran_ahead_for_years_keeps_no_plan_from_running(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.clock.set(datetime(2031, 1, 1, tzinfo=UTC))
    world.ticks(world.clock.now() + DAY, HOUR)
    world.clock.set(at(1, "12:00"))
    reports = world.ticks(at(4, "12:00"), HOUR)
    assert began(reports) == [("nightly", "02 03:00"), ("nightly", "03 03:00"), ("nightly", "04 03:00")]


def test_a_state_that_was_lost_is_begun_anew_and_runs_at_the_next_time(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(2, "12:00"))
    world.service().ledger.path.unlink()
    assert began(world.ticks(at(3, "12:00"))) == [("nightly", "03 03:00")]


def test_another_schedule_counts_from_when_it_was_set(tmp_path: Path) -> None:
    """What was due by the new one before anybody wrote it is not missed."""
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(2, "12:00"))
    world.service(Plan(name="nightly", schedule=CronSchedule(expression="0 11 * * *")))
    assert began(world.ticks(at(3, "12:00"))) == [("nightly", "03 11:00")]


def test_jitter_is_the_same_each_night(tmp_path: Path) -> None:
    world = World(tmp_path, Plan(name="nightly", schedule=DAILY, jitter=12 * HOUR))
    reports = world.ticks(START + 4 * DAY, HALF)
    times = {time.split()[1] for _, time in began(reports)}
    assert len(times) == 1
    assert len(began(reports)) >= 3


def test_every_counts_from_the_restore_point_of_each_repository(tmp_path: Path) -> None:
    """A disk that is there on Tuesdays is served then, and what is always there is not stored twice for it."""
    world = World(tmp_path, Plan(name="both", schedule=IntervalSchedule(every=DAY)), repositories=("nas", "disk"))
    world.carry_away("disk")
    world.ticks(at(1, "01:00"))
    world.clock.set(at(2, "01:00"))
    world.bring_back("disk")
    world.ticks(at(2, "02:00"))
    world.ticks(at(3, "04:00"), HOUR)
    stored = {name: [each.instant for each in world.vault.snapshots(name)] for name in ("nas", "disk")}
    assert stored["disk"] == [at(3, "01:00"), at(2, "01:00")]
    assert stored["nas"] == [at(3, "01:00"), at(2, "01:00"), at(1, "00:00")]


def test_a_disk_that_is_not_there_is_tried_at_each_tick_and_nothing_else_with_it(tmp_path: Path) -> None:
    world = World(tmp_path, Plan(name="both", schedule=IntervalSchedule(every=DAY)), repositories=("nas", "disk"))
    world.run()
    world.clock.set(at(2, "00:00"))
    world.carry_away("disk")
    reports = world.ticks(at(2, "02:30"))
    assert began(reports)[:3] == [("both", "02 00:00"), ("both", "02 01:00"), ("both", "02 01:10")]
    assert [each.repository for each in reports[1].runs[0].steps[0].results] == ["disk"]
    assert len(world.vault.snapshots("nas")) == 2


def test_every_after_an_incomplete_one_waits_as_after_a_complete_one(tmp_path: Path) -> None:
    world = World(tmp_path, Plan(name="a", schedule=IntervalSchedule(every=6 * HOUR)))
    world.outcome = Outcome.INCOMPLETE
    assert [time for _, time in began(world.ticks(at(1, "13:00")))] == ["01 00:00", "01 06:00", "01 12:00"]


def test_what_failed_before_the_instance_was_touched_is_tried_again_each_hour(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run()
    world.carry_away("nas")
    reports = world.ticks(at(1, "05:30"))
    assert began(reports) == [("nightly", "01 03:00"), ("nightly", "01 04:00"), ("nightly", "01 05:00")]
    assert {each.exit_code for report in reports for each in report.runs} == {1}
    world.bring_back("nas")
    reports = world.ticks(at(2, "02:00"))
    assert began(reports) == [("nightly", "01 06:00")]
    assert reports[0].runs[0].exit_code == 0
    assert reports[0].runs[0].because.startswith("tried again")


def test_what_was_captured_is_not_tried_again(tmp_path: Path) -> None:
    """Each try pauses or stops the instance: one repository of two that fails is told, and served the next night."""
    world = World(tmp_path, NIGHTLY, repositories=("nas", "disk"))
    world.run()
    world.carry_away("disk")
    reports = world.ticks(at(2, "02:00"))
    assert began(reports) == [("nightly", "01 03:00")]
    (record,) = reports[0].runs
    assert (record.outcome, record.exit_code) == (RunOutcome.FAILED, 1)
    results = record.steps[0].results
    assert [(each.repository, each.outcome) for each in results] == [
        ("nas", RunOutcome.SUCCESS),
        ("disk", RunOutcome.FAILED),
    ]
    assert results[1].error
    assert results[1].error.type == "RepositoryMissingError"


def test_prune_follows_only_where_this_run_stored_a_restore_point(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, repositories=("nas", "disk"), keep=RetentionPolicy(last=1))
    world.run("nightly")
    world.clock.advance(DAY)
    world.carry_away("disk")
    (record,) = world.run("nightly").runs
    prune = record.step(PlanStep.PRUNE)
    assert prune
    assert [(each.outcome, each.removed) for each in prune.results] == [
        (RunOutcome.SUCCESS, 1),
        (RunOutcome.SKIPPED, None),
    ]
    assert prune.results[1].note == "this run stored nothing complete there"
    world.bring_back("disk")
    world.outcome = Outcome.INCOMPLETE
    world.clock.advance(DAY)
    (record,) = world.run("nightly").runs
    assert outcomes(record) == {
        PlanStep.SNAPSHOT: RunOutcome.INCOMPLETE,
        PlanStep.PRUNE: RunOutcome.SKIPPED,
    }
    assert record.exit_code == 3


def test_verify_reads_as_much_as_the_plan_says_of_what_this_run_stored(tmp_path: Path) -> None:
    """Also of what is INCOMPLETE: it may be all there is."""
    plan = Plan(name="nightly", schedule=DAILY, verify=True, read_data=0.05)
    world = World(tmp_path, plan, repositories=("nas", "disk"))
    world.run("nightly")
    world.outcome = Outcome.INCOMPLETE
    world.run("nightly")
    expected = [(name, taken.id, 0.05) for taken in world.taken for name in ("nas", "disk")]
    assert world.verifications == expected


def test_a_repository_without_keep_is_never_pruned(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, keep=RetentionPolicy())
    (record,) = world.run("nightly").runs
    prune = record.step(PlanStep.PRUNE)
    assert prune
    assert (prune.outcome, prune.results) == (RunOutcome.SKIPPED, ())
    assert record.exit_code == 0


PROOF = Plan(name="proof", schedule=CronSchedule(expression="0 5 1 * *"), snapshot=False, verify=True, read_data=1.0)


def test_a_plan_without_snapshot_prunes_while_the_newest_is_not_overdue(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, PROOF, keep=RetentionPolicy(last=1))
    world.run("nightly")
    world.clock.advance(timedelta(minutes=1))
    world.keep = KEEP
    (record,) = world.run("proof").runs
    assert outcomes(record) == {PlanStep.PRUNE: RunOutcome.SUCCESS, PlanStep.VERIFY: RunOutcome.SUCCESS}
    world.clock.advance(3 * DAY)
    (record,) = world.run("proof").runs
    assert outcomes(record)[PlanStep.PRUNE] is RunOutcome.SKIPPED
    prune = record.step(PlanStep.PRUNE)
    assert prune
    assert prune.results[0].note == "its newest complete snapshot by nightly is overdue"


def test_verify_that_finds_something_is_5_and_a_failure_outranks_it(tmp_path: Path) -> None:
    plan = Plan(name="nightly", schedule=DAILY, verify=True)
    world = World(tmp_path, plan, repositories=("nas", "disk"))
    world.verified["nas"] = ("webui.db differs from the manifest",)
    (record,) = world.run("nightly").runs
    assert (record.outcome, record.exit_code) == (RunOutcome.WRONG, 5)
    verify = record.step(PlanStep.VERIFY)
    assert verify
    assert verify.results[0].problems == ("webui.db differs from the manifest",)
    world.carry_away("disk")
    (record,) = world.run("nightly").runs
    assert (record.outcome, record.exit_code) == (RunOutcome.FAILED, 1)


def test_a_snapshot_that_failed_keeps_nobody_from_the_next_plan(tmp_path: Path) -> None:
    world = World(tmp_path, Plan(name="nightly", schedule=DAILY, verify=True), PROOF)
    world.run("nightly")
    world.refusal = QuiesceError("could not be paused")
    report = world.run("nightly", "proof")
    nightly, proof = report.runs
    assert outcomes(nightly) == {
        PlanStep.SNAPSHOT: RunOutcome.FAILED,
        PlanStep.PRUNE: RunOutcome.SKIPPED,
        PlanStep.VERIFY: RunOutcome.SKIPPED,
    }
    assert nightly.steps[0].error
    assert nightly.steps[0].error.message == "could not be paused"
    assert proof.exit_code == 0


def test_what_nobody_foresaw_is_a_failure_without_its_text(tmp_path: Path) -> None:
    """The text may hold anything, even a secret."""
    world = World(tmp_path, NIGHTLY)

    def stumble(_step: str) -> None:
        raise RuntimeError("hunter2")

    world.meanwhile = stumble
    (record,) = world.run("nightly").runs
    assert record.exit_code == 1
    assert "hunter2" not in repr(world.vault.history())
    assert b"hunter2" not in world.service().ledger.path.read_bytes()


@pytest.mark.parametrize("step", ["snapshot", "prune", "verify"])
def test_a_run_that_was_killed_is_told_by_the_next_one_and_once(tmp_path: Path, step: str) -> None:
    world = World(tmp_path, Plan(name="nightly", schedule=DAILY, verify=True))
    world.run()
    world.clock.set(at(1, "03:00"))

    def die(where: str) -> None:
        if where == step:
            raise Killed

    world.meanwhile = die
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_plans, "_note", _forgets_the_end(run_plans._note, world))
        with pytest.raises(Killed):
            world.run()
    world.meanwhile = lambda _step: None
    world.clock.advance(TICK)
    report = world.run()
    (killed,) = report.killed
    assert (killed.plan, killed.outcome, killed.exit_code) == ("nightly", RunOutcome.KILLED, 1)
    assert killed.steps[-1].step is PlanStep(step)
    assert killed.steps[-1].outcome is RunOutcome.KILLED
    assert report.runs == (), "the same thing may kill it again: not before an hour has passed"
    (event,) = world.heard.events
    assert (event.operation, event.kind) == ("run", "failure")
    assert (event.plan, "nightly" in event.text) == ("nightly", True)
    world.clock.advance(TICK)
    assert world.run() == QUIET
    assert began(world.ticks(at(1, "05:00"))) == [("nightly", "01 04:00")]
    assert [each.outcome for each in world.vault.history()] == [RunOutcome.SUCCESS, RunOutcome.KILLED]


def _forgets_the_end(note: Callable[..., None], world: World) -> Callable[..., None]:
    """A process that is killed writes nothing on its way out; an exception in a test would."""

    def forgetful(ledger: RunLedger, entry: object, unwritten: list[str]) -> None:
        if getattr(getattr(entry, "record", entry), "outcome", None) is not RunOutcome.FAILED:
            note(ledger, entry, unwritten)

    assert world.taken is not None
    return forgetful


def test_what_kills_a_run_twice_does_not_kill_it_each_hour(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.run()
    world.clock.set(at(1, "03:00"))

    def die(_where: str) -> None:
        raise Killed

    world.meanwhile = die
    times = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_plans, "_note", _forgets_the_end(run_plans._note, world))
        while world.clock.now() < at(2, "02:00"):
            try:
                world.run()
            except Killed:
                times.append(world.clock.now())
            world.clock.advance(TICK)
    assert times == [at(1, "03:00"), at(1, "04:00")]
    first, *others = world.heard.events
    assert "did not end" in first.detail
    assert not [each for each in others if "did not end" in each.detail], "it is still so, and was told"


def test_a_wish_to_stop_ends_the_run_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.refusal = CancelledError("stopped")
    with pytest.raises(CancelledError):
        world.run("nightly")
    (record,) = world.vault.history()
    assert (record.outcome, record.steps[0].step) == (RunOutcome.FAILED, PlanStep.SNAPSHOT)
    assert record.steps[0].error
    assert record.steps[0].error.message == "stopped"


def test_an_instance_that_is_not_as_it_was_is_no_result(tmp_path: Path) -> None:
    """Exit code 4, and no further plan touches it; the run has its end in the ledger."""
    world = World(tmp_path, NIGHTLY, Plan(name="other", schedule=DAILY))
    world.refusal = ResumeError("the instance is down")
    with pytest.raises(ResumeError):
        world.run("nightly", "other")
    (record,) = world.vault.history()
    assert (record.plan, record.outcome, record.exit_code) == ("nightly", RunOutcome.FAILED, 4)


def test_while_one_runs_a_tick_has_nothing_to_do_and_a_named_plan_is_told_who(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both plans of that time are the first run's: also the one that it has not begun."""
    monkeypatch.setattr(run_ledger, "_READER_SECONDS", 0.1)
    late = Plan(name="late", schedule=CronSchedule(expression="10 3 * * *"))
    world = World(tmp_path, NIGHTLY, Plan(name="other", schedule=DAILY), late)
    world.run()
    world.clock.set(at(1, "03:00"))
    seen: list[object] = []

    def look(_step: str) -> None:
        world.meanwhile = lambda _step: None
        seen.append(world.run())
        with pytest.raises(LockHeldError) as raised:
            world.run("nightly")
        seen.append(raised.value.exit_code)
        assert "nightly, other" in raised.value.message
        running = world.vault.history()
        seen.append([each.outcome for each in running])
        world.clock.advance(TICK)
        with pytest.raises(LockHeldError):
            world.run()

    world.meanwhile = look
    report = world.run()
    assert seen == [QUIET, 11, [RunOutcome.RUNNING]]
    assert [each.plan for each in report.runs] == ["nightly", "other"]
    assert [each.plan for each in world.run().runs] == ["late"]


def test_two_daemons_by_mistake_run_each_plan_once(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    other = World(tmp_path / "other", NIGHTLY)
    other.vault, other.clock = world.vault, world.clock
    other.engines, other.folder = world.engines, world.folder
    runs = []
    while world.clock.now() < at(3, "12:00"):
        runs += [*world.run().runs, *other.run().runs]
        world.to_the_next_tick(HALF)
    assert len(runs) == 3


def test_a_disk_that_fills_up_during_a_run_makes_no_good_backup_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, NIGHTLY, Plan(name="other", schedule=DAILY))
    world.run()
    append = RunLedger.append

    def full(_step: str) -> None:
        def refuse(_ledger: RunLedger, _entry: object) -> None:
            raise ConfigError("the state directory cannot be used: No space left on device")

        monkeypatch.setattr(RunLedger, "append", refuse)

    world.meanwhile = full
    report = world.run("nightly", "other")
    nightly, other = report.runs
    assert nightly.outcome is RunOutcome.SUCCESS
    assert "No space left" in report.unrecorded[0]
    assert (other.outcome, len(world.taken)) == (RunOutcome.FAILED, 1)
    monkeypatch.setattr(RunLedger, "append", append)
    world.meanwhile = lambda _step: None
    (killed,) = world.run().killed
    assert killed.plan == "nightly", "nobody knows any better, and it is told rather than not"


def test_damage_to_the_ledger_is_told_by_the_run_that_finds_it(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.ticks(at(1, "03:10"))
    path = world.service().ledger.path
    path.write_bytes(b"damage\n" + path.read_bytes())
    world.clock.set(at(2, "03:00"))
    report = world.run()
    assert len(report.runs) == 1
    assert "1 line of the run ledger could not be read" in report.warnings[0]


def test_dry_run_says_what_and_why_and_does_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, PROOF)
    report = world.run(dry_run=True)
    assert [(each.plan, each.due) for each in report.decisions] == [("nightly", False), ("proof", False)]
    assert report.decisions[0].because == "no time of its schedule has come since it was configured"
    assert not world.service().ledger.path.exists()
    world.run()
    world.clock.set(at(1, "03:30"))
    report = world.run(dry_run=True)
    assert report.decisions[0].due
    assert report.decisions[0].because.startswith("due since 2026-06-01 03:00")
    assert report.decisions[0].repositories == ("nas",)
    assert report.decisions[0].next_due == at(2, "03:00")
    assert world.taken == []
    assert world.run("proof", dry_run=True).decisions[0].because == "it was named"


def test_plans_that_there_are_not_are_named(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    with pytest.raises(ConfigError, match="no plan named 'weekly'") as raised:
        world.run("weekly")
    assert "nightly" in raised.value.hint
    with pytest.raises(ConfigError, match="no plan is configured"):
        World(tmp_path / "none").run()


def test_history_is_newest_first_and_by_plan(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY, Plan(name="other", schedule=DAILY))
    world.ticks(START + 2 * DAY)
    everything = world.vault.history()
    assert [each.plan for each in everything] == ["other", "nightly", "other", "nightly"]
    assert [each.began for each in everything] == sorted((each.began for each in everything), reverse=True)
    assert len(world.vault.history(last=3)) == 3
    assert {each.plan for each in world.vault.history(plan="other")} == {"other"}
    with pytest.raises(ConfigError, match="no plan named 'weekly'"):
        world.vault.history(plan="weekly")
    with pytest.raises(ConfigError, match="0 runs"):
        world.vault.history(last=0)


def test_a_locked_or_unreachable_repository_is_a_failure_with_its_own_error(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.refusal = RepositoryUnreachableError("nas does not answer", hint="Is it up?")
    (record,) = world.run("nightly").runs
    assert record.steps[0].error
    assert (record.steps[0].error.type, record.steps[0].error.hint) == ("RepositoryUnreachableError", "Is it up?")
    assert (world.service().context.series(), SERIES) == (SERIES, SERIES)


def test_a_disk_that_may_be_away_is_a_note_and_no_failure(tmp_path: Path) -> None:
    """Also where it is the only one of its plan; and it stays due until it is there."""
    carried = Plan(name="carried", schedule=IntervalSchedule(every=DAY), repositories=("disk",), verify=True)
    world = World(tmp_path, NIGHTLY, carried, repositories=("nas", "disk"), optional=("disk",))
    world.carry_away("disk")
    report = world.run("nightly", "carried")
    nightly, alone = report.runs
    assert [each.exit_code for each in report.runs] == [0, 0]
    assert nightly.steps[0].outcome is RunOutcome.SUCCESS
    steps = (PlanStep.SNAPSHOT, PlanStep.PRUNE, PlanStep.VERIFY)
    assert outcomes(alone) == dict.fromkeys(steps, RunOutcome.SKIPPED)
    assert alone.steps[0].results[0].note.startswith("it may be away: ")
    world.bring_back("disk")
    world.clock.advance(TICK)
    (record,) = world.run().runs
    assert (record.plan, record.steps[0].outcome) == ("carried", RunOutcome.SUCCESS)


def test_a_disk_that_may_be_away_is_not_verified_then(tmp_path: Path) -> None:
    proof = Plan(name="proof", schedule=DAILY, snapshot=False, verify=True, prune=False)
    world = World(tmp_path, proof, repositories=("nas", "disk"), optional=("disk",))
    world.snapshot()
    world.carry_away("disk")
    (record,) = world.run("proof").runs
    assert [each.outcome for each in record.steps[0].results] == [RunOutcome.SUCCESS, RunOutcome.SKIPPED]
    assert record.exit_code == 0
