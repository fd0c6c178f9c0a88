"""Restoring in place: the plan and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from owui_vault.model.basics import Component
from owui_vault.model.manifest import Manifest, ScheduledWork
from owui_vault.model.snapshots import Snapshot, UnansweredRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementPlan:
    """What `Vault.replace` would do to the live data directory. Nothing has been touched yet.

    `parts` and `stays` are names relative to `data_dir`: what is replaced, and what the snapshot does not hold and
    therefore stays as it is. `stops` names what is stopped meanwhile, empty if nothing runs. `key_file` is the file
    that the snapshot's secret key is written to, empty if it is not replaced. `app_data_dir` is where the application
    sees the directory: rows of restored uploads name that. `quiet_start`: what would run by itself is switched off in
    the restored database. `unknown_version` says why it is not known whether the application can open that database;
    empty if it can.
    """

    snapshot: Snapshot
    manifest: Manifest
    data_dir: Path
    components: tuple[Component, ...]
    parts: tuple[str, ...]
    stays: tuple[str, ...]
    stops: str
    needed_bytes: int
    free_bytes: int
    app_data_dir: str
    warnings: tuple[str, ...]
    key_file: str = ""
    quiet_start: bool = False
    unknown_version: str = ""
    unanswered: tuple[UnansweredRepository, ...] = ()  # asked for the snapshot before the one that had it


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Data that a replacement took out of the way; kept until `discard`."""

    path: Path
    since: datetime
    snapshot: str  # our id of the snapshot that took their place
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementReport:
    """A replacement that is done: the instance runs on the snapshot's data, or nothing ran before."""

    plan: ReplacementPlan
    aside: SetAside
    outage: timedelta  # from the stop until it answered again; zero when nothing ran
    health: str  # what the application answered, or why it was not asked
    warnings: tuple[str, ...]
    took: timedelta
    scheduled: ScheduledWork = field(default_factory=ScheduledWork)  # what was due in the restored database
    held: Path | None = None  # where the old values lie if `quiet_start` switched that off


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoReport:
    """The previous data of a replacement are restored; the data that had replaced them are kept instead."""

    restored: SetAside
    outage: timedelta
    health: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardReport:
    """Previous data that are now deleted for good."""

    discarded: tuple[SetAside, ...]

    @property
    def freed_bytes(self) -> int:
        """What that freed."""
        return sum(each.size_bytes for each in self.discarded)
