"""The parts that a vault is made of."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from owui_vault.components.names import DATABASE
from owui_vault.context import given
from owui_vault.context.state import StateDirectory
from owui_vault.errors import ConfigError, RepositoryMissingError, RepositoryUnreachableError, VaultError
from owui_vault.model import (
    NAME_PATTERN,
    NEVER,
    TAG_PATTERN,
    CaptureLimits,
    CollapseLimits,
    EventKind,
    NoticeSink,
    OllamaModels,
    ProgressSink,
    Quiesce,
    RetentionPolicy,
    UnansweredRepository,
    ignore_notice,
    ignore_progress,
)
from owui_vault.model.events import REMIND, USUAL_KINDS
from owui_vault.ports import (
    Application,
    Clock,
    DescribedSecret,
    Engine,
    Heartbeat,
    Launch,
    Notifier,
    Quiescer,
    Revealed,
    SecretSource,
    ignore_warning,
)
from owui_vault.system.clock import SystemClock

# Half of a start's imports, and only an operation on an instance needs them.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from owui_vault.instance.container.container import FoundContainer
    from owui_vault.instance.runtime import RuntimeEnvironment

DEFAULT_INSTANCE_NAME = "open-webui"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOptions:
    """What may be said of an instance, wherever its data are.

    `name` is its series in the repositories. `exclude` and `include` are patterns relative to the data directory.
    `store_unproven`: whether a snapshot without proof is stored as INCOMPLETE, or refused. `ollama`: how much of
    Ollama's models, which are in `ollama_dir`, is stored.
    """

    name: str = DEFAULT_INSTANCE_NAME
    quiesce: Quiesce = Quiesce.AUTO
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    store_unproven: bool = True
    secret_key: SecretSource | None = None
    database_url: SecretSource | None = None
    ollama: OllamaModels = OllamaModels.OFF
    ollama_dir: Path | None = None  # None: none, or for a container the one found on the same engine


@dataclass(frozen=True, slots=True)
class DataDirectory(InstanceOptions):
    """An instance whose data are in a directory on this machine: bind mount, volume path or pip install.

    `path` may be given as text.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", given.path(self.path, "the data directory"))


@dataclass(frozen=True, slots=True)
class Container(InstanceOptions):
    """An instance in a container of Docker or Podman, by name or id; empty: the only Open WebUI container there is.

    Its data are located at the start of each operation. `engine` is an address such as `unix:///run/podman/podman.sock`;
    empty: `$DOCKER_HOST`, otherwise the usual sockets.
    """

    container: str = ""
    engine: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Repository:
    """A place to store snapshots in, under a name of its own. `keep` may be empty: then nothing is ever pruned.

    `credentials` say in words what else opens it and where that is: for the sheet that `init` prints.
    `optional`: it may be away, as a disk is that is carried out of the house; then that is a note and no failure.
    `append_only`: it lets nothing be deleted from here, so that it is never pruned from here.
    """

    name: str
    engine: Engine
    keep: RetentionPolicy = field(default_factory=RetentionPolicy)
    passphrase: DescribedSecret | None = None  # for `init` to say where it is, and to warn of an unwise place
    secrets: tuple[DescribedSecret, ...] = ()  # others that the engine takes, to warn of as well
    optional: bool = False
    credentials: tuple[str, ...] = ()
    append_only: bool = False

    def excuses(self, error: VaultError) -> bool:
        """Whether this is no failure: it is away, and may be."""
        return self.optional and isinstance(error, RepositoryMissingError | RepositoryUnreachableError)

    def unanswered(self, error: VaultError) -> UnansweredRepository:
        """This one, which did not answer."""
        return UnansweredRepository(repository=self.name, error=error, excused=self.excuses(error))


