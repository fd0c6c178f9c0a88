from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from owui_vault.errors import ConfigError
from owui_vault.model import Kept, Label, Outcome, Proof, RetentionPolicy, Snapshot, TagPolicy
from owui_vault.repositories.retention import age_order, decide

EXAMPLES = settings(max_examples=max(50, round(1000 * float(os.environ.get("OWUI_VAULT_SOAK", "0.1")))), deadline=None)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def snapshot(
    sequence: int,
    instant: datetime = NOON,
    *,
    complete: bool = True,
    tags: tuple[str, ...] = (),
    verified: bool = False,
    pinned: bool = False,
    number: int | None = None,
    instance: str = "open-webui",
) -> Snapshot:
    identity = f"{sequence if number is None else number:08x}"
    label = Label(
        id=identity,
        instance=instance,
        fingerprint="f",
        instant=instant,
        sequence=sequence,
        outcome=Outcome.COMPLETE if complete else Outcome.INCOMPLETE,
        mode=Proof.LIVE if complete else Proof.UNPROVEN,
        tags=tags,
        pinned=pinned,
    )
    return Snapshot(
        engine_id=identity * 8,
        name=identity,
        time=instant,
        label=label,
        repository="nas",
        verified_at=instant if verified else None,
    )


instants = st.one_of(
    st.integers(0, 9 * 365 * 86400).map(lambda seconds: datetime(2019, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
    st.integers(0, 400).map(lambda days: NOON - days * DAY),
    st.integers(0, 5).map(lambda hours: NOON - timedelta(hours=hours)),
)


@st.composite
def any_series(draw: st.DrawFn, *, ordered: bool = False, complete: bool = False) -> list[Snapshot]:
    """One series in any order: equal instants, equal sequence numbers and clocks that jump included."""
    times = draw(st.lists(instants, max_size=30, unique=ordered))
    times = sorted(times) if ordered else times
    numbers = range(len(times)) if ordered else [draw(st.integers(0, 20)) for _ in times]
    made = [
        snapshot(
            sequence,
            instant,
            complete=complete or draw(st.sampled_from([True, True, False])),
            tags=draw(st.sampled_from([(), (), ("release",), ("audit", "release")])),
            verified=draw(st.sampled_from([False, False, True])),
            pinned=draw(st.sampled_from([False, False, False, False, True])),
            number=number,
        )
        for number, (sequence, instant) in enumerate(zip(numbers, times, strict=True))
    ]
    return draw(st.permutations(made))


counting = st.fixed_dictionaries({name: st.integers(0, 8) for name in COUNTS})
windows = st.one_of(st.none(), st.integers(1, 24 * 800).map(lambda hours: timedelta(hours=hours)))
policies = st.builds(
    lambda counts, within, tags: RetentionPolicy(**counts, within=within, tags=tags),
    counting,
    windows,
    st.sampled_from([(), (), ("release",), ("release", "audit")]),
).filter(lambda policy: any(getattr(policy, name) for name in COUNTS) or policy.within is not None)


def ids(chosen: object) -> list[str]:
    return [getattr(one, "snapshot", one).engine_id for one in chosen]  # type: ignore[attr-defined]  # Kept or Snapshot


@EXAMPLES
@given(any_series(), policies)
def test_every_snapshot_is_either_kept_or_removed_and_both_are_newest_first(
    series: list[Snapshot], policy: RetentionPolicy
) -> None:
    kept, removed = decide(policy, series)
    assert sorted(ids(kept) + ids(removed)) == sorted(ids(series))
    for part in ([one.snapshot for one in kept], list(removed)):
        assert part == sorted(part, key=age_order, reverse=True)
    assert all(one.reasons and all(one.reasons) for one in kept)


@EXAMPLES
@given(any_series(), policies, st.randoms())
def test_the_order_of_the_listing_does_not_matter(
    series: list[Snapshot], policy: RetentionPolicy, random: object
) -> None:
    shuffled = list(series)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis's own Random
    assert decide(policy, shuffled) == decide(policy, series)


@EXAMPLES
@given(any_series(), policies)
def test_what_is_pinned_stays_and_takes_nobodys_place(series: list[Snapshot], policy: RetentionPolicy) -> None:
    kept, _ = decide(policy, series)
    assert {one.engine_id for one in series if one.pinned} <= set(ids(kept))
    without = [replace(one, label=replace(one.label, pinned=False)) for one in series if one.label]
    others = {one.snapshot.engine_id for one in kept if one.reasons != ("pinned",)}
    assert others == set(ids(decide(policy, without)[0]))


rules = st.builds(lambda counts, within: RetentionPolicy(**counts, within=within), counting, windows).filter(
    lambda policy: policy.has_rules
)
# The series' own tags: each of them, none and one that nothing carries may have rules of its own.
policies_of_tags = st.builds(
    lambda policy, of_tags: replace(
        policy, tag_policies=tuple(TagPolicy(tag=tag, keep=keep) for tag, keep in sorted(of_tags.items()))
    ),
    policies,
    st.dictionaries(st.sampled_from(["release", "audit", "unused"]), rules, min_size=1),
)


def own_tags(policy: RetentionPolicy, one: Snapshot) -> set[str]:
    assert one.label
    return set(one.label.tags) & {each.tag for each in policy.tag_policies}


def by_policy(kept: tuple[Kept, ...]) -> set[str]:
    promised = {"newest complete", "newest verified", "pinned", "incomplete, but newer than every complete one"}
    return {one.snapshot.engine_id for one in kept if set(one.reasons) - promised}


@EXAMPLES
@given(any_series(), policies_of_tags)
def test_tags_with_rules_of_their_own_and_the_rest_are_decided_as_if_the_others_were_not_there(
    series: list[Snapshot], policy: RetentionPolicy
) -> None:
    """Nothing takes a place of the others'; what carries two such tags stays if either keeps it."""
    kept, removed = decided(policy, series)
    assert sorted(ids(kept) + ids(removed)) == sorted(ids(series))
    expected = set()
    general = replace(policy, tag_policies=())
    parts = [(general, [one for one in series if not own_tags(policy, one)])]
    parts += [(each.keep, [one for one in series if each.tag in own_tags(policy, one)]) for each in policy.tag_policies]
    for rules_, part in parts:
        expected |= by_policy(decided(rules_, part)[0])
    expected |= {one.engine_id for one in series if one.label and set(one.label.tags) & set(policy.tags)}
    assert by_policy(kept) == expected


@EXAMPLES
@given(any_series(), policies_of_tags)
def test_deciding_again_by_tags_about_what_was_kept_removes_nothing(
    series: list[Snapshot], policy: RetentionPolicy
) -> None:
    kept, _ = decided(policy, series)
    assert decided(policy, [one.snapshot for one in kept])[1] == ()


def decided(policy: RetentionPolicy, series: list[Snapshot]) -> tuple[tuple[Kept, ...], tuple[Snapshot, ...]]:
    try:
        return decide(policy, series)
    except ConfigError:  # none of its rules keeps anything of this series
        newest = [one for one in series if one.is_restore_point]
        assert not newest or all(own_tags(policy, one) for one in newest) or policy.tags
        assume(False)
        raise


def test_soft_daily_and_cold_weekly_live_in_one_repository() -> None:
    """Eight weeks: a soft one each night, and a cold one on Sundays an hour later."""
    start = datetime(2026, 1, 5, 3, tzinfo=UTC)
    nights = [start + day * DAY for day in range(70)]
    taken = [(at, ()) for at in nights] + [
        (at + timedelta(hours=1), ("cold",)) for at in nights if at.isoweekday() == 7
    ]
    series = [snapshot(number, at, tags=tags) for number, (at, tags) in enumerate(sorted(taken), start=1)]
    policy = RetentionPolicy(daily=7, tag_policies=(TagPolicy(tag="cold", keep=RetentionPolicy(weekly=8)),))
    kept, _ = decide(policy, series)
    soft = [one.snapshot.instant for one in kept if one.snapshot.label and not one.snapshot.label.tags]
    cold = [one for one in kept if one.snapshot.label and one.snapshot.label.tags]
    assert soft == list(reversed(nights[-7:]))
    assert [one.snapshot.instant.date().isoformat() for one in cold] == [
        "2026-03-15", "2026-03-08", "2026-03-01", "2026-02-22", "2026-02-15", "2026-02-08", "2026-02-01", "2026-01-25",
    ]  # fmt: skip
    assert cold[0].reasons == ("cold: weekly 2026-W11 UTC", "newest complete")


def test_rules_of_tags_that_would_keep_nothing_cannot_be_given() -> None:
    for keep in (RetentionPolicy(), RetentionPolicy(tags=("x",)), RetentionPolicy(last=1, tags=("x",))):
        with pytest.raises(ConfigError, match="at least one"):
            TagPolicy(tag="cold", keep=keep)
    cold = TagPolicy(tag="cold", keep=RetentionPolicy(last=1))
    with pytest.raises(ConfigError, match="the other snapshots"):
        RetentionPolicy(tag_policies=(cold,))
    with pytest.raises(ConfigError, match="one policy"):
        RetentionPolicy(last=1, tag_policies=(cold, cold))


@EXAMPLES
@given(any_series(), policies)
def test_deciding_again_about_what_was_kept_removes_nothing(series: list[Snapshot], policy: RetentionPolicy) -> None:
    kept, _ = decide(policy, series)
    again, removed = decide(policy, [one.snapshot for one in kept])
    assert removed == ()
    assert ids(again) == ids(kept)


@EXAMPLES
@given(any_series(), policies)
def test_the_newest_complete_and_the_newest_verified_are_never_removed(
    series: list[Snapshot], policy: RetentionPolicy
) -> None:
    kept = {one.snapshot.engine_id: one.reasons for one in decide(policy, series)[0]}
    complete = sorted((one for one in series if one.is_restore_point), key=age_order)
    if complete:
        assert "newest complete" in kept[complete[-1].engine_id]
    verified = [one for one in complete if one.verified_at]
    if verified:
        assert "newest verified" in kept[verified[-1].engine_id]


@EXAMPLES
@given(any_series(), policies, st.sampled_from(COUNTS), st.integers(1, 5))
def test_a_more_generous_policy_keeps_everything_a_meaner_one_kept(
    series: list[Snapshot], policy: RetentionPolicy, name: str, more: int
) -> None:
    generous = replace(policy, **{name: getattr(policy, name) + more})
    assert set(ids(decide(policy, series)[0])) <= set(ids(decide(generous, series)[0]))
    if policy.within:
        longer = replace(policy, within=policy.within + more * DAY)
        assert set(ids(decide(policy, series)[0])) <= set(ids(decide(longer, series)[0]))


@EXAMPLES
@given(any_series(), policies)
def test_rules_are_independent_of_each_other(series: list[Snapshot], policy: RetentionPolicy) -> None:
    together = set(ids(decide(policy, series)[0]))
    alone: set[str] = set()
    for name in COUNTS:
        if getattr(policy, name):
            alone |= set(ids(decide(RetentionPolicy(**{name: getattr(policy, name)}), series)[0]))
    if policy.within:
        alone |= set(ids(decide(RetentionPolicy(within=policy.within), series)[0]))
    if policy.tags:
        alone |= {one.engine_id for one in series if one.label and set(one.label.tags) & set(policy.tags)}
    assert together == alone


@EXAMPLES
@given(any_series(), policies)
def test_incomplete_ones_change_nothing_for_complete_ones(series: list[Snapshot], policy: RetentionPolicy) -> None:
    complete = [one for one in series if one.is_restore_point]
    with_them = [one for one in decide(policy, series)[0] if one.snapshot.is_restore_point]
    assert with_them == list(decide(policy, complete)[0])


@EXAMPLES
@given(any_series(), policies)
def test_an_incomplete_one_stays_while_it_is_newer_than_every_complete_one(
    series: list[Snapshot], policy: RetentionPolicy
) -> None:
    kept = set(ids(decide(policy, series)[0]))
    newest = max((one for one in series if one.is_restore_point), key=age_order, default=None)
    for one in series:
        if one.is_restore_point:
            continue
        tagged = one.label is not None and bool(set(one.label.tags) & set(policy.tags))
        newer = newest is None or age_order(one) > age_order(newest)
        assert (one.engine_id in kept) == (tagged or newer or one.pinned)


@EXAMPLES
@given(any_series(), policies)
def test_no_rule_keeps_more_than_its_count(series: list[Snapshot], policy: RetentionPolicy) -> None:
    kept, _ = decide(policy, series)
    for name in COUNTS:
        counted = [reason for one in kept for reason in one.reasons if reason.removeprefix("oldest, ").startswith(name)]
        assert len(counted) <= getattr(policy, name)
        assert len(set(counted)) == len(counted), "a bucket was filled twice"


@EXAMPLES
@given(any_series(ordered=True, complete=True), policies, st.integers(-30 * 24, -1), st.integers(1, 4))
def test_a_clock_that_jumped_backwards_loses_nothing_new(
    series: list[Snapshot], policy: RetentionPolicy, jump_hours: int, made_since: int
) -> None:
    assume(series)
    highest = max(series, key=age_order)
    late = [
        snapshot(1000 + number, highest.instant + timedelta(hours=jump_hours + number), number=1000 + number)
        for number in range(made_since)
    ]
    kept, _ = decide(policy, [*series, *late])
    assert kept[0].snapshot is late[-1]
    assert set(ids(kept)) >= {one.engine_id for one in late[-policy.last :] if policy.last}


def test_after_a_clock_that_ran_ahead_counting_rules_go_on_as_before() -> None:
    month = [snapshot(day, NOON + day * DAY) for day in range(30)]
    month[20] = snapshot(20, datetime(2040, 1, 1, tzinfo=UTC))
    kept, _ = decide(RetentionPolicy(daily=7), month)
    assert [one.snapshot.label.sequence for one in kept if one.snapshot.label] == [29, 28, 27, 26, 25, 24, 23]
    kept, _ = decide(RetentionPolicy(daily=12), month)
    assert [one.snapshot.label.sequence for one in kept if one.snapshot.label] == list(range(29, 17, -1))


def test_a_clock_that_alternates_does_not_use_up_a_rule() -> None:
    wrong = [snapshot(number, NOON + (number if number % 2 else -2000) * DAY) for number in range(20)]
    kept, _ = decide(RetentionPolicy(daily=8), wrong)
    assert len({one.snapshot.instant.date() for one in kept}) == 8


def test_reasons_say_which_rule_and_which_bucket() -> None:
    series = [snapshot(number, NOON + number * DAY) for number in range(5)]
    series[1] = snapshot(1, NOON + DAY, verified=True, tags=("release",))
    policy = RetentionPolicy(last=1, daily=2, weekly=2, within=timedelta(hours=36), tags=("release",))
    kept, removed = decide(policy, series)
    assert [one.reasons for one in kept] == [
        ("last 1 of 1", "daily 2026-11-24 UTC", "weekly 2026-W48 UTC", "within 36h", "newest complete"),
        ("daily 2026-11-23 UTC", "within 36h"),
        ("weekly 2026-W47 UTC",),
        ("tag release", "newest verified"),
    ]
    assert [one.label.sequence for one in removed if one.label] == [0]
    kept, removed = decide(replace(policy, weekly=3), series)
    assert kept[-1].reasons == ("oldest (weekly not full yet)",)
    assert removed == ()


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (timedelta(days=14), "within 14d"),
        (timedelta(hours=25), "within 25h"),
        (timedelta(minutes=90), "within 1:30:00"),
    ],
)
def test_a_span_is_told_in_the_largest_unit_that_fits(within: timedelta, words: str) -> None:
    (one,), _ = decide(RetentionPolicy(within=within), [snapshot(0)])
    assert one.reasons == (words, "newest complete")


