"""When a fall of the numbers stops retention: a pure decision, with properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.model import CollapseLimits, LedgerEntry, Snapshot
from owui_vault.repositories.collapse import find_collapse
from tests.repositories.test_retention import DAY, EXAMPLES, NOON, snapshot

LIMITS = CollapseLimits()
KINDS = ("users", "chats", "uploads")


def night(sequence: int, *, complete: bool = True, format_: int = 2, **numbers: int | None) -> Snapshot:
    made = snapshot(sequence, NOON + sequence * DAY, complete=complete)
    assert made.label
    known = dict.fromkeys(KINDS) | {"users": 100, "chats": 100, "uploads": 100} | numbers
    if format_ == 1:
        return replace(made, label=replace(made.label, plan=None, format=1))
    return replace(made, label=replace(made.label, **known))  # type: ignore[arg-type]  # the three numbers


def accepted(sequence: int) -> LedgerEntry:
    return LedgerEntry(
        snapshot=f"{sequence:08x}", repository="", kind="accept-collapse", at=NOON + sequence * DAY, ok=True,
        sequence=sequence,
    )  # fmt: skip


def check(sequence: int, path: str, *, ok: bool) -> LedgerEntry:
    at = NOON + sequence * DAY - timedelta(hours=1)
    return LedgerEntry(
        snapshot=f"{sequence:08x}", repository="", kind="check", at=at, ok=ok, detail=f"{path} has a broken index"
    )


numbers = st.none() | st.integers(0, 200)


@st.composite
def series(draw: st.DrawFn, least: int = 0) -> list[Snapshot]:
    return [
        night(
            sequence,
            complete=draw(st.sampled_from([True, True, True, False])),
            users=draw(numbers),
            chats=draw(numbers),
            uploads=draw(numbers),
        )
        for sequence in range(1, draw(st.integers(1, 12)))
    ][least:]


@EXAMPLES
@given(st.integers(0, 10_000), st.integers(1, 20))
def test_what_stays_the_same_or_grows_never_collapses(number: int, nights: int) -> None:
    grown = [night(each, chats=number + each, users=number, uploads=number * each) for each in range(1, nights + 1)]
    assert find_collapse(LIMITS, grown, ()) is None


@pytest.mark.parametrize(
    ("before", "after", "collapsed"),
    [
        (100, 70, False),
        (100, 69, True),
        (20, 14, False),
        (20, 13, True),
        (19, 0, False),
        (0, 0, False),
        (1000, 0, True),
        (10**15, 7 * 10**14, False),
        (10**15, 7 * 10**14 - 1, True),
    ],
)
def test_more_than_the_share_of_at_least_the_least_is_a_collapse(before: int, after: int, collapsed: bool) -> None:
    """Exactly the share is none, and exactly the least counts."""
    found = find_collapse(LIMITS, [night(1, chats=before), night(2, chats=after)], ())
    assert (found is not None) == collapsed
    if found:
        assert (found.snapshot, found.sequence) == ("00000002", 2)
        assert found.reasons == (f"it has {after} chats, and 00000001 has {before}",)


@EXAMPLES
@given(series(), st.randoms())
def test_neither_the_order_of_the_listing_nor_a_second_copy_of_each_matters(
    series: list[Snapshot], random: object
) -> None:
    shuffled = [*series, *(replace(each, repository="far") for each in series)]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis's own Random
    one, other = (find_collapse(LIMITS, each, ()) for each in (series, shuffled))
    assert (one and one.snapshot) == (other and other.snapshot)


@EXAMPLES
@given(series(), st.integers(0, 11))
def test_what_retention_keeps_more_of_only_adds_reasons(series: list[Snapshot], gone: int) -> None:
    """Forgetting an older one may hide a fall, and never makes one."""
    complete = [each for each in series if each.is_restore_point]
    if find_collapse(LIMITS, complete, ()) is None and gone < len(complete) - 1:
        assert find_collapse(LIMITS, complete[:gone] + complete[gone + 1 :], ()) is None


@EXAMPLES
@given(series())
def test_incomplete_ones_say_nothing(series: list[Snapshot]) -> None:
    complete = [each for each in series if each.is_restore_point]
    assert find_collapse(LIMITS, series, ()) == find_collapse(LIMITS, complete, ())


@EXAMPLES
@given(series())
def test_what_was_accepted_is_no_collapse_until_the_next_fall(series: list[Snapshot]) -> None:
    found = find_collapse(LIMITS, series, ())
    if found is None:
        return
    assert find_collapse(LIMITS, series, [accepted(found.sequence)]) is None
    newest = max((each for each in series if each.is_restore_point), key=lambda each: each.sequence)
    following = replace(
        newest, engine_id="f" * 64, label=newest.label and replace(newest.label, id="ffffffff", sequence=99)
    )
    assert find_collapse(LIMITS, [*series, following], [accepted(found.sequence)]) is None


def test_a_loss_in_small_steps_is_one() -> None:
    """None of the steps is more than a tenth; against the highest it is a half."""
    steps = [night(each, users=round(200 * 0.9**each)) for each in range(1, 10)]
    found = [find_collapse(LIMITS, steps[:upto], ()) is not None for upto in range(1, 10)]
    assert found == [False] * 7 + [True] * 2


def test_a_fall_after_the_accepted_one_is_the_next_collapse() -> None:
    nights = [night(1, chats=1000), night(2, chats=100), night(3, chats=101), night(4, chats=50)]
    ledger = [accepted(2)]
    assert find_collapse(LIMITS, nights[:3], ledger) is None
    found = find_collapse(LIMITS, nights, ledger)
    assert found
    assert found.reasons == ("it has 50 chats, and 00000003 has 101",)


def test_an_acceptance_of_what_is_ahead_of_the_series_is_of_another_life() -> None:
    assert find_collapse(LIMITS, [night(1), night(2, chats=1)], [accepted(7)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_is_not_said_any_more_counts_and_one_of_the_first_format_does_not(kind: str) -> None:
    silent = night(2)
    assert silent.label
    silent = replace(silent, label=replace(silent.label, **{kind: None}))  # type: ignore[arg-type]  # a number
    found = find_collapse(LIMITS, [night(1), silent], ())
    assert found
    assert found.reasons == (f"it does not say how many {kind} it has, and 00000001 has 100",)
    assert find_collapse(LIMITS, [night(1), night(2, format_=1)], ()) is None
    assert find_collapse(LIMITS, [night(1, format_=1), night(2)], ()) is None


def test_a_database_that_failed_its_check_is_a_collapse_until_it_is_sound_or_accepted() -> None:
    nights = [night(1), night(2)]
    damaged = check(2, "webui.db", ok=False)
    found = find_collapse(LIMITS, nights, [damaged])
    assert found
    assert found.reasons == ("a database failed its check: webui.db has a broken index",)
    assert find_collapse(LIMITS, nights, [damaged, accepted(2)]) is None
    other = check(3, "vector_db/chroma.sqlite3", ok=False)
    assert find_collapse(LIMITS, [*nights, night(3)], [damaged, accepted(2), other])
    assert find_collapse(LIMITS, nights, [damaged, check(3, "webui.db", ok=True)]) is None


def test_without_a_complete_one_nothing_can_be_compared() -> None:
    assert find_collapse(LIMITS, [night(1, complete=False, chats=0)], [check(1, "webui.db", ok=False)]) is None


@pytest.mark.parametrize("wrong", [{"users": 0.0}, {"chats": 1.1}, {"least": -1}])
def test_limits_that_mean_nothing_cannot_be_given(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a collapse is"):
        CollapseLimits(**wrong)  # type: ignore[arg-type]  # what a caller without mypy may write
