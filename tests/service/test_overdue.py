"""Overdue is one function: what is later than its first due time after the newest result, and the grace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from owui_vault.model.plans import CronSchedule, IntervalSchedule, Plan, Schedule
from owui_vault.service.overdue import punctuality
from owui_vault.service.timetable import Timetable, offset, timetable

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAILY = CronSchedule(expression="0 3 * * *")
VIENNA = CronSchedule(expression="30 2 * * *", timezone="Europe/Vienna")
EVERY = IntervalSchedule(every=DAY)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def of(schedule: Schedule, *, jitter: timedelta = timedelta(), grace: timedelta | None = None) -> Timetable:
    return timetable(Plan(name="nightly", schedule=schedule, jitter=jitter, grace=grace), UTC, "host")


# schedule, newest restore point, known since, now, overdue, late after
CASES = [
    pytest.param(DAILY, "2026-06-01T03:00:04", None, "2026-06-01T04:00", False, "2026-06-02T09:00", id="just taken"),
    pytest.param(DAILY, "2026-06-01T03:00:04", None, "2026-06-02T03:05", False, "2026-06-02T09:00", id="due, in grace"),
    pytest.param(
        DAILY, "2026-06-01T03:00:04", None, "2026-06-02T09:00", False, "2026-06-02T09:00", id="grace's last moment"
    ),
    pytest.param(DAILY, "2026-06-01T03:00:04", None, "2026-06-02T09:00:01", True, "2026-06-02T09:00", id="past grace"),
    pytest.param(
        DAILY, "2026-06-01T03:00:04", None, "2026-07-15T00:00", True, "2026-06-02T09:00", id="44 days, unnoticed"
    ),
    pytest.param(
        DAILY,
        "2026-06-01T03:00",
        None,
        "2026-06-02T02:00",
        False,
        "2026-06-02T09:00",
        id="taken at the due time itself",
    ),
    pytest.param(
        DAILY,
        "2026-06-01T02:59:59",
        None,
        "2026-06-01T08:00",
        False,
        "2026-06-01T09:00",
        id="a moment before its due time",
    ),
    pytest.param(
        DAILY,
        "2026-06-01T02:59:59",
        None,
        "2026-06-01T09:30",
        True,
        "2026-06-01T09:00",
        id="which does not count for it",
    ),
    pytest.param(
        DAILY, "2026-06-01T14:00", None, "2026-06-02T08:00", False, "2026-06-02T09:00", id="caught up in the afternoon"
    ),
    pytest.param(
        CronSchedule(expression="0 * * * *"),
        "2026-06-01T03:00:04",
        None,
        "2026-06-01T05:59",
        False,
        "2026-06-01T06:00",
        id="hourly: at least two hours",
    ),
    pytest.param(
        CronSchedule(expression="0 * * * *"),
        "2026-06-01T03:00:04",
        None,
        "2026-06-01T06:01",
        True,
        "2026-06-01T06:00",
        id="hourly, late",
    ),
    pytest.param(
        CronSchedule(expression="0 4 * * 0"),
        "2026-05-31T04:00:04",
        None,
        "2026-06-08T03:59",
        False,
        "2026-06-08T04:00",
        id="weekly: at most a day",
    ),
    pytest.param(
        CronSchedule(expression="0 4 * * 0"),
        "2026-05-31T04:00:04",
        None,
        "2026-06-08T04:01",
        True,
        "2026-06-08T04:00",
        id="weekly, late",
    ),
    pytest.param(
        CronSchedule(expression="0 3 * * 1-5"),
        "2026-06-05T03:00:04",
        None,
        "2026-06-08T02:00",
        False,
        "2026-06-08T09:00",
        id="not due at weekends",
    ),
    pytest.param(
        CronSchedule(expression="0 3 * * 1-5"),
        "2026-06-04T03:00:04",
        None,
        "2026-06-06T02:00",
        True,
        "2026-06-05T21:00",
        id="Friday's grace is a quarter of the weekend",
    ),
    pytest.param(
        EVERY,
        "2026-06-01T14:23",
        None,
        "2026-06-02T20:23",
        False,
        "2026-06-02T20:23",
        id="every: counts from the restore point",
    ),
    pytest.param(EVERY, "2026-06-01T14:23", None, "2026-06-02T20:24", True, "2026-06-02T20:23", id="every, late"),
    pytest.param(
        IntervalSchedule(every=HOUR),
        "2026-06-01T14:00",
        None,
        "2026-06-01T17:01",
        True,
        "2026-06-01T17:00",
        id="every hour: two hours",
    ),
    pytest.param(
        IntervalSchedule(every=30 * DAY),
        "2026-06-01T14:00",
        None,
        "2026-07-02T13:59",
        False,
        "2026-07-02T14:00",
        id="every month: a day",
    ),
    pytest.param(DAILY, None, "2026-06-01T12:00", "2026-06-02T02:59", False, "2026-06-02T03:00", id="new, not due yet"),
    pytest.param(
        DAILY,
        None,
        "2026-06-01T12:00",
        "2026-06-02T03:00",
        True,
        "2026-06-02T03:00",
        id="never succeeded: from its first due time",
    ),
    pytest.param(
        DAILY, None, None, "2026-06-02T02:00", True, "2026-06-01T03:00", id="never succeeded, nobody knows since when"
    ),
    pytest.param(
        EVERY, None, "2026-06-01T12:00", "2026-06-01T12:00", True, "2026-06-01T12:00", id="every, never succeeded"
    ),
    pytest.param(EVERY, None, None, "2026-06-01T12:00", True, "2026-06-01T12:00", id="every, nobody knows since when"),
    pytest.param(
        VIENNA,
        "2026-03-28T01:30:04",
        None,
        "2026-03-29T06:52",
        False,
        "2026-03-29T06:52:30",
        id="forward: its time is skipped, and due after the gap",
    ),
    pytest.param(
        VIENNA, "2026-03-28T01:30:04", None, "2026-03-29T06:53", True, "2026-03-29T06:52:30", id="forward, late"
    ),
    pytest.param(
        VIENNA,
        "2026-10-25T00:30:04",
        None,
        "2026-10-25T01:35",
        False,
        "2026-10-26T07:30",
        id="back: due once, not again an hour later",
    ),
    pytest.param(
        VIENNA,
        "2026-10-24T00:30:04",
        None,
        "2026-10-25T06:46",
        True,
        "2026-10-25T06:45",
        id="back: that day has 25 hours, and its grace",
    ),
    pytest.param(
        CronSchedule(expression="0 3 29 2 *"),
        "2024-02-29T03:00:04",
        None,
        "2028-02-28T00:00",
        False,
        "2028-03-01T03:00",
        id="leap day: not due for four years",
    ),
    pytest.param(
        CronSchedule(expression="0 3 29 2 *"),
        "2024-02-29T03:00:04",
        None,
        "2028-03-01T03:01",
        True,
        "2028-03-01T03:00",
        id="leap day, missed",
    ),
    pytest.param(
        DAILY,
        "2030-01-01T00:00",
        "2026-06-01T12:00",
        "2026-06-01T14:00",
        False,
        "2026-06-02T03:00",
        id="of the future: says nothing, and it is a new plan",
    ),
    pytest.param(
        DAILY, "2030-01-01T00:00", None, "2026-06-02T03:30", True, "2026-06-02T03:00", id="of the future: says nothing"
    ),
    pytest.param(
        DAILY,
        "2026-06-02T03:04",
        None,
        "2026-06-02T03:00",
        False,
        "2026-06-03T09:00",
        id="four minutes ahead: two clocks, no future",
    ),
    pytest.param(
        DAILY,
        None,
        "2030-01-01T00:00",
        "2026-06-02T03:30",
        True,
        "2026-06-02T03:00",
        id="known since the future: nobody knows",
    ),
]


@pytest.mark.parametrize(("schedule", "newest", "since", "now", "overdue", "late_after"), CASES)
def test_overdue(
    schedule: Schedule, newest: str | None, since: str | None, now: str, *, overdue: bool, late_after: str
) -> None:
    judged = punctuality(
        of(schedule), [utc(newest)] if newest else [], utc(now), known_since=utc(since) if since else None
    )
    assert (judged.overdue, judged.late_after) == (overdue, utc(late_after))


def test_there_are_thirty_cases_at_least() -> None:
    assert len(CASES) >= 30


def test_a_result_of_the_future_leaves_the_judgement_to_the_one_before() -> None:
    """The clock ran ahead once, or was set back since: the restore point of last night is as good as ever."""
    results = [utc("2026-06-01T03:00:04"), utc("2030-01-01T00:00")]
    judged = punctuality(of(DAILY), results, utc("2026-06-02T08:00"))
    assert (judged.overdue, judged.clock_is_wrong) == (False, True)
    judged = punctuality(of(DAILY), results, utc("2026-06-02T10:00"))
    assert (judged.overdue, judged.clock_is_wrong) == (True, True)


@pytest.mark.parametrize("grace", [timedelta(), timedelta(minutes=5), 3 * DAY])
def test_a_grace_that_is_configured_is_taken_as_it_is(grace: timedelta) -> None:
    due = utc("2026-06-02T03:00")
    for late, expected in ((timedelta(), False), (timedelta(seconds=1), True)):
        judged = punctuality(of(DAILY, grace=grace), [utc("2026-06-01T03:00:04")], due + grace + late)
        assert judged.overdue is expected


def test_jitter_moves_all_due_times_of_a_plan_alike_and_stays_the_same() -> None:
    moved = of(DAILY, jitter=HOUR)
    assert timedelta() < moved.offset <= HOUR
    assert moved.offset == of(DAILY, jitter=HOUR).offset
    due = utc("2026-06-01T03:00") + moved.offset
    assert moved.first_after(utc("2026-06-01T02:00")) == due
    assert moved.last_until(due) == due
    assert moved.last_until(due - timedelta(seconds=1)) == due - DAY
    assert punctuality(moved, [due + timedelta(seconds=4)], due + DAY + 6 * HOUR).overdue is False
    assert punctuality(moved, [due + timedelta(seconds=4)], due + DAY + 6 * HOUR + timedelta(seconds=1)).overdue


def test_machines_and_plans_spread_over_the_jitter() -> None:
    plan = Plan(name="nightly", schedule=DAILY, jitter=HOUR)
    drawn = {offset(plan, f"host-{number}") for number in range(200)}
    assert len(drawn) > 150
    assert min(drawn) < timedelta(minutes=3)
    assert timedelta(minutes=57) < max(drawn) <= HOUR
    other = Plan(name="weekly", schedule=DAILY, jitter=HOUR)
    assert offset(plan, "host") != offset(other, "host")


def test_a_plan_is_due_in_its_own_time_zone_before_the_machines() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    local = timetable(Plan(name="a", schedule=DAILY), tokyo, "host")
    assert local.first_after(utc("2026-06-01T00:00")) == utc("2026-06-01T18:00")
    own = timetable(Plan(name="a", schedule=VIENNA), tokyo, "host")
    assert own.first_after(utc("2026-06-01T00:00")) == utc("2026-06-01T00:30")
    unknown = CronSchedule(expression="0 3 * * *", timezone="Mars/Olympus")
    with pytest.raises(ValueError, match="Mars/Olympus"):
        timetable(Plan(name="a", schedule=unknown), tokyo, "host")