def test_buckets_are_in_utc_wherever_the_instant_was_written() -> None:
    east = timezone(timedelta(hours=14))
    series = [snapshot(0, NOON), snapshot(1, (NOON + timedelta(hours=1)).astimezone(east))]
    kept, removed = decide(RetentionPolicy(daily=1), series)
    assert kept[0].reasons == ("daily 2026-11-20 UTC", "newest complete")
    assert len(removed) == 1


def test_equal_instants_and_equal_sequence_numbers_are_decided_by_the_id() -> None:
    series = [snapshot(1, number=number) for number in range(5)]
    kept, removed = decide(RetentionPolicy(last=2), series)
    assert [one.snapshot.id for one in kept] == ["00000004", "00000003"]
    assert [one.id for one in removed] == ["00000002", "00000001", "00000000"]


def test_an_empty_policy_is_refused_even_for_an_empty_series() -> None:
    with pytest.raises(ConfigError, match="empty"):
        decide(RetentionPolicy(), [])


def test_a_policy_whose_tags_nobody_carries_is_refused_before_anything_is_lost() -> None:
    with pytest.raises(ConfigError, match="keeps none of the 2"):
        decide(RetentionPolicy(tags=("nobodys",)), [snapshot(1), snapshot(2)])
    kept, removed = decide(RetentionPolicy(tags=("nobodys",)), [snapshot(1)])
    assert kept[0].reasons == ("newest complete",)
    assert removed == ()


