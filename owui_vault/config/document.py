"""The structure of `vault.yaml`: which keys go where. Needs pydantic; imported only when a file is read."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic import Tag as Choice

from owui_vault.config import values
from owui_vault.config.notify_part import HeartbeatField, NotificationPart
from owui_vault.config.secret_part import (
    SHORT_FORM,
    KeyFile,
    Part,
    Passphrase,
    PathText,
    Text,
    Value,
    VariableName,
    form,
    in_context,
)
from owui_vault.config.settings import DEFAULT_INSTANCE_NAME
from owui_vault.model import NAME_PATTERN, TAG_PATTERN
from owui_vault.model.plans import MOST_INTERVAL, MOST_JITTER


def _unit(value: object) -> str:
    return values.matching(value, values.UNIT_PATTERN, "must be the name of a systemd unit")


def _program(value: object, around: values.ConfigContext) -> str:
    return str(values.path(value, around)) if "/" in values.text(value) else str(value)


def _store_limit(value: object) -> timedelta | None:
    return None if value == "none" else values.positive_duration(value)


def _interval(value: object) -> timedelta:
    return values.at_most(MOST_INTERVAL, values.positive_duration(value))


def _jitter(value: object) -> timedelta:
    return values.at_most(MOST_JITTER, values.duration(value))


def _grace(value: object) -> timedelta:
    return values.at_most(MOST_INTERVAL, values.duration(value))


def _or_off(value: object) -> object:
    """YAML takes `off` for a truth value."""
    return "off" if value is False else value


Name = Annotated[str, BeforeValidator(values.name), form(NAME_PATTERN)]
Tag = Annotated[str, BeforeValidator(values.tag), form(TAG_PATTERN)]
Count = Annotated[int, BeforeValidator(values.count), WithJsonSchema({"type": "integer", "minimum": 0})]
Rate = Annotated[int, BeforeValidator(values.rate), form(values.RATE_PATTERN, examples=["2 MiB"])]
Size = Annotated[int, BeforeValidator(values.size), form(values.RATE_PATTERN, examples=["10 MiB"])]
Parallel = Annotated[
    int, BeforeValidator(values.parallel), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 32})
]
Truth = Annotated[bool, BeforeValidator(values.truth), WithJsonSchema({"type": "boolean"})]
Share = Annotated[
    float | None,
    BeforeValidator(values.share),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^{values.SHARE_PATTERN}$"}]}),
]
Percentage = Annotated[float, BeforeValidator(values.percentage), form(values.SHARE_PATTERN, examples=["50%"])]
Duration = Annotated[timedelta, BeforeValidator(values.duration), form(values.DURATION_PATTERN, examples=["5m"])]
PositiveDuration = Annotated[
    timedelta, BeforeValidator(values.positive_duration), form(values.DURATION_PATTERN, examples=["30s"])
]
Interval = Annotated[timedelta, BeforeValidator(_interval), form(values.DURATION_PATTERN, examples=["1d"])]
Jitter = Annotated[timedelta, BeforeValidator(_jitter), form(values.DURATION_PATTERN, examples=["30m"])]
Grace = Annotated[timedelta, BeforeValidator(_grace), form(values.DURATION_PATTERN, examples=["6h"])]
StoreLimit = Annotated[
    timedelta | None, BeforeValidator(_store_limit), form(f"({values.DURATION_PATTERN}|none)", examples=["6h"])
]
Program = Annotated[str, in_context(_program), WithJsonSchema({"type": "string", "minLength": 1})]


class InstancePart(Part):
    """The Open WebUI to back up. Restoring, listing, verifying and pruning need none."""

    name: Name = DEFAULT_INSTANCE_NAME
    """The name of its series of snapshots."""
    data_dir: PathText | None = None
    """Its data directory: bind mount, path of the volume, or DATA_DIR of a pip install."""
    container: Text | None = None
    """The name of its container."""
    quiesce: Literal["auto", "live", "pause", "stop"] = "auto"
    """How it is made quiet; `auto` is `live`, then `pause` where that is possible, and never `stop`."""
    include: tuple[Annotated[str, BeforeValidator(values.pattern), WithJsonSchema({"type": "string"})], ...] = ()
    """Patterns relative to the data directory that are stored although they would be left out."""
    exclude: tuple[
        Annotated[str, BeforeValidator(values.excluding_pattern), WithJsonSchema({"type": "string"})], ...
    ] = ()
    """Patterns relative to the data directory that are left out."""
    unproven: Literal["store", "refuse"] = "store"
    """What to do when no single instant can be proven: store it as INCOMPLETE, or refuse."""
    systemd_unit: Annotated[str, BeforeValidator(_unit), form(values.UNIT_PATTERN)] | None = None
    """The unit it runs in, so that it can be paused and stopped."""
    pid_file: PathText | None = None
    """A file with the id of its process, so that it can be paused."""
    secret_key: KeyFile | None = None
    """Where its WEBUI_SECRET_KEY is: a file, or any source of a secret."""
    database_url: Value | None = None
    """Its DATABASE_URL, where that is set."""
    ollama: Annotated[Literal["off", "models", "blobs"], BeforeValidator(_or_off)] = "off"
    """How much of Ollama's models is stored: nothing, their list, or all of them (they are large)."""
    ollama_dir: PathText | None = None
    """Where Ollama keeps its models, when `inspect` does not find it: `~/.ollama`, or the volume mounted there."""

    @model_validator(mode="after")
    def _fits_together(self) -> InstancePart:
        if self.data_dir and self.container:
            raise ValueError("has both 'data_dir' and 'container'; one of them says where the data are")
        if self.container and (self.systemd_unit or self.pid_file):
            raise ValueError("has 'container', whose engine can pause it; leave out 'systemd_unit' and 'pid_file'")
        if self.data_dir and self.ollama != "off" and not self.ollama_dir:
            raise ValueError("has 'ollama', which needs 'ollama_dir' here: where Ollama keeps its models")
        if self.systemd_unit and self.pid_file:
            raise ValueError("has both 'systemd_unit' and 'pid_file'; one of them says what to pause")
        return self


