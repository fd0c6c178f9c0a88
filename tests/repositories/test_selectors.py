from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from owui_vault.errors import SnapshotAmbiguousError, SnapshotMissingError
from owui_vault.model import Label, Outcome, Proof, RetentionPolicy, Snapshot
from owui_vault.model.json_codec import local_text
from owui_vault.repositories.retention import decide
from owui_vault.repositories.selectors import choose, newest_first, newest_restore_point

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def stored(number: int, id_: str, *, days: int = 0, outcome: Outcome = Outcome.COMPLETE) -> Snapshot:
    instant = NOON + timedelta(days=days)
    label = Label(
        id=id_,
        instance="open-webui",
        fingerprint="f",
        instant=instant,
        sequence=number,
        outcome=outcome,
        mode=Proof.LIVE,
    )
    return Snapshot(engine_id=f"e{number}" * 8, name=f"open-webui-{number}", time=instant, label=label)


ONE = stored(1, "aaaa0001")
TWO = stored(2, "aaaa0002", days=1)
HALF = stored(3, "bbbb0003", days=2, outcome=Outcome.INCOMPLETE)
BACKWARDS = stored(4, "cccc0004", days=-10)
ALL = (TWO, BACKWARDS, ONE, HALF)


def test_newest_goes_by_the_number_and_not_by_the_clock() -> None:
    assert [each.id for each in newest_first(ALL)] == ["cccc0004", "bbbb0003", "aaaa0002", "aaaa0001"]


def test_latest_is_the_newest_complete_one() -> None:
    assert choose(ALL, "latest") == BACKWARDS
    assert choose((ONE, HALF), "latest") == ONE
    assert newest_restore_point((HALF,)) is None


def test_latest_of_an_empty_series_is_an_error_with_what_is_known() -> None:
    with pytest.raises(SnapshotMissingError) as caught:
        choose((HALF,), "latest")
    assert "bbbb0003" in caught.value.hint
    assert "To use an INCOMPLETE one, give its id" in caught.value.hint
    with pytest.raises(SnapshotMissingError) as caught:
        choose((), "latest")
    assert caught.value.hint == "The series is empty: take a snapshot first."


@pytest.mark.parametrize("wanted", ["bbbb0003", "bbbb", HALF.engine_id, HALF.name, HALF.engine_id[:6]])
def test_an_incomplete_one_is_reached_by_its_id(wanted: str) -> None:
    assert choose(ALL, wanted) == HALF


def test_a_beginning_that_fits_two_is_refused_with_both() -> None:
    with pytest.raises(SnapshotAmbiguousError) as caught:
        choose(ALL, "aaaa")
    assert "aaaa0001" in caught.value.hint
    assert "aaaa0002" in caught.value.hint


@pytest.mark.parametrize("wanted", ["cafe", "2020-01-01", "open-webui-20201120T030000Z-4e1c0a9f"])
def test_what_fits_nothing_is_an_error(wanted: str) -> None:
    with pytest.raises(SnapshotMissingError, match="there is no"):
        choose((ONE, TWO, HALF), wanted)


@pytest.mark.parametrize("wanted", ["yesterday", "30.11.2026", "2026-13-30", "2026-11-20T25:00", "latest2"])
def test_what_is_neither_an_id_nor_a_date_is_told_with_how_both_are_written(wanted: str) -> None:
    with pytest.raises(SnapshotMissingError, match="neither an id nor a date") as caught:
        choose((ONE, TWO, HALF), wanted)
    assert "local time" in caught.value.hint


@pytest.mark.parametrize("wanted", ["", "a", "aaa", "zzz"])
def test_a_beginning_that_is_too_short_is_told_as_such(wanted: str) -> None:
    with pytest.raises(SnapshotMissingError, match="too short") as caught:
        choose((ONE, TWO, HALF), wanted)
    assert "at least 4" in caught.value.hint


@pytest.mark.parametrize("wanted", ["9999-12-31T23:59-12:00", "0001-01-01T00:00+12:00"])
def test_a_moment_at_the_end_of_time_is_one_like_others(wanted: str) -> None:
    if wanted.startswith("9"):
        assert choose((ONE, TWO, HALF), wanted) == TWO
        return
    with pytest.raises(SnapshotMissingError, match="at or before"):
        choose((ONE, TWO, HALF), wanted)


def test_the_newest_to_list_is_the_newest_to_keep() -> None:
    """Two machines may give out the same number at the same moment: then the ids decide, here and in `prune`."""
    twins = [
        replace(ONE, engine_id=engine_id, label=replace(ONE.label, id=id_))  # type: ignore[type-var]
        for id_, engine_id in (("00000001", "f" * 64), ("00000002", "0" * 64))
    ]
    ((kept,), _) = decide(RetentionPolicy(last=1), twins)
    assert newest_first(twins)[0] == kept.snapshot


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("2026-11-20", ONE),
        ("2026-11-20 13:00", ONE),
        ("2026-11-20T12:00:00Z", ONE),
        ("2026-11-20T12:59+01:00", BACKWARDS),
        ("2026-11-25", TWO),
    ],
)
def test_a_date_means_local_time_and_the_newest_complete_one_before_it(wanted: str, meant: Snapshot) -> None:
    assert choose(ALL, wanted) == meant


