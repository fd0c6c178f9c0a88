"""What a benchmark prints and writes down."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One section of the result: a title, what is compared with what, and rows of text."""

    title: str
    explanation: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)
        print("  " + " | ".join(cells), flush=True)

    def markdown(self) -> str:
        prose = textwrap.fill(self.explanation, 118, break_on_hyphens=False)
        lines = [f"## {self.title}", "", prose, "", _line(self.header), _line(["---"] * len(self.header))]
        return "\n".join([*lines, *map(_line, self.rows)]) + "\n"


def begin(title: str, explanation: str, *header: str) -> Table:
    print(f"\n{title}\n  " + " | ".join(header), flush=True)
    return Table(title=title, explanation=explanation, header=header)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def milliseconds(value: float) -> str:
    return f"{value * 1000:.1f} ms"


def size(value: float) -> str:
    for unit, width in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= width:
            return f"{value / width:.1f} {unit}"
    return f"{value:.0f} B"


def at_most(value: float, target: float) -> str:
    """A ratio beside its target."""
    return f"{value:.2f} ≤ {target:.2f}" if value <= target else f"**{value:.2f}** > {target:.2f}"


def at_least(value: float, target: float) -> str:
    return f"{value:.2f} ≥ {target:.2f}" if value >= target else f"**{value:.2f}** < {target:.2f}"
