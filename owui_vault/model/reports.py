"""What the operations of a vault return."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from owui_vault.errors import VaultError
from owui_vault.model.basics import Component, Outcome, Providers, VerifyDepth
from owui_vault.model.checks import FullCheck
from owui_vault.model.containers import ContainerRecord
from owui_vault.model.manifest import (
    CollectionRecord,
    LeftOut,
    Manifest,
    OllamaModel,
    ProofRecord,
    ScheduledWork,
    SecretKeyRecord,
    SqliteLibrary,
)
from owui_vault.model.retention import PrunePlan
from owui_vault.model.snapshots import RepositoryInfo, SkippedFile, Snapshot, UnansweredRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryResult:
    """How one repository fared. Exactly one of `snapshot` and `error` is set."""

    repository: str
    snapshot: Snapshot | None = None
    error: VaultError | None = None
    added_bytes: int = 0
    read_bytes: int = 0
    skipped: tuple[SkippedFile, ...] = ()  # what the engine could not read
    changed: tuple[str, ...] = ()  # what somebody changed while the engine read it, relative to the data directory
    warnings: tuple[str, ...] = ()  # what this repository cannot keep
    took: timedelta = timedelta()
    excused: bool = False  # it may be away, and was: the error is no failure of the run


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """One instant, stored in each repository."""

    id: str
    instance: str
    instant: datetime
    outcome: Outcome
    proof: ProofRecord
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    repositories: tuple[RepositoryResult, ...]
    manifest: Manifest | None  # None: no repository answered, so nothing was captured
    took: timedelta
    dry_run: bool = False
    full_checks: tuple[FullCheck, ...] = ()  # SQLite's, of each database that passed the quick one


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeResult:
    """One repository, created or found as it should be. Exactly one of `info` and `error` is set.

    `credentials` say what else a stranger's machine needs, and where it is here; never a secret.
    """

    repository: str
    info: RepositoryInfo | None = None
    created: bool = False
    passphrase_source: str  # where the passphrase is, never the passphrase
    error: VaultError | None = None
    warnings: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeReport:
    """All repositories that were asked for."""

    repositories: tuple[InitializeResult, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that is done and was checked against its manifest."""

    snapshot: Snapshot
    target: Path
    data_dir: Path
    manifest: Manifest
    components: tuple[Component, ...]
    rewritten: int  # rows of `file` whose path was changed
    app_data_dir: str  # where the application must see the data directory for downloads to work; empty without database
    secret_key: Path | None  # the file whose content the application must be given as WEBUI_SECRET_KEY
    warnings: tuple[str, ...]
    took: timedelta
    scheduled: ScheduledWork = field(
        default_factory=ScheduledWork
    )  # what is due by now, and runs by itself at the first start
    held: Path | None = None  # where the old values lie if `quiet_start` switched that off
    unanswered: tuple[UnansweredRepository, ...] = ()  # asked for the snapshot before the one that had it


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """How one repository fared. `removed` are gone from its list, also when an `error` came afterwards."""

    repository: str
    removed: tuple[Snapshot, ...] = ()
    freed_bytes: int | None = None  # None: the engine does not say, or nothing was freed because of the error
    error: VaultError | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """A plan carried out."""

    plan: PrunePlan
    repositories: tuple[PruneResult, ...]
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class PinResult:
    """How one repository fared. `snapshot` as it is listed there now; None: it is not there, or nobody could look.

    `changed` is False where it had been so before. `excused`: the repository may be away, and is.
    """

    repository: str
    snapshot: Snapshot | None = None
    changed: bool = False
    error: VaultError | None = None
    excused: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PinReport:
    """One snapshot pinned, or not any more, in each repository that holds it."""

    id: str
    instance: str
    instant: datetime
    pinned: bool
    repositories: tuple[PinResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPart:
    """Files of one component that were checked in the same way."""

    component: Component
    depth: VerifyDepth
    files: int
    size_bytes: int
    databases: int = 0  # how many of the files are SQLite's


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a repository gave back, compared with the manifest."""

    snapshot: Snapshot | None  # None: the repository is too damaged to tell what it holds
    repository: str
    problems: tuple[str, ...]  # empty: everything that was looked at is right
    warnings: tuple[str, ...]
    read_data: float  # share of the repository's data that the engine was asked to read besides, 0 to 1
    took: timedelta
    parts: tuple[VerifiedPart, ...] = ()  # what was looked at, and how; empty where nothing could be fetched
    full_checks: tuple[FullCheck, ...] = ()  # SQLite's, of each database that came back as it was stored
    unanswered: tuple[UnansweredRepository, ...] = ()  # asked for the snapshot before the one that had it

    @property
    def ok(self) -> bool:
        """Nothing wrong was found."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSize:
    """One component of a living instance."""

    name: Component
    included: bool
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReport:
    """What an instance holds, read without touching it."""

    name: str
    data_dir: Path
    fingerprint: str
    application_version: str
    alembic_head: str
    journal_modes: tuple[tuple[str, str], ...]  # (database, mode)
    components: tuple[ComponentSize, ...]
    left_out: tuple[LeftOut, ...]
    collections: tuple[CollectionRecord, ...]
    secret_key: SecretKeyRecord
    filesystem: str
    stage: Path
    running: bool
    processes: tuple[int, ...]
    modes: tuple[str, ...]  # which quiesce modes are possible
    warnings: tuple[str, ...]
    container: ContainerRecord | None = None  # where it runs in one
    providers: Providers = field(default_factory=Providers)
    ollama: tuple[OllamaModel, ...] = ()  # Ollama's models, where they are asked for
    sqlite: tuple[SqliteLibrary, ...] = ()  # what the running application has loaded; empty: unknown
    notes: tuple[str, ...] = ()  # worth knowing, and no alarm
    running_is_known: bool = True  # false: not seen, and this user may not look at every process


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverReport:
    """What a killed run had left behind, and what was done about it."""

    actions: tuple[str, ...]
