"""Formats small things: sizes, ages, durations, names with any characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from owui_vault.model import FullCheck, Snapshot, SqliteLibrary
from owui_vault.model.json_codec import local_text

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
    for unit, length in (("days", 172_800), ("h", 7200), ("min", 120)):
        if seconds >= length:
            return f"{seconds / {'days': 86_400, 'h': 3600, 'min': 60}[unit]:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def local(moment: datetime) -> str:
    """Date and time as the clock on the wall says, and by which zone; can be given where a snapshot is asked for."""
    return local_text(moment)


def local_column(moments: Iterable[datetime]) -> tuple[str, list[str]]:
    """The same for a table: the heading names the zones, CET and CEST say, so that the times fit a narrow screen."""
    known = list(moments)
    zones = dict.fromkeys(f"{moment.astimezone():%Z}" for moment in known)
    return f"instant ({', '.join(zones)})", [local_text(moment, zone=False) for moment in known]


def count(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def full_check(checks: Sequence[FullCheck]) -> str:
    """What SQLite's full check said, in few words; empty where there was nothing to check."""
    damaged = [f"{each.path} is damaged at the source" for each in checks if each.is_damaged]
    undone = [f"{each.path} left to `verify` ({each.not_done})" for each in checks if each.not_done]
    sound = [each.path for each in checks if each.is_sound]
    return "; ".join([*damaged, *undone, *([f"{', '.join(sound)} sound"] if sound else [])])


def verified_on(snapshot: Snapshot) -> str:
    """`2026-11-30`; `2026-11-30, all` where every file was read, and `2026-11-30, all 2026-11-01` where earlier."""
    if snapshot.verified_at is None:
        return "no"
    last = f"{snapshot.verified_at.astimezone():%Y-%m-%d}"
    if snapshot.verified_all_at is None:
        return last
    everything = f"{snapshot.verified_all_at.astimezone():%Y-%m-%d}"
    return f"{last}, all" if everything == last else f"{last}, all {everything}"


def sqlite_versions(libraries: Sequence[SqliteLibrary]) -> str:
    """`3.46.1 (/usr/lib/x86_64-linux-gnu/libsqlite3.so.0.8.6)`, or `unknown`."""
    return ", ".join(f"{each.version} ({each.path})" for each in libraries) or "unknown"
