"""The input and the result of a capture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from owui_vault.model.manifest import CollectionRecord, DatabaseRecord, FileRecord, ProofRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePlan:
    """Which files to bring to rest, and where.

    All names are relative to `data_dir` with forward slashes. `links` are components that are symlinks in the data
    directory, each with the real directory or file behind it: they are followed, all other symlinks are stored as
    links.
    """

    data_dir: Path  # resolved
    work_dir: Path  # ours, 0700; the stage is `work_dir/stage`, its tree `work_dir/stage/data`
    databases: tuple[str, ...]  # files known to be SQLite: webui.db, vector_db/chroma.sqlite3
    encrypted: tuple[str, ...] = ()  # those of them that are SQLCipher's: copied as they are, and not looked into
    write_once: tuple[str, ...] = ("uploads",)  # directories whose files never change once settled
    rewritten: tuple[str, ...] = ()  # files in them, or their folders, that somebody changes nevertheless
    links: tuple[tuple[str, Path], ...] = ()
    mounted: tuple[str, ...] = ()  # those of `links` that are no symlinks here: the application has mounted them
    known_uploads: tuple[tuple[Path, int], ...] = ()  # what repositories hold of them, and the number of the newest
    exclude: tuple[str, ...] = ()  # relative names (a directory takes everything below it) or glob patterns
    include: tuple[str, ...] = ()  # patterns that win over `exclude`
    reasons: tuple[tuple[str, str], ...] = ()  # why this program put a pattern into `exclude` by itself
    processes: tuple[int, ...] = ()  # the instance's own: one of them must share the locks of what is pinned
    unchecked: tuple[str, ...] = ()  # what about a pin cannot be checked here, for the record


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureLimits:
    """Bounds of a capture, in seconds and bytes."""

    live_attempts: int = 3
    live_seconds: float = 2.0
    freezes: int = 3
    freeze_seconds: float = 10.0
    stop_seconds: float = 60.0
    copy_seconds: float = 3600.0  # copying a database ahead while it is pinned
    wal_growth_bytes: int = 4 << 30
    reserve_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What looking at a captured tree found. `broken` makes another attempt worthwhile, `problems` do not."""

    broken: tuple[str, ...] = ()  # torn by the moment: half an HNSW index, a row without its upload, …
    problems: tuple[str, ...] = ()  # the source itself is damaged
    warnings: tuple[str, ...] = ()
    collections: tuple[CollectionRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One instant at rest in the stage.

    `inventory` is a file of JSON lines, one per path of the tree: `{"path", "kind", "size", "mtime_ns", "inode",
    "linked"}`, sorted by path, so that nobody has to hold a hundred thousand names in memory; of uploads also
    `"upload"`, the inode of the live file, and its ctime before and since our link. `problems` make the snapshot
    INCOMPLETE.
    `reread`: too many uploads may have been rewritten with size and time as before, so engines must read everything.
    """

    stage: Path
    inventory: Path
    instant: datetime
    proof: ProofRecord
    databases: tuple[DatabaseRecord, ...]
    vector_files: tuple[FileRecord, ...]
    findings: Findings
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reread: bool = False
    skipped: tuple[str, ...] = ()  # sockets, FIFOs and devices, by relative name
