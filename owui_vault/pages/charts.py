"""The geometry of the page's charts: numbers only, so that nothing in them can be anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

WIDTH, HEIGHT = 600.0, 110.0
_LEAST_BAR = 1.5  # what is small, and not nothing, can be seen
_FEWEST = 3  # fewer show no development
_MOST_BARS = 90
_WIDEST_BAR = 26.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar, and what is said of it when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    title: str
    is_bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart: bars, or a line with the area below it. `first` and `last` are the ends of its time."""

    title: str
    newest: str
    most: str
    first: datetime
    last: datetime
    bars: tuple[Bar, ...] = ()
    line: str = ""
    area: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number at a time."""

    at: datetime
    number: float
    title: str = ""
    is_bad: bool = False


def bar_chart(title: str, values: Sequence[Value], say: Callable[[float], str]) -> Chart | None:
    """One bar for each value, in their order; None where there is nothing to see."""
    shown = values[-_MOST_BARS:]
    if len(shown) < _FEWEST:
        return None
    most = max(each.number for each in shown) or 1.0
    step = WIDTH / len(shown)
    width = min(step * 0.76, _WIDEST_BAR)
    bars = []
    for number, each in enumerate(shown):
        height = max(each.number / most * HEIGHT, _LEAST_BAR if each.number > 0 else 0.0)
        bars.append(
            Bar(
                x=round(number * step + (step - width) / 2, 2),
                y=round(HEIGHT - height, 2),
                width=round(width, 2),
                height=round(height, 2),
                title=each.title,
                is_bad=each.is_bad,
            )
        )
    return replace(_chart(title, shown, say), bars=tuple(bars))


def line_chart(title: str, values: Sequence[Value], say: Callable[[float], str]) -> Chart | None:
    """A line through time; None where there is nothing to see."""
    if len(values) < _FEWEST or values[0].at == values[-1].at:
        return None
    most = max(each.number for each in values) or 1.0
    span = (values[-1].at - values[0].at).total_seconds()
    points = [
        (
            round((each.at - values[0].at).total_seconds() / span * WIDTH, 2),
            round(HEIGHT - each.number / most * (HEIGHT - 4), 2),
        )
        for each in values
    ]
    line = "M" + " L".join(f"{x} {y}" for x, y in points)
    return replace(_chart(title, values, say), line=line, area=f"{line} L{WIDTH} {HEIGHT} L0 {HEIGHT} Z")


def _chart(title: str, values: Sequence[Value], say: Callable[[float], str]) -> Chart:
    return Chart(
        title=title,
        newest=say(values[-1].number),
        most=say(max(each.number for each in values)),
        first=values[0].at,
        last=values[-1].at,
    )