LIST, MAPPING = "[list]", "[mapping]"  # what may be either; no part of a key's path


def list_or_mapping(value: object) -> str:
    """Which of the two was written, so that mistakes are told of that one only."""
    return MAPPING if isinstance(value, dict) else LIST


class RulesPart(Part):
    """How many snapshots to keep; each rule counts on its own, in UTC."""

    last: Count = 0
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0
    within: PositiveDuration | None = None
    """Everything younger than this, measured from the newest."""

    @property
    def has_rules(self) -> bool:
        """Whether it keeps anything by time or number."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return any(counts) or self.within is not None


class TagRulesPart(RulesPart):
    """How many of the snapshots that carry a tag to keep."""

    @model_validator(mode="after")
    def _keeps_something(self) -> TagRulesPart:
        if not self.has_rules:
            raise ValueError("would keep nothing; give at least one rule, such as weekly: 8")
        return self


class KeepPart(RulesPart):
    """How many snapshots to keep; each rule counts on its own, in UTC."""

    tags: Annotated[
        Annotated[tuple[Tag, ...], Choice(LIST)] | Annotated[dict[Tag, TagRulesPart], Choice(MAPPING)],
        Discriminator(list_or_mapping),
    ] = ()
    """A list: what carries one of these tags stays for ever. `{cold: {weekly: 8}}`: tags with rules of their own."""

    @model_validator(mode="after")
    def _keeps_something(self) -> KeepPart:
        if not self.has_rules and not self.tags:
            raise ValueError("would keep nothing; give at least one rule, such as daily: 7, or leave 'keep' out")
        if not self.has_rules and isinstance(self.tags, dict):
            raise ValueError("has rules for tags only; give the other snapshots a rule, too, such as daily: 7")
        return self


class RepositoryPart(Part):
    """One repository of restic or borg."""

    engine: Literal["restic", "borg"]
    """The program that keeps it."""
    location: Text
    """Where it is: whatever the engine accepts; a relative path is relative to this file."""
    passphrase: Passphrase
    """Where its passphrase is."""
    environment: dict[VariableName, Value] = Field(default_factory=dict)
    """Variables for the engine, such as the keys of a cloud store."""
    keep: KeepPart | None = None
    """What `prune` keeps; without it nothing is ever removed."""
    program: Program | None = None
    """The engine's program, if it is not the one in PATH."""
    options: dict[Text, Text] = Field(default_factory=dict)
    """restic's extended options (`-o NAME=VALUE`)."""
    upload_limit: Rate | None = None
    """How much is sent there per second at most."""
    download_limit: Rate | None = None
    """How much is fetched from there per second at most; restic only."""
    compression: Annotated[Literal["off", "fast", "max"], BeforeValidator(_or_off)] | None = None
    """How hard the engine tries to make small what it stores; otherwise between fast and max."""
    optional: bool = False
    """Whether it may be away, as a disk that is carried out of the house: then that is a note and no failure."""

    append_only: bool = False
    """Whether it lets nothing be deleted from here: then it is never pruned from here, which is said and no failure."""

    @model_validator(mode="after")
    def _options_are_restics(self) -> RepositoryPart:
        if self.options and self.engine == "borg":
            raise ValueError("has 'options', which only restic takes; for borg use 'environment' (BORG_RSH, …)")
        if self.download_limit and self.engine == "borg":
            raise ValueError("has 'download_limit', and borg cannot limit what it fetches")
        return self