def test_a_series_of_incomplete_ones_only_is_kept_whole() -> None:
    series = [snapshot(number, NOON + number * DAY, complete=False) for number in range(9)]
    kept, removed = decide(RetentionPolicy(last=1), series)
    assert len(kept) == 9
    assert removed == ()


def test_foreign_snapshots_and_other_series_are_not_decided_about() -> None:
    foreign = replace(snapshot(1), label=None)
    with pytest.raises(ValueError, match="label of ours"):
        decide(RetentionPolicy(last=1), [foreign])
    with pytest.raises(ValueError, match="one series"):
        decide(RetentionPolicy(last=1), [snapshot(1), snapshot(2, instance="other")])
    with pytest.raises(ValueError, match="one series"):
        decide(RetentionPolicy(last=1), [snapshot(1), replace(snapshot(2), repository="cloud")])
    with pytest.raises(ValueError, match="twice"):
        decide(RetentionPolicy(last=1), [snapshot(1), snapshot(1)])


def test_an_empty_series_keeps_and_removes_nothing() -> None:
    assert decide(RetentionPolicy(last=1), []) == ((), ())


@EXAMPLES
@given(any_series(ordered=True), policies, st.integers(1, 30))
def test_pruning_every_time_and_pruning_once_at_the_end_come_to_the_same(
    series: list[Snapshot], policy: RetentionPolicy, every: int
) -> None:
    history = sorted(series, key=age_order)
    left: list[Snapshot] = []
    for at in range(0, len(history), every):
        left += history[at : at + every]
        left = [one.snapshot for one in decide(policy, left)[0]]
    assert left == [one.snapshot for one in decide(policy, history)[0]]


