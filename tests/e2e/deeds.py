"""What clients did to an instance, when, and what must therefore be found in a snapshot of a given moment."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

SLACK_SECONDS = 0.05  # how much later than the recorded instant the pin may have been taken


@dataclass(frozen=True, kw_only=True)
class Deed:
    """One request that changes something. `done` None: nobody answered, so it may have happened or not."""

    what: str  # "make", "change" or "delete"
    kind: str  # "chat", "file", "base" or "document"
    id: str  # empty: making it was not answered
    by: str  # e-mail address
    begun: float
    done: float | None
    detail: dict[str, Any] = field(default_factory=dict)  # what to look for


class Record:
    """Writes deeds down as they are acknowledged, from many threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def add(self, deed: Deed) -> None:
        self.line(asdict(deed))

    def line(self, value: object) -> None:
        with self._lock:
            self._file.write(json.dumps(value) + "\n")
            self._file.flush()


def deeds(path: Path) -> Iterator[Deed]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield Deed(**json.loads(line))


class Expected(Enum):
    """What a snapshot of one moment owes us."""

    PRESENT = "present"
    ABSENT = "absent"
    EITHER = "either"  # under way at that moment


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object and its life."""

    made: Deed
    later: tuple[Deed, ...]

    def expected(self, moment: float) -> Expected:
        ends = [deed for deed in self.later if deed.what == "delete" and deed.begun <= moment + SLACK_SECONDS]
        if any(deed.done is not None and deed.done <= moment for deed in ends):
            return Expected.ABSENT
        if self.made.begun > moment + SLACK_SECONDS:
            return Expected.ABSENT
        if ends or self.made.done is None or self.made.done > moment:
            return Expected.EITHER
        return Expected.PRESENT

    def versions(self, moment: float) -> range:
        """Which versions it may be in: from the last acknowledged before the moment to the last begun before it."""
        known = [(self.made.begun, self.made.done, 1)]
        known += [(deed.begun, deed.done, deed.detail["version"]) for deed in self.later if deed.what == "change"]
        least = max((version for _, done, version in known if done is not None and done <= moment), default=1)
        most = max((version for begun, _, version in known if begun <= moment + SLACK_SECONDS), default=1)
        return range(least, most + 1)


def things(recorded: Iterable[Deed]) -> list[Thing]:
    """Every object that was made, in the order of making."""
    made: dict[tuple[str, str], Deed] = {}
    later: dict[tuple[str, str], list[Deed]] = {}
    for deed in recorded:
        key = deed.kind, deed.id
        if not deed.id:
            continue
        if deed.what == "make":
            made[key] = deed
        else:
            later.setdefault(key, []).append(deed)
    return [Thing(made=deed, later=tuple(later.get(key, ()))) for key, deed in made.items()]