def at(instant: datetime, number: int = 1, *, outcome: Outcome = Outcome.COMPLETE) -> Snapshot:
    made = stored(number, f"{number:08x}", outcome=outcome)
    assert made.label
    return replace(made, time=instant, label=replace(made.label, instant=instant))


FRACTION = datetime(2026, 11, 30, 7, 18, 13, 412_345, tzinfo=UTC)
YESTERDAY = at(FRACTION - timedelta(days=1), 1)
SHOWN = at(FRACTION, 2)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    "wanted",
    [
        "2026-11-30 08:18:13",
        "2026-11-30T08:18:13",
        "2026-11-30 08:18:13 CET",
        "2026-11-30T08:18:13+01:00",
        "2026-11-30 08:18:13+0100",
        "2026-11-30T07:18:13Z",
        "2026-11-30 07:18:13 UTC",
        "2026-11-30T01:18:13-06:00",
        "2026-11-30T08:18",
        "2026-11-30T08",
        "2026-11-30T07:18:13.412345Z",
        "2026-11-30 07:18:13.412345+00:00",
        "2026-11-30T08:18:13.5",
        "2026-11-30",
    ],
)
def test_a_second_means_its_end_in_whatever_zone_it_is_said(wanted: str) -> None:
    assert choose((YESTERDAY, SHOWN), wanted) == SHOWN


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("wanted", ["2026-11-30T08:18:12", "2026-11-30T07:18:13.412344Z", "2026-11-30T08:18:13.4"])
def test_a_fraction_means_what_was_typed_and_a_second_before_it_the_one_before(wanted: str) -> None:
    assert choose((YESTERDAY, SHOWN), wanted) == YESTERDAY


@pytest.mark.usefixtures("berlin")
def test_what_lists_and_hints_show_is_taken() -> None:
    for each in (YESTERDAY, SHOWN):
        for text in (local_text(each.instant), local_text(each.instant, zone=False)):
            assert choose((YESTERDAY, SHOWN), text) == each
    with pytest.raises(SnapshotMissingError) as caught:
        choose((SHOWN,), "2026-11-30 08:18:12")
    assert "(2026-11-30 08:18:13 CET, complete)" in caught.value.hint


@pytest.mark.usefixtures("berlin")
def test_an_hour_that_is_there_twice_is_told_apart_by_the_list() -> None:
    """2026-10-25 02:00 to 03:00 in summer time, then again in winter time."""
    summer = at(datetime(2026, 10, 25, 0, 30, 15, 1, tzinfo=UTC), 1)
    winter = at(datetime(2026, 10, 25, 1, 10, tzinfo=UTC), 2)
    assert choose((summer, winter), "2026-10-25 02:30:15") == summer
    assert choose((summer, winter), "2026-10-25 02:30:15 CEST") == summer
    assert choose((summer, winter), "2026-10-25 02:30") == winter  # the end of what was said
    assert choose((summer, winter), "2026-10-25 02:30:15 CET") == winter
    assert choose((summer, winter), "2026-10-25 02:30 CEST") == summer


@pytest.mark.usefixtures("berlin")
def test_the_time_of_an_incomplete_one_is_not_answered_with_an_older_one() -> None:
    broken = at(FRACTION, 2, outcome=Outcome.INCOMPLETE)
    for wanted in ("2026-11-30 08:18:13", "2026-11-30T07:18:13.412345Z"):
        with pytest.raises(SnapshotMissingError, match="is INCOMPLETE") as caught:
            choose((YESTERDAY, broken), wanted)
        assert broken.id in caught.value.hint
        assert YESTERDAY.id in caught.value.hint
    assert choose((YESTERDAY, broken), "2026-11-30 08:18:14") == YESTERDAY
    assert choose((YESTERDAY, broken), "2026-11-30 08:18") == YESTERDAY


@pytest.mark.usefixtures("berlin")
def test_a_zone_that_is_not_this_machines_is_not_guessed() -> None:
    with pytest.raises(SnapshotMissingError, match="neither an id nor a date"):
        choose((YESTERDAY, SHOWN), "2026-11-30 08:18:13 EST")


def test_an_id_that_is_there_twice_is_as_good_as_the_worse() -> None:
    """A relabelling where nothing can be deleted leaves both."""
    assert TWO.label
    corrected = replace(TWO, engine_id="f" * 16, label=replace(TWO.label, outcome=Outcome.INCOMPLETE))
    for order in ((ONE, TWO, corrected), (corrected, TWO, ONE)):
        assert choose(order, "latest") == ONE
        for wanted in (TWO.id, TWO.engine_id, corrected.engine_id, TWO.id[:7] + "2", TWO.engine_id[:7]):
            chosen = choose(order, wanted)
            assert (chosen.id, chosen.outcome) == (TWO.id, Outcome.INCOMPLETE)
