"""The work before the first attempt, which is not urgent: survey the data, link, copy ahead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from owui_vault.capture.child.classify import Database, in_short_process, mappings
from owui_vault.capture.child.copies import link_file
from owui_vault.capture.child.databases import RawCopies, raw_mark
from owui_vault.capture.child.errors import AttemptFailedError, SourceChangedError
from owui_vault.capture.child.marks import Mark, Walk, mark_of
from owui_vault.capture.child.sqlite.pinned_copy import PinnedCopies
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.system.filesystem import (
    SHARED_FILESYSTEMS,
    filesystem_type,
    on_one_mount,
    overlay_layers,
    reflink,
    room_of_copy,
)

LIVE_FILESYSTEMS = frozenset({"ext4", "xfs", "btrfs", "tmpfs"})  # tests/capture/child/test_fences.py proves each
_LOOKS = 20
_RECENT_SECONDS = 600
_LARGE_BYTES = 1 << 20
_MANY_ENTRIES = 10_000  # below, a look takes less than a tenth of a second


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureEnvironment:
    """What was found before the first attempt."""

    filesystem: str
    databases: tuple[Database, ...]
    obstacles: tuple[str, ...]  # why a live proof is not possible here
    shared: tuple[str, ...]  # what lies where others than this kernel may write
    overlay: str  # the layer of an overlay mount that the data directory is reached through
    freeze_bytes: int  # what a freeze would have to copy
    bytes_per_second: float
    look_seconds: float  # what one look at everything takes, where there is very much of it


def prepare(
    writer: StageWriter,
    raw: RawCopies,
    pinned: PinnedCopies,
    *,
    until: float | None,
    progress: Callable[[int, int], None],
) -> CaptureEnvironment:
    """Look around, then link and copy ahead what is at rest, and, `until` then, what can be pinned; None: nothing is.

    Raises AttemptFailedError, NoRoomError.
    """
    job = writer.job
    overlay = _overlay_layer(job.data_dir)
    databases = pinned.classify()
    tree = _first_look(writer)
    writer.job = writer.uploads.first_look(writer.job, tree)
    shared = can_reflink(job.desk)
    missing = tuple(each for each in databases if each.name not in pinned.ahead)
    writer.require_room(_bytes_needed(writer, tree, missing, shared))
    _ahead(writer, tree, progress)
    for database in databases:
        if not database.pinnable:
            _database_ahead(writer, raw, database)
    databases = pinned.classify()  # who had them open may be gone by now, and to open one then would leave a log there
    held_up = _pin_and_copy(raw, pinned, databases, until=until, progress=progress) if until is not None else []
    obstacles = (*_obstacles(writer, tree, databases), *held_up)  # last: the copies may have taken minutes
    return CaptureEnvironment(
        filesystem=filesystem_type(job.data_dir),
        databases=databases,
        obstacles=obstacles,
        shared=tuple(_shared(writer, tree, databases)),
        overlay=overlay,
        freeze_bytes=0 if shared else _freeze_bytes(writer, tree, databases),
        bytes_per_second=writer.bytes_per_second(),
        look_seconds=_look_seconds(writer, len(tree)),
    )


def _overlay_layer(data_dir: str) -> str:
    """The overlay layer above the data directory: locks and caches of the mounted overlay are not shared with it."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    for layer in overlay_layers(mounts):
        home = Path(os.path.realpath(layer))
        if not Path(data_dir).is_relative_to(home) or not home.exists():
            continue
        # What is mounted below a layer is no part of it, nor is one below its own mount (overlayroot).
        hidden = home.is_mount() and filesystem_type(str(home)) == "overlay"
        if on_one_mount(home, Path(data_dir)) and not hidden:
            return layer
    return ""


def _first_look(writer: StageWriter) -> dict[str, Mark]:
    for number in range(_LOOKS):
        try:
            return dict(Walk(writer.job))
        except SourceChangedError:
            time.sleep(0.01 * number)
    return dict(Walk(writer.job, tolerant=True))


def _look_seconds(writer: StageWriter, entries: int) -> float:
    """How long a look takes now that everything was met once; the first one may have waited for the disk."""
    if entries < _MANY_ENTRIES:
        return 0.0
    began = time.monotonic()
    with suppress(SourceChangedError):
        for _ in Walk(writer.job):
            pass
    return time.monotonic() - began


def can_reflink(folder: str) -> bool:
    """Whether copies share their blocks here."""
    paths = [f"{folder}/reflink-{letter}" for letter in "ab"]
    source, target = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for path in paths)
    try:
        os.pwrite(source, b"x" * 4096, 0)
        return reflink(source, target)
    finally:
        os.close(source)
        os.close(target)
        for path in paths:
            os.unlink(path)


def _database_bytes(database: Database) -> int:
    marks = (mark_of(database.real + suffix) for suffix in ("", "-wal", "-journal"))
    return sum(mark.size for mark in marks if mark)


def _bytes_needed(writer: StageWriter, tree: dict[str, Mark], databases: tuple[Database, ...], shared: bool) -> int:
    """Room for all copies that may become necessary; uploads are links wherever the first of their owner can be."""
    needed = sum(_database_bytes(each) for each in databases if each.pinnable or not shared)
    if shared:
        return needed
    linkable: dict[tuple[int, int], bool] = {}
    for name, mark in tree.items():
        if not mark.is_file:
            continue
        kind = (mark.device, mark.user)
        if writer.job.is_write_once(name) and kind not in linkable:
            linkable[kind] = can_link(writer, name, mark)
        if not (writer.job.is_write_once(name) and linkable[kind]):
            needed += _room(writer, name, mark)
    return needed


