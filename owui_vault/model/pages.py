"""What is written for other eyes after each run, and what `report` and `metrics` return."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from owui_vault.model.status import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Files that are written anew after each run: an HTML page, and Prometheus's text. None: that one is not."""

    report: Path | None = None
    metrics: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page or a text about the status at one moment, and the file that it was written into, if it was."""

    at: datetime
    verdict: Verdict
    text: str = field(repr=False)
    file: Path | None = None
    warnings: tuple[str, ...] = ()