class CollapsePart(Part):
    """From when on a fall of the numbers stops retention, until `prune --accept-collapse`."""

    users: Percentage | None = None
    """A fall by more than this of the highest number among the snapshots that are kept (50%); 100%: never."""
    chats: Percentage | None = None
    """The same of chats (30%)."""
    uploads: Percentage | None = None
    """The same of uploads (30%)."""
    least: Count | None = None
    """Numbers below this never count (20)."""


class LimitsPart(Part):
    """How long things may take, and how many may go on at once."""

    parallel: Parallel | None = None
    """How many repositories are stored to at a time (2)."""
    lock_wait: Duration | None = None
    """How long a second run waits for the first (5m)."""
    freeze: PositiveDuration | None = None
    """How long a pause may last at most (10s)."""
    stop: PositiveDuration | None = None
    """How long the instance may take to stop (60s)."""
    idle: PositiveDuration | None = None
    """How long an engine may be silent (10m)."""
    store: StoreLimit = None
    """How long storing may take in total (none)."""


_NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string", "pattern": f"^{NAME_PATTERN}$"}, "minItems": 1}


def _or_one(value: object) -> object:
    named = [value] if isinstance(value, str) else value
    if named == []:
        raise ValueError("names no repository")
    return named


class SchedulePart(Part):
    """When a plan is due: `{every: 1d}`; a cron expression stands in place of the mapping."""

    every: Interval
    """So long after the newest restore point; for a repository that is there only now and then."""

    _cron: str = PrivateAttr("")

    @property
    def cron(self) -> str:
        """The cron expression, where there is one."""
        return self._cron


