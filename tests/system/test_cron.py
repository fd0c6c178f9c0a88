"""The times of cron expressions are those at which Debian's cron would start, in any zone, at any clock change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from owui_vault.errors import ConfigError
from owui_vault.system import cron

VIENNA = ZoneInfo("Europe/Vienna")  # forward on 2026-03-29 at 02:00, back on 2026-10-25 at 03:00
APIA = ZoneInfo("Pacific/Apia")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        pytest.param("0 3 * * *", "2026-06-01T00:00", ["2026-06-01T01:00", "2026-06-02T01:00"], id="daily"),
        pytest.param("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"], id="in the gap"),
        pytest.param("0,30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"], id="gap, once"),
        pytest.param(
            "30 2 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"], id="repeated hour, once"
        ),
        pytest.param("30 2 * * *", "2026-10-25T01:15", ["2026-10-26T01:30"], id="asked in the repeated hour"),
        pytest.param(
            "0 * * * *",
            "2026-10-24T23:30",
            ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"],
            id="hourly goes by time",
        ),
        pytest.param(
            "*/30 2 * * *", "2026-03-28T12:00", ["2026-03-30T00:00"], id="every half hour of an hour that is not"
        ),
        pytest.param("0 0 29 2 *", "2026-06-01T00:00", ["2028-02-28T23:00"], id="leap day"),
        pytest.param("0 4 * * 0", "2026-06-01T00:00", ["2026-06-07T02:00"], id="Sunday"),
        pytest.param("0 4 * * 7", "2026-06-01T00:00", ["2026-06-07T02:00"], id="Sunday is 7 as well"),
        pytest.param(
            "0 0 13 * 5",
            "2026-06-01T00:00",
            ["2026-06-04T22:00", "2026-06-11T22:00", "2026-06-12T22:00"],
            id="day or weekday",
        ),
        pytest.param("0 0 31 * *", "2026-03-31T00:00", ["2026-05-30T22:00"], id="no 31 April"),
    ],
)
def test_the_times_of_an_expression_follow_each_other(expression: str, start: str, expected: list[str]) -> None:
    """Forward one after the other; and backward each is found again, from itself until just before the next."""
    found = utc(start)
    for each in expected:
        before, found = found, cron.first_after(expression, found, VIENNA)
        assert found == utc(each)
        assert cron.first_after(expression, found - timedelta(microseconds=1), VIENNA) == found
        assert cron.last_until(expression, found, VIENNA) == found
        assert cron.last_until(expression, found - timedelta(microseconds=1), VIENNA) <= before or before == utc(start)


@pytest.mark.parametrize("zone", [VIENNA, APIA, UTC], ids=str)
@pytest.mark.parametrize("expression", ["17 2 * * *", "*/20 * * * *", "5 */6 * * *", "0 1 * * 1-5"])
def test_no_moment_of_a_year_is_before_its_last_time_or_after_its_next(expression: str, zone: ZoneInfo) -> None:
    moment = utc("2026-01-01T00:07:11")
    while moment < utc("2027-01-01T00:00"):
        last, following = (
            cron.last_until(expression, moment, zone),
            cron.first_after(expression, moment, zone),
        )
        assert last <= moment < following
        assert cron.first_after(expression, last, zone) == following
        moment += timedelta(hours=401, minutes=13)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
        ("0 3 * *", "five fields"),
        ("0 0 3 * * *", "five fields"),
        ("@daily", "five fields"),
        ("", "five fields"),
        ("60 3 * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 3 * * MONDAY", "bad day-of-week"),
        ("a b c d e", "bad"),
        ("*/0 * * * *", "bad minute"),
        ("0 3 -1 * *", "bad day-of-month"),
        ("0 3 L- * *", "bad day-of-month"),
    ],
)
def test_what_never_comes_or_is_no_expression_is_refused(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cron.check_expression(expression)


@pytest.mark.parametrize("expression", ["0 3 * * *", "0 0 29 2 *", "0 0 30 2 1", "0 3 L * *", "15 4 * * MON#1"])
def test_what_comes_however_seldom_is_taken(expression: str) -> None:
    cron.check_expression(expression)


def test_the_local_zone_is_that_of_tz_before_the_machines() -> None:
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    assert cron.local_zone({"TZ": "Asia/Tokyo"}).utcoffset(summer) == timedelta(hours=9)
    assert cron.local_zone({"TZ": ":Asia/Tokyo"}).utcoffset(summer) == timedelta(hours=9)
    assert cron.local_zone({"TZ": "/usr/share/zoneinfo/Asia/Tokyo"}).utcoffset(summer) == timedelta(hours=9)
    assert cron.local_zone({}).utcoffset(summer) is not None


def test_a_zone_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        cron.local_zone({"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"})
    assert "timezone" in raised.value.hint
    broken = tmp_path / "zone"
    broken.write_text("no zone")
    with pytest.raises(ConfigError):
        cron.local_zone({"TZ": str(broken)})
    with pytest.raises(ValueError, match="Europe/Vienna"):
        cron.named_zone("Mars/Olympus")
    with pytest.raises(ValueError, match="no time zone"):
        cron.named_zone("../../etc/passwd")
