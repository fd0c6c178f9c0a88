"""A configuration that has been read and checked: frozen values with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path

from owui_vault.model import CollapseLimits, Compression, EventKind, OllamaModels, Quiesce, RetentionPolicy
from owui_vault.model.events import REMIND, USUAL_KINDS
from owui_vault.model.plans import Plan
from owui_vault.model.secrets import SecretReference
from owui_vault.model.status import Pages

DEFAULT_INSTANCE_NAME = "open-webui"


class EngineName(Enum):
    """The engines a configuration can choose from."""

    RESTIC = "restic"
    BORG = "borg"


class Unproven(Enum):
    """What to do when no single instant could be proven."""

    STORE = "store"  # as INCOMPLETE, exit code 3
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSettings:
    """One Open WebUI. Without `data_dir` it is only the name of a series."""

    name: str = DEFAULT_INSTANCE_NAME
    data_dir: Path | None = None
    container: str | None = None
    quiesce: Quiesce = Quiesce.AUTO
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    unproven: Unproven = Unproven.STORE
    systemd_unit: str | None = None
    pid_file: Path | None = None
    secret_key: SecretReference | None = None
    database_url: SecretReference | None = None
    ollama: OllamaModels = OllamaModels.OFF
    ollama_dir: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySettings:
    """One repository. `location` may hold credentials and is therefore not shown."""

    name: str
    engine: EngineName
    location: str = field(repr=False)
    passphrase: SecretReference
    environment: Mapping[str, SecretReference] = field(default_factory=dict)
    keep: RetentionPolicy | None = None
    program: str | None = None  # None: the engine's own name, looked up in PATH
    options: Mapping[str, str] = field(default_factory=dict)
    upload_limit: int | None = None  # bytes per second, as the next one
    download_limit: int | None = None
    compression: Compression | None = None
    optional: bool = False
    append_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How long things may take. `idle` is the time without a byte or message; None means no limit.

    `parallel` is how many repositories are stored to at a time.
    """

    parallel: int = 2
    lock_wait: timedelta = timedelta(minutes=5)
    freeze: timedelta = timedelta(seconds=10)
    stop: timedelta = timedelta(seconds=60)
    idle: timedelta = timedelta(minutes=10)
    store: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFileSettings:
    """A file for the log: put aside once it has `size` bytes, `keep` older ones kept."""

    path: Path
    size: int = 10 << 20
    keep: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """Somebody who is told. The address may hold passwords."""

    url: SecretReference
    when: tuple[EventKind, ...] = USUAL_KINDS
    remind: timedelta = REMIND
    plans: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSettings:
    """A URL that expects signs of life; it is as good as a password."""

    url: SecretReference
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """The whole of it. `path` is None when everything came from the command line."""

    state_dir: Path
    path: Path | None = None
    instance: InstanceSettings | None = None
    repositories: tuple[RepositorySettings, ...] = ()
    plans: tuple[Plan, ...] = ()
    limits: LimitSettings = LimitSettings()
    collapse: CollapseLimits = field(default_factory=CollapseLimits)
    log_file: LogFileSettings | None = None
    pages: Pages = field(default_factory=Pages)
    notifications: tuple[NotificationSettings, ...] = ()
    heartbeat: HeartbeatSettings | None = None
    plan_heartbeats: Mapping[str, HeartbeatSettings] = field(default_factory=dict)

    @property
    def series(self) -> str:
        """The name of the series that is stored here."""
        return self.instance.name if self.instance else DEFAULT_INSTANCE_NAME