@dataclass(frozen=True, slots=True)
class Subscription:
    """A notifier, and what it hears: `when`, about which `plans` (none named: all), and again after `remind`.

    `name` is what messages call it. `remembered_as` is by what it is known again at the next run, whatever its place in
    the list is then; only a keyed hash of it is written down.
    """

    notifier: Notifier
    when: tuple[EventKind, ...] = field(default=USUAL_KINDS, kw_only=True)
    remind: timedelta = field(default=REMIND, kw_only=True)
    plans: tuple[str, ...] = field(default=(), kw_only=True)
    name: str = field(default="", kw_only=True)
    remembered_as: str = field(default="", kw_only=True, repr=False)

    @property
    def called(self) -> str:
        """What messages call it."""
        return self.name or type(self.notifier).__name__

    def hears(self, kind: EventKind, plan: str) -> bool:
        """Whether this is for it; what is about no plan is for everybody."""
        return kind in self.when and self.is_about(plan)

    def is_about(self, plan: str) -> bool:
        """Whether it wants to know of this plan."""
        return not plan or not self.plans or plan in self.plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the operations, in seconds. `parallel`: how many repositories are stored to at a time."""

    parallel: int = 2
    lock_wait_seconds: float = 300.0
    idle_seconds: float = 600.0
    store_seconds: float | None = None
    call_seconds: float = 120.0
    capture: CaptureLimits = field(default_factory=CaptureLimits)

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise ConfigError("limits.parallel must be at least 1", hint="1 stores to one repository after the other.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """Who listens to an operation, and who may end it. `warn` takes what engines say about the result."""

    progress: ProgressSink = ignore_progress
    warn: Callable[[str], None] = ignore_warning
    cancel: threading.Event = NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationContext:
    """Everything an operation works with."""

    instance: DataDirectory | Container | None
    repositories: tuple[Repository, ...]
    state: StateDirectory
    quiescer: Quiescer | None = None
    application: Application | None = None  # None: looked for among the processes of this machine
    container: FoundContainer | None = None  # where the instance runs in one, once it was found
    notifiers: tuple[Subscription, ...] = ()
    heartbeat: Heartbeat | None = None
    plan_heartbeats: Mapping[str, Heartbeat] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    limits: Limits = Limits()
    collapse: CollapseLimits = field(default_factory=CollapseLimits)
    config_file: Path | None = None
    series_name: str | None = None  # None: the instance's name
    secrets: Revealed = field(default_factory=Revealed, repr=False)  # of one operation
    environ: Mapping[str, str] = field(default_factory=dict)  # may name an engine of containers; engines inherit of it
    notices: NoticeSink = ignore_notice  # whoever waits for an answer or a lock

    def the_instance(self) -> DataDirectory:
        """The instance. Raises ConfigError where none is configured."""
        if self.instance is None:
            raise ConfigError(
                "no instance is configured", hint="Set instance.container or instance.data_dir, or pass --data-dir."
            )
        if isinstance(self.instance, Container):
            raise TypeError("an operation that needs the data must locate the container first")
        return self.instance

    def with_container(self) -> OperationContext:
        """The same with the container resolved, at the start of an operation; as it is where none is configured.

        After that an operation works with what it always works with: a data directory on this machine, a quiescer, an
        application. Only the engine's description of the container is added.
        Raises InstanceError, and SecretError when there is no database and a configured URL of it cannot be obtained.
        """
        wanted = self.instance
        if not isinstance(wanted, Container):
            return self
        from owui_vault.containers.reader import engine_addresses
        from owui_vault.instance.container.application import ContainerApplication
        from owui_vault.instance.container.container import find_container
        from owui_vault.instance.runtime import require_database_here
        from owui_vault.quiesce.container.quiescer import ContainerQuiescer

        addresses = (wanted.engine,) if wanted.engine else engine_addresses(self.environ)
        found = find_container(wanted.container, addresses)
        if not os.path.lexists(found.data_dir / DATABASE):
            require_database_here(found, wanted.database_url.reveal() if wanted.database_url else "")
        options = {each.name: getattr(wanted, each.name) for each in fields(InstanceOptions)}
        options["ollama_dir"] = wanted.ollama_dir or next(iter(found.ollama), None)
        quiescer = self.quiescer or ContainerQuiescer(
            *found.held,
            engine=found.record.engine,
            stop_seconds=self.limits.capture.stop_seconds,
            names=(found.record.name, *found.record.together),
        )
        return replace(
            self,
            instance=DataDirectory(found.data_dir, **options),
            container=found,
            quiescer=quiescer,
            application=self.application or ContainerApplication(found.record, self.clock),
        )

    def inspect_environment(self) -> RuntimeEnvironment:
        """What stands around the data directory. Raises SecretError when the configured key cannot be obtained."""
        from owui_vault.instance.data_dir import folder_at
        from owui_vault.instance.runtime import inspect_environment

        instance = self.the_instance()
        return inspect_environment(
            folder_at(instance.path),
            secret_key=instance.secret_key,
            database_url=instance.database_url.reveal() if instance.database_url else "",
            container=self.container,
            launch=self.launch(),
        )

    def fingerprint(self) -> str | None:
        """Which instance is in the data directory now; empty when nobody has signed up, None when it cannot be told."""
        from owui_vault.instance.data_dir import probe_instance

        facts = probe_instance(self.the_instance().path).facts
        return facts.fingerprint if facts else None

    def launch(self) -> Launch | None:
        """What the instance is started with, where who makes it quiet knows that."""
        return self.quiescer.launch() if self.quiescer else None

    def series(self, instance: str | None = None) -> str:
        """The name of the series an operation is about."""
        return self.named_series(instance) or DEFAULT_INSTANCE_NAME

    def named_series(self, instance: str | None = None) -> str | None:
        """The series that was asked for, else the configured one; None where nobody named any."""
        return instance or (self.instance.name if self.instance else self.series_name)

    def select(self, names: Sequence[str] | str | None) -> tuple[Repository, ...]:
        """The repositories of these names, in configuration order; all without names. Raises ConfigError."""
        wanted = given.texts(() if names is None else names, "repository")
        known = {repository.name for repository in self.repositories}
        for name in wanted:
            if name not in known:
                raise ConfigError(
                    f"there is no repository named {name!r}", hint=f"Configured: {', '.join(sorted(known)) or 'none'}."
                )
        if not known:
            raise ConfigError("no repository is configured", hint="Add one under `repositories`, or pass --repository.")
        return tuple(each for each in self.repositories if not wanted or each.name in wanted)


def require_valid_names(
    instance: DataDirectory | Container | None, series: str | None, repositories: Sequence[Repository]
) -> None:
    """Raise ConfigError for a name that could not be written down, or a name or place that two repositories share.

    Names of series and repositories become names of folders and stand in labels, whoever gives them. Whoever names a
    place twice has one copy where two were meant.
    """
    if not isinstance(instance, DataDirectory | Container | None):
        raise ConfigError(f"{instance!r} is no instance", hint="Give DataDirectory(path), Container(name), or None.")
    if any(not isinstance(each, Repository) for each in repositories):
        raise ConfigError("a repository is given as Repository(name, engine)", hint="Give a list of them.")
    names = [repository.name for repository in repositories]
    for name in names:
        _require_valid_name(name, "a repository")
    if len(set(names)) < len(names):
        raise ConfigError("two repositories have the same name", hint="Give each a name of its own.")
    places: dict[str, str] = {}
    for repository in repositories:
        before = places.setdefault(repository.engine.location, repository.name)
        if before != repository.name:
            raise ConfigError(
                f"the repositories {before!r} and {repository.name!r} are at the same place",
                hint="Give each a location of its own: two copies in one place are one copy.",
            )
    for named in (instance.name if instance else None, series):
        if named is not None:
            _require_valid_name(named, "an instance")


def require_derived(quiescer: Quiescer | None, engines: Sequence[Engine]) -> None:
    """Raise TypeError for parts that lack what their port has a default for: not in the middle of an operation."""
    of_engines = ("forget", "initialize_like", "can_copy_from", "copy_from")
    parts: list[tuple[object, type, tuple[str, ...]]] = [(engine, Engine, of_engines) for engine in engines]
    if quiescer is not None:
        parts.append((quiescer, Quiescer, ("remarks", "launch", "places")))
    for part, port, optional in parts:
        missing = [name for name in optional if not hasattr(type(part), name)]
        if missing:
            raise TypeError(
                f"{type(part).__name__} has no {', '.join(missing)}: derive it from owui_vault.ports.{port.__name__},"
                " which has a default for what is optional"
            )


def _require_valid_name(name: str, what: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(
            f"{name!r} cannot be the name of {what}",
            hint="Use at most 63 of a-z 0-9 . _ -, beginning with a letter or digit.",
        )


def require_valid_plan(plan: str) -> None:
    """Raise ConfigError for what cannot be the name of a plan."""
    if plan:
        _require_valid_name(plan, "a plan")


def require_valid_tags(tags: Sequence[str]) -> None:
    """Raise ConfigError for what cannot be a tag of a snapshot."""
    for tag in tags:
        if not re.fullmatch(TAG_PATTERN, tag):
            raise ConfigError(
                f"{tag!r} is not a tag", hint="A tag has 1 to 64 letters, digits, dots, underscores and dashes."
            )
