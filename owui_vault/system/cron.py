"""The times that a cron expression names, in a time zone. The only module that knows how they are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from owui_vault.errors import ConfigError

_LOCAL_ZONE = Path("/etc/localtime")
#: How far back the last time is looked for, step by step: a yearly one is found, and few of a frequent one are listed.
_BACK = tuple(timedelta(hours=hours) for hours in (1, 26, 24 * 40, 24 * 400, 24 * 366 * 9, 24 * 366 * 50))
_SAMPLE = datetime(2000, 1, 1, tzinfo=UTC)


def check_expression(expression: str) -> None:
    """Raise ValueError for what is no cron expression of five fields, or never comes (30 February)."""
    if len(expression.split()) != 5:
        raise ValueError(
            "must be a cron expression of five fields (minute hour day month weekday), such as '0 3 * * *'"
        )
    if next(_times(expression, _SAMPLE, UTC), None) is None:
        raise ValueError("names a time that never comes")


def first_after(expression: str, moment: datetime, zone: tzinfo) -> datetime:
    """The first time after `moment` that the expression names there, in UTC. It has been checked."""
    return next(_times(expression, moment, zone))


def last_until(expression: str, moment: datetime, zone: tzinfo) -> datetime:
    """The last time up to `moment`; the times are those that `first_after` gives, one after the other."""
    for span in _BACK:
        last = deque(_until(expression, moment - span, moment, zone), maxlen=1)
        if last:
            return last[0]
    raise ValueError("names a time that never came")


def _until(expression: str, start: datetime, end: datetime, zone: tzinfo) -> Iterator[datetime]:
    for each in _times(expression, start, zone):
        if each > end:
            return
        yield each


def _times(expression: str, moment: datetime, zone: tzinfo) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  only who has a plan pays for it

    try:
        found = CronSim(expression, moment.astimezone(zone))
    except CronSimError as error:
        raise ValueError(f"is no cron expression, or never comes: {str(error).lower()}") from None
    for local in found:
        # In the hour that a clock change repeats, it goes on with times that have passed already.
        if (time := local.astimezone(UTC)) > moment:
            yield time


def named_zone(name: str) -> tzinfo:
    """The time zone of this name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is no time zone that this machine knows; give a name such as Europe/Vienna, and install tzdata"
        ) from None


def local_zone(environ: Mapping[str, str]) -> tzinfo:
    """The machine's own: `$TZ`, which containers are given, otherwise /etc/localtime, otherwise UTC."""
    name = environ.get("TZ", "").removeprefix(":")
    file = Path(name) if name.startswith("/") else _LOCAL_ZONE
    try:
        if name and not name.startswith("/"):
            return named_zone(name)
        with file.open("rb") as content:
            return ZoneInfo.from_file(content, key=name or None)
    except FileNotFoundError:
        return UTC
    except (ValueError, OSError):
        raise ConfigError(
            f"the time zone of this machine cannot be read ({'TZ' if name else file})",
            hint="Set the plans' `timezone`, for example Europe/Vienna.",
        ) from None