@st.composite
def series_with_twins(draw: st.DrawFn) -> tuple[list[Snapshot], list[Snapshot]]:
    """A series, and the same with ids that are there twice or three times, which may say another outcome."""
    series = draw(any_series())
    twins = []
    for one in series:
        for copy in range(draw(st.sampled_from([0, 0, 1, 2]))):
            assert one.label
            outcome = draw(st.sampled_from([one.outcome, one.outcome, Outcome.COMPLETE, Outcome.INCOMPLETE]))
            label = replace(one.label, outcome=outcome)
            twins.append(replace(one, engine_id=f"{copy}{one.engine_id}", label=label))
    return series, draw(st.permutations([*series, *twins]))


def our_ids(chosen: object) -> set[str]:
    return {getattr(one, "snapshot", one).id for one in chosen}  # type: ignore[attr-defined]  # Kept or Snapshot


@EXAMPLES
@given(series_with_twins(), policies)
def test_an_id_that_is_there_twice_counts_once(
    found: tuple[list[Snapshot], list[Snapshot]], policy: RetentionPolicy
) -> None:
    series, doubled = found
    same = [one for one in doubled if one.outcome is next(each for each in series if each.id == one.id).outcome]
    (kept, removed), (kept_of_all, removed_of_all) = decide(policy, series), decide(policy, same)
    assert our_ids(kept_of_all) == our_ids(kept)
    assert our_ids(removed_of_all) == our_ids(removed)
    assert our_ids(kept_of_all).isdisjoint(our_ids(removed_of_all))
    assert len(kept_of_all) + len(removed_of_all) == len(same)


