"""Which snapshot is meant: `latest`, an id, a unique beginning of one, or a date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from owui_vault.errors import SnapshotAmbiguousError, SnapshotMissingError
from owui_vault.model import Snapshot
from owui_vault.model.codec import iso
from owui_vault.vault.retention import age_order

SHORTEST_PREFIX = 4


def newest_first(snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Ours by sequence number, since a clock may have been wrong; foreign ones by their time among them."""
    return tuple(sorted(snapshots, key=age_order, reverse=True))


def newest_restore_point(snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """The newest COMPLETE one, or None."""
    return next((each for each in newest_first(snapshots) if each.is_restore_point), None)


def choose(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    """The snapshot that `wanted` names among those of one series.

    `latest` and a date choose among COMPLETE ones only. Raises SnapshotMissingError and SnapshotAmbiguousError.
    """
    if wanted == "latest":
        return _demand_complete(newest_restore_point(snapshots), "there is no complete snapshot", snapshots)
    named = exactly(snapshots, wanted)
    if named:
        return named
    if _looks_like_date(wanted):
        return _at_or_before(snapshots, _moment(wanted), wanted)
    return _by_prefix(snapshots, wanted)


def exactly(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot | None:
    """The one with this id, ours or the engine's, or this name of an archive: no series has to be known for that."""
    return next((each for each in snapshots if wanted in (each.id, each.engine_id, each.name)), None)


def _by_prefix(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    if len(wanted) < SHORTEST_PREFIX:
        raise SnapshotMissingError(
            f"{wanted!r} is too short for the beginning of an id",
            hint=f"Give at least {SHORTEST_PREFIX} characters, `latest`, or a date such as 2026-11-20.",
        )
    fitting = [
        each for each in snapshots if any(name.startswith(wanted) for name in (each.id, each.engine_id, each.name))
    ]
    if len(fitting) > 1:
        raise SnapshotAmbiguousError(
            f"{wanted!r} fits {len(fitting)} snapshots", hint=f"Give more of it: {_some(fitting)}."
        )
    return _demand(fitting[0] if fitting else None, f"there is no snapshot {wanted!r}", snapshots)


def _looks_like_date(wanted: str) -> bool:
    try:
        _moment(wanted)
    except (ValueError, OverflowError):  # the end of the year 9999 is in the next one elsewhere
        return False
    return "-" in wanted


def _moment(wanted: str) -> datetime:
    """The end of what was said: a bare day means its last microsecond. Local time unless there is an offset."""
    moment = datetime.fromisoformat(wanted.replace(" ", "T"))
    if len(wanted) == len("2026-11-20"):
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    elif len(wanted) == len("2026-11-20T03:00"):
        moment = moment.replace(second=59, microsecond=999_999)
    return moment.astimezone()


def _at_or_before(snapshots: Sequence[Snapshot], moment: datetime, wanted: str) -> Snapshot:
    candidates = [each for each in snapshots if each.is_restore_point and each.instant <= moment]
    newest = max(candidates, key=lambda each: (each.instant, age_order(each)), default=None)
    return _demand_complete(newest, f"there is no complete snapshot at or before {wanted}", snapshots)


def _demand(found: Snapshot | None, message: str, snapshots: Sequence[Snapshot]) -> Snapshot:
    if found is None:
        known = f"Known: {_some(newest_first(snapshots))}." if snapshots else "The series is empty here."
        raise SnapshotMissingError(message, hint=known)
    return found


def _demand_complete(found: Snapshot | None, message: str, snapshots: Sequence[Snapshot]) -> Snapshot:
    try:
        return _demand(found, message, snapshots)
    except SnapshotMissingError as error:
        if not all(each.is_restore_point for each in snapshots):
            error.hint += " An INCOMPLETE one is taken when its id is given."
        raise


def _some(snapshots: Sequence[Snapshot], count: int = 3) -> str:
    shown = [f"{each.id} ({iso(each.instant)}, {each.outcome.value})" for each in snapshots[:count]]
    return ", ".join(shown) + (", …" if len(snapshots) > count else "")
