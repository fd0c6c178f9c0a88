"""Which snapshot is meant: `latest`, an id, a unique prefix of one, or a date."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from owui_vault.errors import SnapshotAmbiguousError, SnapshotMissingError
from owui_vault.model import Outcome, Snapshot
from owui_vault.model.json_codec import local_text
from owui_vault.repositories.retention import age_order

Identity: TypeAlias = tuple[str, str, str, datetime]
_ID = re.compile(r"[0-9a-f]+|.*-\d{8}T.*")  # ours, an engine's, or the name of an archive
SHORTEST_PREFIX = 4
_DATE = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<clock>\d{2}(?::\d{2}(?::\d{2}(?P<fraction>[.,]\d+)?)?)?)"
    r" ?(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?|[A-Z][A-Za-z]{1,9})?)?",
    re.ASCII,
)
_TICK = timedelta(microseconds=1)
#: How long what was said lasts, by the length of the time of day: nothing, `03`, `03:00`, `03:00:00`.
_SPANS = {0: timedelta(days=1), 2: timedelta(hours=1), 5: timedelta(minutes=1), 8: timedelta(seconds=1)}


def newest_first(snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Ours by sequence number, since a clock may have been wrong; foreign ones by their time among them."""
    return tuple(sorted(snapshots, key=age_order, reverse=True))


