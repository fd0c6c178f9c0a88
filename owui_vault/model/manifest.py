"""The manifest: what a snapshot says about itself (`manifest.json`, documented in docs/manifest.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from owui_vault.model.basics import Component, ComponentKind, Outcome, Proof
from owui_vault.model.checks import QUICK

MANIFEST_FORMAT = 2  # what is written; 1 is read for ever
ALL = "all"

#: Of the components there are so far. A database of another kind is another kind in its record.
KINDS = {
    **dict.fromkeys(Component, ComponentKind.FILES),
    Component.DATABASE: ComponentKind.SQLITE,
    Component.VECTORS: ComponentKind.CHROMA,
    Component.SECRET_KEY: ComponentKind.KEY,
    Component.OLLAMA: ComponentKind.OLLAMA,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRecord:
    """How the instant was proven, or why it was not."""

    mode: Proof
    attempts: int
    freeze_seconds: float = 0.0  # how long the application could not write
    outage_seconds: float = 0.0  # stop mode: from the stop to the start
    settle_seconds: float = 0.0
    fence_seconds: float = 0.0
    capture_seconds: float = 0.0
    filesystem: str = ""
    lock_holder: str = ""  # who was seen to share the locks, empty when nobody had to
    pinned: tuple[str, ...] = ()  # databases held by read transactions
    copied_files: int = 0
    linked_files: int = 0
    weaker: tuple[str, ...] = ()  # each assumption that was replaced by a weaker one, or why it failed


ENCRYPTED = "encrypted"  # of a database that nobody can look into: stored as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRecord:
    """One SQLite database as it was captured. `path` is relative to `data/`."""

    path: str
    journal_mode: str  # "wal" or "delete": what the live file's header says
    size_bytes: int
    sha256: str
    check: str = "ok"  # "ok", "encrypted", or what SQLite's quick check found, which every capture does
    tables: Mapping[str, int] = field(default_factory=dict)  # rows per table
    checked: str = QUICK  # or "full": these very bytes had been through SQLite's full check when this was written
    damage: tuple[str, ...] = ()  # what the full check said of them


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file that is hashed whole: HNSW files are. `path` is relative to `data/`."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentRecord:
    """One component's files. `digest` is SHA-256 over its sorted lines `path NUL size LF`.

    `kind` says what it is made of, `schema` which version of that: Alembic's head of the database, Chroma's migration
    level of the vectors, empty for files.
    """

    name: Component
    files: int
    size_bytes: int
    digest: str
    kind: ComponentKind
    schema: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerRecord:
    """How many files, folders and links belong to one user and group, by number."""

    user: int
    group: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedRecord:
    """How many entries have one extended attribute or access list; `digest` sums up which, and with which values."""

    name: str
    entries: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeRecord:
    """What the live entries of one component had besides their bytes.

    `component` is None for the folders around the components: the data directory itself, `cache` and `cache/image`.
    """

    component: Component | None
    owners: tuple[OwnerRecord, ...]
    extended: tuple[ExtendedRecord, ...] = ()
    hole_bytes: int = 0  # of files that are longer than what they take on the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionRecord:
    """One Chroma collection. `knowledge` is the name of the knowledge base that it is of, if it is of one."""

    id: str
    name: str
    vectors: int
    lost: int = 0
    dimension: int | None = None
    knowledge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something that is not in the snapshot. `path` is relative to the data directory."""

    path: str
    reason: str
    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyRecord:
    """Where the key is that sessions, MFA and valves depend on."""

    found: bool
    source: str = ""  # "environment of process 812", "/opt/open-webui/.webui_secret_key", …
    needed_because: tuple[str, ...] = ()  # what in the database is sealed with it
    unopened: tuple[str, ...] = ()  # what was tried, and no known key opens
    separate: tuple[str, ...] = ()  # settings with a key of their own for one kind: MFA_ENCRYPTION_KEY, …
    others: tuple[str, ...] = ()  # where else a key was found; `source` opens at least as much as each of them


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteLibrary:
    """A SQLite that the application had loaded: the file, as it sees it, and the version that stands in it."""

    path: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRecord:
    """Which Open WebUI this was."""

    version: str = ""  # empty: nothing told it
    alembic_head: str = ""
    chroma_migration: str = ""
    image: str = ""
    image_digest: str = ""
    data_dir: str = ""  # as the application saw it
    data_dir_here: str = ""  # as it was called on the machine of the snapshot
    sqlite: tuple[SqliteLibrary, ...] = ()  # empty: unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """One model of Ollama's. `digest` is the SHA-256 of its manifest, which `ollama list` shows the beginning of."""

    name: str  # "llama3.2:3b": what `ollama pull` takes
    digest: str
    size_bytes: int
    stored: bool  # whether its blobs are in the snapshot; else it must be pulled again


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledWork:
    """What an instance does by itself. In a manifest: all that is switched on; after a restore: what is due by now."""

    automations: int = 0
    timers: int = 0
    webhooks: int = 0  # called at every start
    event_functions: int = 0  # run at every start


CHECK, VERIFIED, ACCEPTED_COLLAPSE = "check", "verify", "accept-collapse"  # kinds of ledger entries


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """An earlier snapshot that was checked, verified or drilled, and how it went."""

    snapshot: str
    repository: str  # empty for a check, which looks at what is about to be stored
    kind: str  # "verify", "drill", "accept-collapse", or "check": SQLite's full check of the databases
    at: datetime
    ok: bool
    detail: str = ""
    depth: str = ""  # of a verification: "all" where every file was read, else databases and index files were
    sequence: int | None = None  # of the snapshot; only where that was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a snapshot says about itself."""

    id: str
    instance: str
    fingerprint: str
    instant: datetime
    sequence: int
    outcome: Outcome
    problems: tuple[str, ...]  # why it is not complete
    warnings: tuple[str, ...]
    tags: tuple[str, ...]
    proof: ProofRecord
    application: ApplicationRecord
    databases: tuple[DatabaseRecord, ...]
    components: tuple[ComponentRecord, ...]
    vector_files: tuple[FileRecord, ...]
    collections: tuple[CollectionRecord, ...]
    left_out: tuple[LeftOut, ...]
    secret_key: SecretKeyRecord
    ollama: tuple[OllamaModel, ...] = ()  # where they are asked for
    ledger: tuple[LedgerEntry, ...] = ()
    scheduled: ScheduledWork | None = None  # None: it was not looked at
    attributes: tuple[AttributeRecord, ...] = ()  # none in snapshots of the first versions
    created_by: str = ""  # "owui_vault 0.1.0"
    # Since format 2; None in format 1, the numbers also where the database cannot be read.
    plan: str | None = ""  # whose run it was; empty: taken by hand
    users: int | None = None
    chats: int | None = None
    uploads: int | None = None  # files below uploads/
    sqlite: str = ""  # the version that copied and checked the databases
    format: int = MANIFEST_FORMAT

    @property
    def is_encrypted(self) -> bool:
        """Whether a database is one of SQLCipher's, which nobody here can look into."""
        return any(record.check == ENCRYPTED for record in self.databases)
