"""The only module that reads the clock.

An operation goes by the clock of its vault. Engines and quiescers go by this one: what they compare it with, processes,
dates of files and locks of other programs, knows no other.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The clocks of this machine (`ports.Clock`)."""

    def now(self) -> datetime:
        """Wall clock, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds; only differences mean something."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
