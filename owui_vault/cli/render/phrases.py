"""Formats small things: sizes, ages, durations, names with any characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from owui_vault.model import FullCheck, Snapshot, SqliteLibrary
from owui_vault.model.json_codec import local_text
from owui_vault.pages.wording import (
    age,
    count,
    duration,
    growth,
    known_size,
    printable,
    size,
    until_full,
    wrong_in,
)

__all__ = [
    "age",
    "count",
    "duration",
    "full_check",
    "growth",
    "known_size",
    "local",
    "local_column",
    "printable",
    "size",
    "sqlite_versions",
    "until_full",
    "verified_on",
    "wrong_in",
]


def local(moment: datetime) -> str:
    """Date and time as the clock on the wall says, and by which zone; can be given where a snapshot is asked for."""
    return local_text(moment)


def local_column(moments: Iterable[datetime]) -> tuple[str, list[str]]:
    """The same for a table: the heading names the zones, CET and CEST say, so that the times fit a narrow screen."""
    known = list(moments)
    zones = dict.fromkeys(f"{moment.astimezone():%Z}" for moment in known)
    return f"instant ({', '.join(zones)})", [local_text(moment, zone=False) for moment in known]


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
