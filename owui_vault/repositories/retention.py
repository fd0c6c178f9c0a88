"""What to keep of one series: a pure decision that knows no clock, no engine and no configuration file.

The rules are restic's (0.18 and newer), the same for both engines, which are told ids and never policies:

- Snapshots are walked from the newest to the oldest. Each rule counts on its own: it keeps the first snapshot it meets
  in each of its buckets (hour, day, ISO week, month, year, all in UTC) until its count is used up. A rule with counts
  left at the end keeps the oldest one too, so that a young series reaches back as far as it can. The union is kept.
- *Newest* means the highest sequence number, then the latest instant, then the id. Sequence numbers do not jump when a
  clock does: after a clock that went backwards the last snapshot made is still the last, and one made while it ran
  ahead grows old like any other. A bucket that is met again later in the walk was filled already, so that a wrong clock
  never uses up a rule. On a series whose instants are in order this is exactly what restic does.
- `within` is measured from the newest complete one, never from the present: a series that has stopped growing does not
  shrink. It is the only rule that believes the clock: one snapshot made while it ran a year ahead ends every
  `within` of less than a year, so it is best given together with a counting rule.

Where restic stops, these go on:

- A tag may have rules of its own. What carries it is walked by itself: those rules keep it or none does, and it takes
  no place of the others', so that `daily: 7, tags: {cold: {weekly: 8}}` is seven warm days and eight cold weeks. Where
  a snapshot carries several such tags, each may keep it.
- INCOMPLETE snapshots fill no bucket and count for nothing. Those newer than the newest complete one stay, because
  they are the best there is of their time; all others go, unless one of the policy's tags keeps them.
- The newest complete and the newest verified one are never removed, whatever the policy says, nor are pinned ones.
- An id of ours that is there twice counts once: the two share one place of each rule and one fate. Where only one of
  them says COMPLETE, they use up no place that a sound one could have, and stay where a COMPLETE one would.
- A policy that keeps nothing is refused, also when that only shows on the series (tags that no snapshot carries).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from owui_vault.errors import ConfigError
from owui_vault.model import Kept, Outcome, RetentionPolicy, Snapshot

_Reasons = dict[str, list[str]]  # by the engine's id


def decide(policy: RetentionPolicy, snapshots: Sequence[Snapshot]) -> tuple[tuple[Kept, ...], tuple[Snapshot, ...]]:
    """Split one series into what stays, with the reasons, and what goes; both newest first.

    `snapshots` are of one series in one repository, in any order. Asked again about what it kept, it keeps all of it.

    Raises:
        ConfigError: the policy is empty, or would remove some of these snapshots and keep none.
    """
    if policy.is_empty:
        raise ConfigError("the retention policy is empty", hint="Give `keep` at least one rule, such as `daily: 7`.")
    walk = sorted(snapshots, key=age_order, reverse=True)
    _refuse_strangers(walk)
    twins = _twins(walk)
    by_policy, by_promise = (
        _shared(walk, twins, decided)
        for decided in (lambda each: _reasons_of_policy(policy, each), _reasons_of_promise)
    )
    reasons = {engine_id: [*found, *by_promise[engine_id]] for engine_id, found in by_policy.items()}
    kept = tuple(Kept(snapshot=one, reasons=tuple(reasons[one.engine_id])) for one in walk if reasons[one.engine_id])
    removed = tuple(one for one in walk if not reasons[one.engine_id])
    if removed and not any(by_policy.values()):
        raise ConfigError(
            f"the retention policy keeps none of the {len(walk)} snapshots of {walk[0].instance}",
            hint="No snapshot carries a tag of `keep.tags` that keeps it; give `keep` another rule too, such as"
            " `last: 3`.",
        )
    return kept, removed


def age_order(snapshot: Snapshot) -> tuple[int, datetime, str, str]:
    """The key that sorts a series from oldest to newest: by sequence number, not by the clock."""
    return snapshot.sequence, snapshot.instant, snapshot.id, snapshot.engine_id


def _refuse_strangers(walk: Sequence[Snapshot]) -> None:
    """A mistake of the caller must not become a deletion in another series."""
    if any(one.label is None for one in walk):
        raise ValueError("retention decides about snapshots with a label of ours only")
    if len({(one.instance, one.repository) for one in walk}) > 1:
        raise ValueError("retention decides about one series in one repository")
    if len({one.engine_id for one in walk}) < len(walk):
        raise ValueError("a snapshot was given twice")


def _twins(walk: Sequence[Snapshot]) -> tuple[tuple[Snapshot, ...], ...]:
    """The snapshots that are one and the same of ours, newest first.

    A repository that refuses to delete keeps both when one is relabelled, and one store under two names holds each
    night twice. The id alone is short enough for two runs to have come by the same.
    """
    groups: dict[tuple[str, datetime], list[Snapshot]] = {}
    for one in walk:
        groups.setdefault((one.id, one.instant), []).append(one)
    return tuple(tuple(group) for group in groups.values())


def _shared(
    walk: Sequence[Snapshot],
    twins: Sequence[Sequence[Snapshot]],
    reasons_of: Callable[[Sequence[Snapshot]], _Reasons],
) -> _Reasons:
    """The reasons for one of each group of twins, given to all of them.

    Asked twice where twins differ: as good as the worse of them, so that they take no sound one's place, and as good
    as the better, so that nothing goes that may be sound.
    """
    worse, better = ([_as_one(group, best=best) for group in twins] for best in (False, True))
    found = reasons_of(worse)
    if worse != better:
        found = {engine_id: found[engine_id] or more for engine_id, more in reasons_of(better).items()}
    shared = {one.engine_id: found[group[0].engine_id] for group in twins for one in group}
    return {one.engine_id: shared[one.engine_id] for one in walk}


def _as_one(group: Sequence[Snapshot], *, best: bool) -> Snapshot:
    """The newest of the twins, with the tags of all, verified and pinned when any is."""
    newest = group[0]
    if newest.label is None or len(group) == 1:
        return newest
    points = [one.is_restore_point for one in group]
    outcome = Outcome.COMPLETE if (any(points) if best else all(points)) else Outcome.INCOMPLETE
    tags = tuple(sorted({tag for one in group if one.label for tag in one.label.tags}))
    verified = max((one.verified_at for one in group if one.verified_at), default=None)
    label = replace(newest.label, outcome=outcome, tags=tags, pinned=any(one.pinned for one in group))
    return replace(newest, label=label, verified_at=verified)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Keep the newest snapshot of each of the first `count` buckets."""

    name: str
    count: int
    bucket: Callable[[datetime], str]


