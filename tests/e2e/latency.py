"""How long the clients had to wait, from the list of all their requests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WRITES = ("save a chat", "upload a file")
READS = ("list chats",)


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Of the requests that overlap a span of time."""

    count: int
    failed: int
    worst_read: float
    worst_write: float
    typical_read: float
    gap: float  # the longest time without any answer


def waits(path: Path, begun: float, ended: float) -> Waits:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    inside = [row for row in rows if row[1] < ended and row[1] + row[2] > begun]
    answered = [row for row in inside if row[3]]
    reads = sorted(row[2] for row in answered if row[0] in READS)
    return Waits(
        count=len(inside),
        failed=sum(row[3] == 0 or row[3] >= 500 for row in inside),
        worst_read=max(reads, default=0.0),
        worst_write=max((row[2] for row in answered if row[0] in WRITES), default=0.0),
        typical_read=reads[len(reads) // 2] if reads else 0.0,
        gap=_gap([row[1] + row[2] for row in rows if row[3]], begun, ended),
    )


def _gap(answers: Sequence[float], begun: float, ended: float) -> float:
    inside = sorted(each for each in answers if begun <= each <= ended)
    stops = [begun, *inside, ended]
    return max(later - earlier for earlier, later in itertools.pairwise(stops))