def _room(writer: StageWriter, name: str, mark: Mark) -> int:
    """What a copy of a file takes; only of a large one it is worth the asking whether that is less than its length."""
    if mark.size < _LARGE_BYTES:
        return mark.size
    real = writer.job.locate(name)
    try:
        return room_of_copy(real, os.lstat(real))
    except OSError:
        return mark.size


def can_link(writer: StageWriter, name: str, mark: Mark) -> bool:
    """Whether a file can have a second name in the stage: other mounts of the same device and foreign owners cannot."""
    probe = f"{writer.job.desk}/link-probe"
    real = writer.job.locate(name)
    before = mark_of(real)
    try:
        linked = link_file(real, probe, mark, name)
    except SourceChangedError:
        return mark.device == writer.probe.device
    if linked is not None:
        os.unlink(probe)
        writer.uploads.note_link(name, before, mark_of(real))
    return linked is not None


_READ_ONLY = (
    " (it is not writable here: mount it writable, put the state directory on that file system, or allow a pause)"
)


def _obstacles(writer: StageWriter, tree: dict[str, Mark], databases: tuple[Database, ...]) -> tuple[str, ...]:
    found = []
    kind = filesystem_type(writer.job.data_dir)
    if kind not in LIVE_FILESYSTEMS:
        found.append(f"it is not possible to wait for pending writes on {kind}")
    elsewhere = next((name for name, mark in tree.items() if mark.device != writer.probe.device), None)
    if elsewhere is not None:
        way_out = "" if os.access(writer.job.data_dir, os.W_OK) else _READ_ONLY
        found.append(f"{elsewhere or 'the data directory'} is on a different file system from the stage{way_out}")
    for database in databases:
        mark = mark_of(database.real)
        if mark and mark.device != writer.probe.device:
            found.append(f"{database.name} is on a different file system from the stage")
    files = {(mark.device, mark.inode): name for name, mark in tree.items() if mark.is_file}
    mapped = sorted(in_short_process(lambda: list(mappings(files).items())))
    writer.mappers = {process: name for name, process in mapped}
    return (
        *found,
        *(f"{name} is memory-mapped by a process that can write to it without leaving a trace" for name, _ in mapped),
    )


def _shared(writer: StageWriter, tree: dict[str, Mark], databases: tuple[Database, ...]) -> Iterator[str]:
    """One path for each file system of the data that is shared with other machines, or with another kernel."""
    firsts = {mark.device: each.name for each in databases if (mark := mark_of(each.real)) is not None}
    firsts |= {mark.device: name for name, mark in reversed(tree.items()) if mark.is_file or mark.is_directory}
    for name in sorted(firsts.values()):
        with suppress(FileNotFoundError):
            kind = filesystem_type(writer.job.locate(name))
            if kind in SHARED_FILESYSTEMS:
                device = os.stat(writer.job.locate(name)).st_dev
                writer.foreign |= {device} - {writer.probe.device}  # the probe's clock is that server's
                yield f"{name or 'the data directory'} is on {kind}"


def _ahead(writer: StageWriter, tree: dict[str, Mark], progress: Callable[[int, int], None]) -> None:
    """Whatever changes later is taken again; each entry keeps the mark it was taken at."""
    now = writer.read_clock()
    total = sum(mark.size for name, mark in tree.items() if mark.is_file and not writer.job.is_write_once(name))
    done = 0
    for name, mark in tree.items():
        if mark.is_file and not now.settled(mark):
            continue
        try:
            writer.put(name, mark, link=writer.job.is_write_once(name), fenced=True)
        except SourceChangedError:
            continue
        if mark.is_file and not writer.job.is_write_once(name):
            done += mark.size
            progress(done, total)


def _pin_and_copy(
    raw: RawCopies,
    pinned: PinnedCopies,
    databases: tuple[Database, ...],
    *,
    until: float,
    progress: Callable[[int, int], None],
) -> list[str]:
    """The last of the copies, since the WAL grows from here on. Returns why some could not be made."""
    held_up = []
    for database in databases:
        if database.pinnable:
            raw.taken.pop(database.name, None)
            try:
                pinned.begin(database, until, progress)
            except AttemptFailedError as failed:
                held_up.append(str(failed))
    return held_up


def _database_ahead(writer: StageWriter, raw: RawCopies, database: Database) -> None:
    try:
        mark = raw_mark(writer, database)
        if mark.journal_lives or not all(map(writer.read_clock().settled, mark.parts())):
            return
        raw.fence(database, mark)
        raw.take(database, mark)
        raw.changed_since(database, mark)
    except AttemptFailedError:
        raw.forget(database.name)


def _freeze_bytes(writer: StageWriter, tree: dict[str, Mark], databases: tuple[Database, ...]) -> int:
    """An upper bound: databases that cannot be pinned, and files that were written to lately or are not copied yet."""
    now = writer.probe.now_ns()
    recent = range(now - _RECENT_SECONDS * 1_000_000_000, now + 1)  # nobody writes with a time that lies ahead
    size = sum(_database_bytes(database) for database in databases if not database.pinnable)
    for name, mark in tree.items():
        if mark.is_file and not (writer.job.is_write_once(name) and name in writer.links):
            late = mark.mtime_ns in recent or not writer.has(name, mark)
            size += _room(writer, name, mark) if late else 0
    return size