def newest_restore_point(snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """The newest COMPLETE one, or None."""
    return next((each for each in newest_first(judged(snapshots)) if each.is_restore_point), None)


def judged(snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """The same, but where an id of ours is there twice, each of the two is as good as the worse, and pinned if one is.

    A relabelling leaves both where nothing can be deleted (append-only): the older says what is not true any more.
    """
    doubted = {identity(each) for each in snapshots if each.label and not each.is_restore_point}
    pinned = {identity(each) for each in snapshots if each.pinned}
    return tuple(_as_judged(each, doubted, pinned) for each in snapshots)


def _as_judged(snapshot: Snapshot, doubted: Container[Identity], pinned: Container[Identity]) -> Snapshot:
    label = snapshot.label
    if label is None:
        return snapshot
    outcome = Outcome.INCOMPLETE if identity(snapshot) in doubted else label.outcome
    wanted = replace(label, outcome=outcome, pinned=identity(snapshot) in pinned)
    return snapshot if wanted == label else replace(snapshot, label=wanted)


def once_each(snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """The same, judged, and of those that share an id of ours in one repository the first."""
    first: dict[object, Snapshot] = {}
    for each in judged(snapshots):
        first.setdefault(identity(each) if each.label else (each.repository, each.engine_id), each)
    return tuple(first.values())


def identity(snapshot: Snapshot) -> Identity:
    """What says that two are one: our id alone is short enough for two runs to have come by the same."""
    return snapshot.repository, snapshot.instance, snapshot.id, snapshot.instant


def later_instead(later: Sequence[Snapshot], wanted: str, found: Snapshot | None) -> Snapshot | None:
    """What a later version stored, and may be what is wanted instead of `found`: its label cannot be read here.

    `later` are of one series. A number that cannot be read either counts as the highest.
    """
    date = _DATE.fullmatch(wanted)
    moments = _moments(date) if date else ()
    if wanted != "latest" and not moments:
        fitting = [each for each in later if _begins(each, wanted)]
    else:
        newest = found.sequence if found else -1
        fitting = [each for each in later if each.sequence > newest or not each.sequence]
        fitting = [each for each in fitting if not moments or each.time <= moments[-1]]
    return newest_first(fitting)[0] if fitting else None


def _begins(snapshot: Snapshot, wanted: str) -> bool:
    return any(name.startswith(wanted) for name in (snapshot.id, snapshot.engine_id, snapshot.name))


def choose(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    """The snapshot that `wanted` names among those of one series.

    `latest` and a date choose among COMPLETE ones only. Raises SnapshotMissingError and SnapshotAmbiguousError.
    """
    if wanted == "latest":
        return _require_complete(newest_restore_point(snapshots), "there is no complete snapshot", snapshots)
    named = exactly(snapshots, wanted)
    if named:
        return named
    date = _DATE.fullmatch(wanted)
    moments = _moments(date) if date else ()
    if date is None or not moments:
        return _by_prefix(judged(snapshots), wanted)
    snapshots = once_each(snapshots)
    listed = [each for each in snapshots if any(_is_shown_as(each, moment, date) for moment in moments)]
    return _by_time(snapshots, listed, moments[-1], wanted)


def may_name_one(wanted: str) -> bool:
    """Whether this can be a snapshot's id, the beginning of one, or a moment: nothing is looked for long otherwise."""
    date = _DATE.fullmatch(wanted)
    return wanted == "latest" or bool(date and _moments(date)) or (len(wanted) >= SHORTEST_PREFIX and _is_id(wanted))


def _is_id(wanted: str) -> bool:
    return bool(_ID.fullmatch(wanted))


def exactly(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot | None:
    """The one with this id, ours or the engine's, or this name of an archive: no series has to be known for that."""
    return next((each for each in judged(snapshots) if wanted in (each.id, each.engine_id, each.name)), None)


def _by_prefix(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    if len(wanted) < SHORTEST_PREFIX:
        raise SnapshotMissingError(
            f"{wanted!r} is too short for the start of an id",
            hint=f"Give at least {SHORTEST_PREFIX} characters, `latest`, or a date such as 2026-11-20.",
        )
    fitting = once_each([each for each in snapshots if _begins(each, wanted)])
    if len(fitting) > 1:
        raise SnapshotAmbiguousError(
            f"{wanted!r} matches {len(fitting)} snapshots", hint=f"Give more of it: {_some(fitting)}."
        )
    if not fitting and not _is_id(wanted):
        raise SnapshotMissingError(
            f"{wanted!r} is neither an id nor a date",
            hint="Give an id of the list, `latest`, or a date such as 2026-11-20 or 2026-11-20T03:00, in local time.",
        )
    return _require(fitting[0] if fitting else None, f"there is no snapshot {wanted!r}", snapshots)


def _moments(date: re.Match[str]) -> tuple[datetime, ...]:
    """The last moment of what was said, as the list says it: of the day, the minute, the second.

    Local time unless there is an offset: two moments where the clock went back. Empty when there is no such time.
    """
    clock, zone = (date["clock"] or "").replace(",", "."), date["zone"] or ""
    try:
        moment = datetime.fromisoformat(f"{date['day']}T{clock or '00'}")
        if not date["fraction"]:
            moment += _SPANS[len(clock)] - _TICK
        if zone in ("Z", "z", "UTC", "GMT"):
            return (moment.replace(tzinfo=UTC),)
        if zone[:1] in ("+", "-"):
            return (datetime.fromisoformat(f"{moment.isoformat()}{zone}"),)
        both = {moment.replace(fold=fold).astimezone() for fold in (0, 1)}
    except (ValueError, OverflowError):  # the end of the year 9999 is in the next one elsewhere
        return ()
    return tuple(sorted(each for each in both if zone in ("", each.tzname())))


def _by_time(snapshots: Sequence[Snapshot], listed: Sequence[Snapshot], moment: datetime, wanted: str) -> Snapshot:
    """The only one that is `listed` with this time, else the newest COMPLETE one at or before it."""
    if len(listed) == 1 and listed[0].is_restore_point:
        return listed[0]
    candidates = [each for each in snapshots if each.is_restore_point and each.instant <= moment]
    newest = max(candidates, key=lambda each: (each.instant, age_order(each)), default=None)
    if listed and not any(each.is_restore_point for each in listed):
        # An older one in its place would be a silent exchange of what was picked from a list.
        before = f" The newest complete one before it: {_some([newest])}." if newest else ""
        raise SnapshotMissingError(
            f"the snapshot of {wanted} is INCOMPLETE",
            hint=f"Give its id to use it: {_some(listed)}.{before}",
        )
    return _require_complete(newest, f"there is no complete snapshot at or before {wanted}", snapshots)


def _is_shown_as(snapshot: Snapshot, moment: datetime, date: re.Match[str]) -> bool:
    """Whether lists show this time for the snapshot: tables to the second, JSON and Python all of it."""
    if date["fraction"]:
        return snapshot.instant == moment
    return len(date["clock"] or "") == len("03:00:00") and moment - _SPANS[8] < snapshot.instant <= moment


def _require(found: Snapshot | None, message: str, snapshots: Sequence[Snapshot]) -> Snapshot:
    if found is None:
        known = (
            f"Known: {_some(newest_first(snapshots))}." if snapshots else "The series is empty: take a snapshot first."
        )
        raise SnapshotMissingError(message, hint=known)
    return found


def _require_complete(found: Snapshot | None, message: str, snapshots: Sequence[Snapshot]) -> Snapshot:
    try:
        return _require(found, message, snapshots)
    except SnapshotMissingError as error:
        if not all(each.is_restore_point for each in snapshots):
            error.hint += " To use an INCOMPLETE one, give its id."
        raise


def _some(snapshots: Sequence[Snapshot], count: int = 3) -> str:
    shown = [f"{each.id} ({local_text(each.instant)}, {each.outcome.value})" for each in snapshots[:count]]
    return ", ".join(shown) + (", …" if len(snapshots) > count else "")
