"""Whether the repositories have room: what each took after each run, and what that comes to.

Whatever is not known is unknown, which is neither good nor bad: it is no part of any verdict.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from owui_vault.context.context import OperationContext, Repository
from owui_vault.errors import VaultError
from owui_vault.model import Deadline
from owui_vault.model.runs import PlanStep, RunRecord
from owui_vault.model.status import RepositorySpace
from owui_vault.ports import Clock
from owui_vault.repositories.overlap import path_of
from owui_vault.service.overdue import is_believed
from owui_vault.service.parts import Service
from owui_vault.service.run_entries import History, PlaceMeasured
from owui_vault.system.durable_files import free_bytes

_WINDOW = timedelta(days=30)
_SHORTEST = timedelta(days=1)  # what is known for less says nothing about growth
SOON = timedelta(days=14)
#: What was once told to be full soon is so until it is this far away: around a limit it would be told each night.
AT_EASE = timedelta(days=21)
_DAY = timedelta(days=1)
PATIENCE_SECONDS = 5.0  # hundreds of thousands of files on a slow share: better no size than a status that hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """What a repository takes, and what an ordinary user may still write there. None: it is not known."""

    size_bytes: int | None = None
    free_bytes: int | None = None


def note_space(service: Service, repositories: Iterable[str]) -> None:
    """Write down what repositories take after a run. That this cannot be done is no failure of the run."""
    for name in repositories:
        (repository,) = service.context.select(name)
        found = _measured(repository, service.context.clock, service.context.clock.now())
        if found:
            with suppress(VaultError):
                service.ledger.append(found)


def measure(location: str, clock: Clock, patience_seconds: float = PATIENCE_SECONDS) -> DiskSpace:
    """Look at the place of a repository; nothing is known of one that is elsewhere, away, or not ours to see."""
    folder = path_of(location)
    try:
        if not folder.is_absolute() or not folder.is_dir():
            return DiskSpace()
        until = Deadline(clock.monotonic() + patience_seconds, clock.monotonic)
        return DiskSpace(size_bytes=_size(folder, until), free_bytes=free_bytes(folder))
    except OSError:
        return DiskSpace()


def _size(folder: Path, until: Deadline) -> int | None:
    """What all files take on disk. Those that go away meanwhile take nothing."""
    total = 0
    folders = [os.fspath(folder)]
    while folders:
        if until.passed():
            return None
        try:
            entries = list(os.scandir(folders.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                try:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                except FileNotFoundError:
                    continue
    return total


def _measured(repository: Repository, clock: Clock, now: datetime) -> PlaceMeasured | None:
    found = measure(repository.engine.location, clock)
    if found == DiskSpace():
        return None
    return PlaceMeasured(repository=repository.name, at=now, size_bytes=found.size_bytes, free_bytes=found.free_bytes)


def space_of(
    context: OperationContext, history: History, now: datetime, *, offline: bool
) -> tuple[RepositorySpace, ...]:
    """What is known of each repository: offline from the ledger alone, otherwise as it is now."""
    return tuple(
        _of_one(each.name, history, now, None if offline else _measured(each, context.clock, now))
        for each in context.select(None)
    )


def full_soon(space: RepositorySpace, within: timedelta = SOON) -> str:
    """When this place will be full, in words; empty where that is later, or not known."""
    if space.until_full_seconds is None or space.until_full_seconds >= within.total_seconds():
        return ""
    days = int(space.until_full_seconds / _DAY.total_seconds())
    when = f"in about {days} day{'' if days == 1 else 's'}" if days else "within a day"
    return f"the place of {space.repository} is full {when}, if it goes on as in the last thirty days"


def _of_one(name: str, history: History, now: datetime, fresh: PlaceMeasured | None) -> RepositorySpace:
    since = now - _WINDOW
    known = [each for each in history.measured if each.repository == name and is_believed(each.at, now)]
    ordered = sorted([*known, *([fresh] if fresh else [])], key=lambda each: each.at)
    if not ordered:
        growth = _added_per_day(history.runs, name, since, now)
        return RepositorySpace(repository=name, growth_bytes_per_day=growth)
    last = ordered[-1]
    window = [each for each in ordered if each.at >= since]
    growth = _per_day([(each.at, each.size_bytes) for each in window])
    if growth is None:
        growth = _added_per_day(history.runs, name, since, now)
    shrinking = _per_day([(each.at, each.free_bytes) for each in window])
    fastest = max(growth or 0.0, -(shrinking or 0.0))
    until_full = (
        last.free_bytes / fastest * _DAY.total_seconds() if last.free_bytes is not None and fastest > 0 else None
    )
    return RepositorySpace(
        repository=name,
        size_bytes=last.size_bytes,
        free_bytes=last.free_bytes,
        growth_bytes_per_day=growth,
        until_full_seconds=until_full,
        as_of=last.at,
    )


def _per_day(known: Sequence[tuple[datetime, int | None]]) -> float | None:
    there = [(at, number) for at, number in known if number is not None]
    if not there or there[-1][0] - there[0][0] < _SHORTEST:
        return None
    (first, before), (last, after) = there[0], there[-1]
    return (after - before) / ((last - first) / _DAY)


def _added_per_day(runs: Sequence[RunRecord], name: str, since: datetime, now: datetime) -> float | None:
    """What this machine's runs added there, less what they freed; for places that do not tell what they hold."""
    counted = [run for run in runs if since <= run.began and is_believed(run.began, now)]
    changes = [
        (run.began, (result.added_bytes or 0) - (result.freed_bytes or 0))
        for run in counted
        for step in run.steps
        if step.step in (PlanStep.SNAPSHOT, PlanStep.PRUNE)
        for result in step.results
        if result.repository == name
    ]
    if not changes or now - changes[0][0] < _SHORTEST:
        return None
    return sum(change for _, change in changes) / ((now - changes[0][0]) / _DAY)
