"""The results of SQLite's own checks of a database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

QUICK, FULL = "quick", "full"
CURED = "cured"
_INDEX = re.compile(r"(?:missing from|non-unique entry in|# of entries in|in) index (?P<name>\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FullCheck:
    """The result of SQLite's full check (`integrity_check`) of one copy that its quick check had passed.

    Exactly one of these holds: it is sound, it has `complaints`, or `not_done` says why it is not known.
    """

    path: str  # relative to `data/`
    sha256: str
    at: datetime
    complaints: tuple[str, ...] = ()  # SQLite's words, the first hundred
    reindex: str = ""  # on a scratch copy: "cured", or why not; empty where nothing is damaged
    not_done: str = ""

    @property
    def is_damaged(self) -> bool:
        """It has found something."""
        return bool(self.complaints)

    @property
    def is_sound(self) -> bool:
        """It was done, and has found nothing."""
        return not self.complaints and not self.not_done

    @property
    def indexes(self) -> tuple[str, ...]:
        """The indexes that are named."""
        return indexes_in(self.complaints)


def indexes_in(complaints: tuple[str, ...]) -> tuple[str, ...]:
    """The indexes that SQLite's complaints name, each once."""
    found = (_INDEX.search(complaint) for complaint in complaints)
    return tuple(dict.fromkeys(match["name"] for match in found if match))
