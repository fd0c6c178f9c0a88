"""The last thirteen weeks, day by day: the best restore point of each, and whether something went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from owui_vault.model.runs import RunOutcome
from owui_vault.pages.page_values import Depth, PageFacts
from owui_vault.pages.wording import count

WEEKS = 13
CELL, GAP = 20, 4
_LEFT, _TOP = 34, 18
_BAD = (RunOutcome.FAILED, RunOutcome.WRONG, RunOutcome.KILLED)
#: The names of the kinds of day, as the page's styles call them, and what the legend says of them.
KINDS = (
    ("all-read", "restore point, every file read"),
    ("verified", "verified"),
    ("complete", "complete"),
    ("incomplete", "incomplete"),
    ("failed", "a run failed"),
    ("none", "nothing"),
)
_OF_DEPTH = {
    Depth.INCOMPLETE: "incomplete",
    Depth.COMPLETE: "complete",
    Depth.VERIFIED: "verified",
    Depth.ALL_READ: "all-read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day. `is_marked`: something went wrong on it, whatever else there is."""

    x: int
    y: int
    kind: str
    title: str
    is_marked: bool = False
    is_gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """All of it, with where the names of months and weekdays go."""

    width: int
    height: int
    days: tuple[Day, ...]
    months: tuple[tuple[int, str], ...]
    weekdays: tuple[tuple[int, str], ...]
    summary: str


def calendar(facts: PageFacts) -> Calendar:
    """By the clock on the wall of this machine, as all times on the page."""
    today = facts.status.at.astimezone().date()
    first = today - timedelta(days=today.weekday(), weeks=WEEKS - 1)
    days, months, named = [], [], 0
    for number in range((today - first).days + 1):
        moment = first + timedelta(days=number)
        x = _LEFT + number // 7 * (CELL + GAP)
        days.append(_day(facts, moment, x, _TOP + number % 7 * (CELL + GAP)))
        if number % 7 == 0 and moment.month != named:
            named = moment.month
            months.append((x, f"{moment:%b}"))
    if len(months) > 1 and months[1][0] - months[0][0] < 2 * (CELL + GAP):
        del months[0]  # there is no room for both
    whole = [each for each in facts.points if each.depth > Depth.INCOMPLETE and _day_of(each.instant) >= first]
    return Calendar(
        width=_LEFT + WEEKS * (CELL + GAP),
        height=_TOP + 7 * (CELL + GAP),
        days=tuple(days),
        months=tuple(months),
        weekdays=tuple((_TOP + row * (CELL + GAP), name) for row, name in ((0, "Mon"), (2, "Wed"), (4, "Fri"))),
        summary=f"{count(len(whole), 'restore point')} taken in the last {WEEKS} weeks, "
        f"on {count(len({_day_of(each.instant) for each in whole}), 'day')}",
    )


def _day_of(moment: datetime) -> date:
    return moment.astimezone().date()


def _day(facts: PageFacts, moment: date, x: int, y: int) -> Day:
    points = [each for each in facts.points if _day_of(each.instant) == moment]
    bad = [each for each in facts.runs if _day_of(each.began) == moment and each.outcome in _BAD]
    there: Sequence[object] = [each for each in points if not each.is_gone]
    best = max(points, key=lambda each: (not each.is_gone, each.depth), default=None)
    said = [f"{moment:%a %d %b %Y}"]
    said += [
        f"{each.id} at {each.instant.astimezone():%H:%M}: {_OF_DEPTH[each.depth].replace('-', ' ')}"
        f"{', removed since' if each.is_gone else ''}"
        for each in points
    ]
    said += [f"{each.plan} at {each.began.astimezone():%H:%M}: {each.outcome.value}" for each in bad]
    kind = _OF_DEPTH[best.depth] if best else "failed" if bad else "none"
    return Day(
        x=x,
        y=y,
        kind=kind,
        title="; ".join(said) if len(said) > 1 else f"{said[0]}: nothing",
        is_marked=bool(bad) and best is not None,
        is_gone=bool(points) and not there,
    )