def _or_cron(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    if not isinstance(value, str):
        return handler(value)
    part = SchedulePart.model_construct()
    part._cron = values.cron_expression(value)
    return part


class ReplicatePart(Part):
    """What a plan brings from one repository to others, after its snapshot."""

    source: Name = Field(alias="from")
    """The repository that has it."""
    to: Annotated[
        tuple[Name, ...],
        BeforeValidator(_or_one),
        WithJsonSchema({"anyOf": [_NAMES["items"], _NAMES]}),
    ]
    """The repository that is to have it, or a list of them."""


class PlanPart(Part):
    """What is done unattended, and when."""

    schedule: Annotated[SchedulePart, WrapValidator(_or_cron), Field(json_schema_extra={SHORT_FORM: "string"})]
    """A cron expression of five fields, or `{every: 1d}`."""
    timezone: Annotated[str, BeforeValidator(values.time_zone), WithJsonSchema({"type": "string"})] | None = None
    """Whose clock a cron expression goes by, such as Europe/Vienna; otherwise the machine's."""
    snapshot: Truth = True
    """Whether a snapshot is taken."""
    repositories: tuple[Name, ...] = ()
    """Which repositories it is about; otherwise all."""
    quiesce: Literal["auto", "live", "pause", "stop"] | None = None
    """How the instance is made quiet for this plan's snapshots; otherwise as `instance.quiesce` says."""
    tags: tuple[Tag, ...] = ()
    """The tags of its snapshots."""
    replicate: Annotated[
        Annotated[tuple[ReplicatePart, ...], Choice(LIST)] | Annotated[ReplicatePart, Choice(MAPPING)],
        Discriminator(list_or_mapping),
    ] = ()
    """What is brought from one repository to others afterwards: `{from: nas, to: offsite}`, or a list of these."""
    prune: Truth = True
    """Whether a repository that has `keep` is pruned afterwards."""
    verify: Share = None
    """Whether the snapshot is verified afterwards; `5%`: reading that much of the repository, `100%`: everything."""
    jitter: Jitter | None = None
    """Due up to this much later, on each machine always by the same amount."""
    catch_up: Truth = True
    """Whether a time that was missed is made up for as soon as possible."""
    grace: Grace | None = None
    """How late its result may be until it is overdue; otherwise a quarter of the interval, 2h at least, 24h at most."""
    heartbeat: HeartbeatField | None = None
    """A URL of its own that expects signs of life of this plan."""

    @model_validator(mode="after")
    def _fits_together(self) -> PlanPart:
        if self.timezone and not self.schedule.cron:
            raise ValueError("has 'timezone', which goes with a cron expression only")
        if not self.snapshot and self.quiesce:
            raise ValueError("has 'quiesce' and takes no snapshot")
        if not self.snapshot and self.tags:
            raise ValueError("has 'tags' and takes no snapshot")
        if not (self.snapshot or self.replicate or self.prune or self.verify is not None):
            raise ValueError("does nothing; leave it out, or let it take a snapshot, replicate, prune or verify")
        return self

    @property
    def replications(self) -> tuple[ReplicatePart, ...]:
        """One or several, as a tuple."""
        return self.replicate if isinstance(self.replicate, tuple) else (self.replicate,)

    @property
    def mirrors(self) -> frozenset[str]:
        """The repositories that it brings something to."""
        return frozenset(target for each in self.replications for target in each.to)


class LogFilePart(Part):
    """A file for the log, as JSON lines."""

    path: PathText
    """Where it is; its folder must be there."""
    size: Size | None = None
    """How long it may get (10 MiB)."""
    keep: Count | None = None
    """How many older ones are kept (5)."""


class VaultPart(Part):
    """The whole file."""

    instance: InstancePart | None = None
    repositories: dict[Name, RepositoryPart] = Field(default_factory=dict)
    plans: dict[Name, PlanPart] = Field(default_factory=dict)
    notifications: tuple[NotificationPart, ...] = ()
    """Who is told, and what."""
    heartbeat: HeartbeatField | None = None
    """A URL that expects signs of life: at the start of each run, and after its success or failure."""
    limits: LimitsPart | None = None
    collapse: CollapsePart | None = None
    report: PathText | None = None
    """A page to look at, written anew after each run."""
    metrics: PathText | None = None
    """A file for Prometheus (node_exporter's textfile collector: NAME.prom), written anew after each run."""
    log_file: LogFilePart | None = None
    state_dir: PathText | None = None
    """Where caches, journals and memories are kept."""
