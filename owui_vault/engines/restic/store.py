"""Backing up with restic."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC
from pathlib import Path

from owui_vault.engines.common.full_read import is_due, record_full_read
from owui_vault.engines.common.labels import label_to_tags
from owui_vault.engines.common.unreadable import named, require_content, times_outside, unreadable_below
from owui_vault.engines.restic.errors import ENGINE
from owui_vault.engines.restic.maintenance import as_labelled, forget, incomplete, set_label
from owui_vault.engines.restic.output import BackupReader, Summary
from owui_vault.engines.restic.program import Bounds, Restic, Sinks
from owui_vault.engines.restic.tree_check import FIRST_TIME_NS, LAST_TIME_NS, OddTimes, trust_tree
from owui_vault.engines.restic.unconfirmed import confirm, storing_unconfirmed
from owui_vault.errors import CancelledError, EngineError, RepositoryLockedError, VaultError
from owui_vault.model import Label, Outcome, Progress, SkippedFile, Snapshot, StoreReceipt
from owui_vault.system.clock import SystemClock

logger = logging.getLogger(__name__)

_FULL_ID = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = 8
_RETRY_SECONDS = 1.0
_LAST_KEPT_NS = 253_402_300_800 * 10**9  # the year 10,000
_UNFINISHED = "unfinished"  # in our folder for the repository, while a store sends, and after one that did not end
_HAS_REPAIR = (0, 16)
_NOT_EVERYTHING = 3  # a snapshot was made, but some files could not be read


def store(restic: Restic, tree: Path, label: Label) -> StoreReceipt:
    """Back up `.` from within `tree`: the snapshot then holds its paths, not ours, and no directory above it."""
    require_content(tree, ENGINE)
    unreadable = tuple(unreadable_below(tree))
    wanted = replace(label, engine=ENGINE, engine_version=restic.version())
    if unreadable:  # known before restic is started: then no moment exists in which it is listed as complete
        wanted = replace(wanted, outcome=Outcome.INCOMPLETE)
    # Before: whoever kills us may do so between a complaint of restic's and its being heard.
    doubts = storing_unconfirmed(restic.call.folder, wanted.id) if wanted.outcome is Outcome.COMPLETE else nullcontext()
    with doubts:
        return _backed_up(restic, tree, wanted, unreadable)


def _backed_up(restic: Restic, tree: Path, label: Label, unreadable: tuple[SkippedFile, ...]) -> StoreReceipt:
    unfinished = restic.call.folder / _UNFINISHED
    if unfinished.exists():
        _find_what_was_sent(restic)

    def tell(event: Progress) -> None:
        if event.done_bytes and not unfinished.exists():
            unfinished.touch(mode=0o600)
        restic.call.progress(event)

    reader = BackupReader(tree, replace(restic.call, progress=tell))
    sinks = Sinks(stdout=reader.stdout, stderr=reader.stderr)
    bounds = Bounds(total=restic.call.store_seconds, idle=restic.call.idle_seconds)
    everything = restic.call.reread or is_due(restic.call.folder, label.instance)
    command = [*_command(label), *(["--force"] if everything else [])]
    result = restic.run(*command, sinks=sinks, monitor=reader.monitor, bounds=bounds, cwd=tree)
    if result.status not in (0, _NOT_EVERYTHING) or reader.summary is None:
        raise restic.error(result.status, result.stderr, result.argv)
    skipped = _merged((*reader.skipped, *unreadable))
    lacking = bool(skipped) or result.status == _NOT_EVERYTHING
    odd_times = list(times_outside(tree, FIRST_TIME_NS, LAST_TIME_NS))
    if lost := [path for path, time_ns in odd_times if time_ns > _LAST_KEPT_NS]:
        restic.call.warn(f"restic stores no times beyond the year 9999; these will differ: {named(lost)}")
    snapshot = _finished(restic, reader.summary, label, odd_times, lacking=lacking)
    unfinished.unlink(missing_ok=True)
    if everything:
        record_full_read(restic.call.folder, label.instance)
    return StoreReceipt(
        snapshot=snapshot,
        files=reader.summary.files,
        read_bytes=reader.summary.read_bytes,
        added_bytes=reader.summary.added_bytes,
        skipped=skipped,
    )


def _find_what_was_sent(restic: Restic) -> None:
    """Enter what an interrupted store had sent into the index, so that this one need not send it again.

    restic writes its index last, and sends again what no index has. Only the end of each file that no index has is
    read. It is a favour: whatever keeps it from being done costs time, and is tried again by the next store.
    """
    command = ["repair", "index"] if restic.version_numbers() >= _HAS_REPAIR else ["rebuild-index"]
    try:
        restic.run_checked(*command)
    except CancelledError:
        raise
    except VaultError as error:
        logger.info("what an interrupted store left in %s may be sent again: %s", restic.shown, error.message)


def _command(label: Label) -> list[str]:
    """The arguments.

    restic takes the latest snapshot of the same host and paths as parent, and reads a file again unless size, mtime,
    ctime and inode are as they were there. In a stage, links give every file a new ctime at every run, and copies a new
    inode; the series stands in for the host, so that a machine may change its name.
    """
    tags = [word for tag in label_to_tags(label) for word in ("--tag", tag)]
    time = label.instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    host = ["--host", label.instance]
    return ["backup", "--json", "--ignore-ctime", "--ignore-inode", *host, "--time", time, *tags, "."]


def _merged(found: Iterable[SkippedFile]) -> tuple[SkippedFile, ...]:
    """One entry per path: what restic said about it first."""
    by_path: dict[str, SkippedFile] = {}
    for each in found:
        by_path.setdefault(each.path, each)
    return tuple(by_path[path] for path in sorted(by_path))


def _stored(restic: Restic, summary: Summary, label: Label) -> Snapshot:
    """The snapshot just made."""
    engine_id = _full_id(restic, summary.snapshot_id)
    if _FULL_ID.fullmatch(engine_id):
        size = summary.read_bytes
        return Snapshot(engine_id=engine_id, name=engine_id[:8], time=label.instant, label=label, size_bytes=size)
    found = [each for each in as_labelled(restic) if each.engine_id.startswith(engine_id) and each.label == label]
    if len(found) != 1:
        raise EngineError(f"snapshot {engine_id} was just stored in {restic.shown}, but is not listed", engine=ENGINE)
    return found[0]


def _full_id(restic: Restic, told: str) -> str:
    """Complete an id of which restic < 0.17 tells eight characters only, where the names of snapshots can be seen."""
    folder = restic.location.folder
    if folder is None or len(told) != _SHORT_ID:
        return told
    try:
        found = [name for name in os.listdir(folder / "snapshots") if name.startswith(told)]
    except OSError:
        return told
    return found[0] if len(found) == 1 else told


def _finished(restic: Restic, summary: Summary, label: Label, odd_times: OddTimes, *, lacking: bool) -> Snapshot:
    """What stands in the repository now, and says so. `cancel` comes too late: it would leave a lie behind."""
    calm = restic.uncancellable()
    snapshot = _stored(calm, summary, label)
    trust_tree(calm, snapshot.engine_id, odd_times)
    if lacking and label.outcome is Outcome.COMPLETE:
        snapshot = _demoted(calm, snapshot, label, restic.call.cancel)
    confirm(restic.call.folder, label.id)
    return snapshot


def _demoted(restic: Restic, snapshot: Snapshot, label: Label, cancel: threading.Event) -> Snapshot:
    """Restic could not read what we could: say so in the repository at once, or take the snapshot back."""
    try:
        return _retry_while_locked(restic, lambda: set_label(restic, snapshot.engine_id, incomplete(label)), cancel)
    except RepositoryLockedError as error:
        # Another kind of error: whoever waits for the lock and stores again would do all the work twice.
        raise EngineError(
            f"snapshot {label.id} in {restic.shown} lacks files and could not be marked INCOMPLETE: it is locked",
            engine=ENGINE,
            hint="This machine lists it as INCOMPLETE, and the next run marks it. Other machines trust it until then.",
        ) from error
    except EngineError as error:
        with suppress(EngineError):
            forget(restic, [snapshot.engine_id])
            confirm(restic.call.folder, label.id)
        raise error


def _retry_while_locked(restic: Restic, change: Callable[[], Snapshot], cancel: threading.Event) -> Snapshot:
    """Try again while another run holds a lock, as long as a short call may take; only once when we are to end."""
    until = SystemClock().monotonic() + restic.call.timeout_seconds
    while True:
        try:
            return change()
        except RepositoryLockedError:
            if cancel.is_set() or SystemClock().monotonic() + _RETRY_SECONDS > until:
                raise
            SystemClock().sleep(_RETRY_SECONDS)
