"""What a repository holds: labels, snapshots and the receipts of storing them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from owui_vault.errors import VaultError
from owui_vault.model.basics import Outcome, Proof

LABEL_FORMAT = 2  # what is written; 1 is read for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is stored with the data so that a snapshot explains itself.

    The same fields on both engines: tags of restic, a comment of borg. `id` is ours: eight hex digits, the
    same in every repository that holds this instant. `sequence` orders a series; the clock does not.
    `engine`, `engine_version` and `chunking` are filled in by the engine that stores. A relabelling keeps the format.
    """

    id: str
    instance: str
    fingerprint: str
    instant: datetime  # aware, UTC, microseconds kept
    sequence: int
    outcome: Outcome
    mode: Proof
    tags: tuple[str, ...] = ()  # the user's, sorted
    application_version: str = ""
    engine: str = ""
    engine_version: str = ""
    chunking: str = ""  # "" lets the engine choose; a series keeps what its first snapshot used
    size_bytes: int = 0  # of the components; 0: stored before labels said it
    # Since format 2; None in format 1, the numbers also where the database cannot be read.
    plan: str | None = ""  # whose run it was; empty: taken by hand
    users: int | None = None
    chats: int | None = None
    uploads: int | None = None  # files below uploads/
    version: str = ""  # of this package, which stored it
    pinned: bool = False  # no retention removes it; said in both formats
    format: int = LABEL_FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterLabel:
    """What can be read of a label of a later format: these fields mean the same in all of them."""

    format: int
    id: str = ""
    instance: str = ""
    sequence: int = 0
    version: str = ""  # of this package, which stored it


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One stored state, as the repository lists it.

    `engine_id` is restic's full id or borg's archive id, `name` restic's short id or borg's archive name. `label` is
    None for what another tool stored, and for what a `later` version of this package did. `size_bytes` comes from the
    label, otherwise from the engine. `repository`, `verified_at` and `verified_all_at` (when every file of it was read)
    are filled in by the vault.
    """

    SHOWN_FIRST: ClassVar[tuple[str, ...]] = ("id", "instant", "outcome")

    engine_id: str
    name: str
    time: datetime  # the instant of a snapshot of ours, else what the engine recorded
    label: Label | None = None
    later: LaterLabel | None = None
    size_bytes: int | None = None
    repository: str = ""
    verified_at: datetime | None = None
    verified_all_at: datetime | None = None

    @property
    def id(self) -> str:
        """Our id, or the engine's for a foreign snapshot."""
        said = self.label or self.later
        return (said.id if said else "") or self.engine_id

    @property
    def instant(self) -> datetime:
        """The moment its data belong to."""
        return self.label.instant if self.label else self.time

    @property
    def outcome(self) -> Outcome:
        """Foreign snapshots are never a restore point for us."""
        return self.label.outcome if self.label else Outcome.INCOMPLETE

    @property
    def instance(self) -> str:
        """The series, empty for a foreign snapshot."""
        said = self.label or self.later
        return said.instance if said else ""

    @property
    def sequence(self) -> int:
        """Its number in the series; -1 for a foreign snapshot."""
        said = self.label or self.later
        return said.sequence if said else -1

    @property
    def plan(self) -> str | None:
        """The plan that took it; empty: by hand. None: format 1 does not say, or it is foreign."""
        return self.label.plan if self.label else None

    @property
    def users(self) -> int | None:
        """How many users the instance had; here and below, None where that is not known."""
        return self.label.users if self.label else None

    @property
    def chats(self) -> int | None:
        """How many chats it had."""
        return self.label.chats if self.label else None

    @property
    def uploads(self) -> int | None:
        """How many files it had below `uploads/`."""
        return self.label.uploads if self.label else None

    @property
    def pinned(self) -> bool:
        """Whether no retention removes it."""
        return self.label is not None and self.label.pinned

    @property
    def is_restore_point(self) -> bool:
        """Ours and complete."""
        return self.outcome is Outcome.COMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class UnansweredRepository:
    """A repository that did not answer, while others did. `excused`: it may be away, and that is no failure."""

    repository: str
    error: VaultError
    excused: bool = False


class SnapshotList(tuple[Snapshot, ...]):
    """A tuple of snapshots, newest first, with `warnings` that the reader must know.

    What the repositories in `unanswered` hold is not in it.
    """

    warnings: tuple[str, ...]
    unanswered: tuple[UnansweredRepository, ...]

    def __new__(
        cls,
        snapshots: Iterable[Snapshot] = (),
        warnings: Iterable[str] = (),
        unanswered: Iterable[UnansweredRepository] = (),
    ) -> Self:
        """A tuple with two more attributes."""
        made = super().__new__(cls, snapshots)
        made.warnings = tuple(warnings)
        made.unanswered = tuple(unanswered)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryInfo:
    """Which repository answered.

    `chunking` is the same in repositories that cut files into the same pieces, so that what is copied between them
    shares its data with what is stored there; empty where the repository does not decide that.
    """

    id: str
    location: str  # credentials removed
    engine: str
    engine_version: str
    chunking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file the engine could not read."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReceipt:
    """What the engine did."""

    snapshot: Snapshot
    files: int
    read_bytes: int
    added_bytes: int  # stored, after deduplication and compression
    skipped: tuple[SkippedFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path inside a snapshot, relative to its tree, without a leading `./`."""

    path: str
    kind: str  # "file", "dir", "symlink" or "other"
    size_bytes: int = 0