def _rules(policy: RetentionPolicy) -> Iterator[_Rule]:
    yield _Rule("hourly", policy.hourly, lambda at: at.strftime("%Y-%m-%d %H:00"))
    yield _Rule("daily", policy.daily, lambda at: at.strftime("%Y-%m-%d"))
    yield _Rule("weekly", policy.weekly, lambda at: at.strftime("%G-W%V"))
    yield _Rule("monthly", policy.monthly, lambda at: at.strftime("%Y-%m"))
    yield _Rule("yearly", policy.yearly, lambda at: at.strftime("%Y"))


def _reasons_of_policy(policy: RetentionPolicy, walk: Sequence[Snapshot]) -> _Reasons:
    """Of the general rules for what they are about, and of each tag that has its own."""
    own = {each.tag for each in policy.tag_policies}
    reasons = {one.engine_id: [f"tag {tag}" for tag in policy.tags if tag in _tags(one)] for one in walk}
    for engine_id, found in _reasons_of_rules(policy, [one for one in walk if own.isdisjoint(_tags(one))]).items():
        reasons[engine_id] = [*found, *reasons[engine_id]]
    for each in policy.tag_policies:
        tagged = [one for one in walk if each.tag in _tags(one)]
        for engine_id, found in _reasons_of_rules(each.keep, tagged).items():
            reasons[engine_id] += [f"{each.tag}: {reason}" for reason in found]
    return reasons


def _tags(snapshot: Snapshot) -> tuple[str, ...]:
    return snapshot.label.tags if snapshot.label else ()


def _reasons_of_rules(policy: RetentionPolicy, walk: Sequence[Snapshot]) -> _Reasons:
    reasons: _Reasons = {one.engine_id: [] for one in walk}
    complete = [one for one in walk if one.is_restore_point]
    for number, one in enumerate(complete[: policy.last], start=1):
        reasons[one.engine_id].append(f"last {number} of {policy.last}")
    not_full: dict[str, list[str]] = {}
    for rule in _rules(policy):
        for engine_id, reason in _kept_by(rule, complete):
            if reason:
                reasons[engine_id].append(reason)
            else:
                not_full.setdefault(engine_id, []).append(rule.name)
    for engine_id, names in not_full.items():
        reasons[engine_id].append(f"oldest ({', '.join(names)} not full yet)")
    if policy.within is not None and complete:
        start = complete[0].instant - policy.within
        for one in complete:
            if one.instant > start:
                reasons[one.engine_id].append(f"within {_in_words(policy.within)}")
    return reasons


def _kept_by(rule: _Rule, complete: Sequence[Snapshot]) -> Iterator[tuple[str, str]]:
    """Which are kept, and for which bucket; the oldest for none, while the rule has places left."""
    left = rule.count
    filled: set[str] = set()
    for one in complete:
        if left == 0:
            return
        bucket = rule.bucket(one.instant.astimezone(UTC))
        if bucket not in filled:
            yield one.engine_id, f"{rule.name} {bucket} UTC"
        elif one is complete[-1]:
            yield one.engine_id, ""
        else:
            continue
        filled.add(bucket)
        left -= 1


def _reasons_of_promise(walk: Sequence[Snapshot]) -> _Reasons:
    reasons: _Reasons = {one.engine_id: [] for one in walk}
    complete = [one for one in walk if one.is_restore_point]
    if complete:
        reasons[complete[0].engine_id].append("newest complete")
    for one in [one for one in complete if one.verified_at is not None][:1]:
        reasons[one.engine_id].append("newest verified")
    for one in [one for one in walk if one.pinned]:
        reasons[one.engine_id].append("pinned")
    for one in walk:
        if one.is_restore_point:
            break
        reasons[one.engine_id].append("incomplete, but newer than every complete one")
    return reasons


def _in_words(duration: timedelta) -> str:
    hours, rest = divmod(duration, timedelta(hours=1))
    if rest:
        return str(duration)
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"