@EXAMPLES
@given(series_with_twins(), policies)
def test_of_an_id_with_two_outcomes_the_better_one_keeps_it_and_the_worse_one_takes_nobodys_place(
    found: tuple[list[Snapshot], list[Snapshot]], policy: RetentionPolicy
) -> None:
    _, doubled = found
    outcomes: dict[str, set[Outcome]] = {}
    for one in doubled:
        outcomes.setdefault(one.id, set()).add(one.outcome)
    kept = our_ids(decide(policy, doubled)[0])
    for chosen in (min, max):  # each id with one outcome: the worse, then the better
        picked = {id_: chosen(each, key=lambda outcome: outcome is Outcome.COMPLETE) for id_, each in outcomes.items()}
        alone = [
            replace(one, label=replace(one.label, outcome=picked[one.id]))  # type: ignore[type-var]  # all have one
            for one in {each.id: each for each in doubled}.values()
        ]
        assert our_ids(decide(policy, alone)[0]) <= kept


@EXAMPLES
@given(series_with_twins(), policies)
def test_deciding_again_about_twins_that_were_kept_removes_nothing(
    found: tuple[list[Snapshot], list[Snapshot]], policy: RetentionPolicy
) -> None:
    kept, _ = decide(policy, found[1])
    again, removed = decide(policy, [one.snapshot for one in kept])
    assert (ids(again), removed) == (ids(kept), ())


def test_two_nights_are_kept_where_each_is_there_twice() -> None:
    nights = [snapshot(number, NOON + number * DAY) for number in range(3)]
    twins = [replace(one, engine_id=f"f{one.engine_id}") for one in nights]
    kept, removed = decide(RetentionPolicy(last=2), [*nights, *twins])
    assert our_ids(kept) == {nights[1].id, nights[2].id}
    assert our_ids(removed) == {nights[0].id}
    assert len(kept) == 4


def test_a_snapshot_that_was_found_incomplete_does_not_push_a_sound_one_out_from_behind_its_twin() -> None:
    sound, newer = snapshot(1, NOON), snapshot(2, NOON + DAY)
    corrected = replace(snapshot(2, NOON + DAY, complete=False), engine_id="f" * 64)
    kept, removed = decide(RetentionPolicy(last=1), [sound, newer, corrected])
    assert (our_ids(kept), removed) == ({sound.id, newer.id}, ())
