"""Formats small things for people, on the page and on the screen: sizes, ages, durations, what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from owui_vault.model.runs import RunOutcome, StepRecord
from owui_vault.model.status import RepositorySpace

_UNITS = ("B", "kB", "MB", "GB", "TB")


def printable(text: str) -> str:
    r"""The text on one line without anything a terminal would obey; bytes that are no text stand as `\udcXX`."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def size(size_bytes: int | None) -> str:
    """`1.4 GB`, in powers of ten; `–` where it is not known."""
    if size_bytes is None:
        return "–"
    number, unit = float(size_bytes), _UNITS[0]
    for unit in _UNITS:
        if abs(number) < 999.5 or unit == _UNITS[-1]:
            break
        number /= 1000
    return f"{number:.0f} {unit}" if number >= 99.5 or unit == "B" else f"{number:.1f} {unit}"


def duration(length: timedelta | float) -> str:
    """`52 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `12 days`."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def age(moment: datetime, now: datetime) -> str:
    """`3 h`, the largest unit only; `in the future` when the clock went back."""
    seconds = (now - moment).total_seconds()
    if seconds < -1:
        return "in the future"
    for unit, length in (("days", 172_800), ("h", 7200), ("min", 60)):
        if seconds >= length:
            return f"{seconds / {'days': 86_400, 'h': 3600, 'min': 60}[unit]:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def count(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def known_size(size_bytes: int | None) -> str:
    """`1.4 GB`; `unknown` where it is not known."""
    return "unknown" if size_bytes is None else size(size_bytes)


def growth(space: RepositorySpace) -> str:
    """`12 MB a day`."""
    per_day = space.growth_bytes_per_day
    return "unknown" if per_day is None else f"{size(round(per_day))} a day"


def until_full(space: RepositorySpace) -> str:
    """`40 days`; whether it is not known, or never."""
    if space.until_full_seconds is not None:
        is_long = space.until_full_seconds > timedelta(days=3650).total_seconds()
        return "over 10 years" if is_long else duration(space.until_full_seconds)
    known = space.free_bytes is not None and space.growth_bytes_per_day is not None
    return "does not fill" if known else "unknown"


def wrong_in(step: StepRecord) -> Iterator[str]:
    """What went wrong in a step, but for an error of the whole of it."""
    yield from step.problems
    for each in step.results:
        if each.error:
            yield f"{step.step.value}, {each.repository}: {each.error.message}"
        elif each.outcome is RunOutcome.WRONG:
            yield f"{step.step.value}, {each.repository}: {'; '.join(each.problems)}"
