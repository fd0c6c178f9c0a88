"""The basic types: modes, outcomes, secrets, deadlines, progress and who is waited for."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

NAME_PATTERN = r"[a-z0-9][a-z0-9._-]{0,62}"  # of series, repositories and plans
TAG_PATTERN = r"[A-Za-z0-9._-]{1,64}"  # the user's
_LISTENING_SECONDS = 0.1


class Quiesce(Enum):
    """How quiet the instance is made for a snapshot."""

    AUTO = "auto"  # live, then pause where that is possible; never stop
    LIVE = "live"  # not touched at all
    PAUSE = "pause"  # frozen for milliseconds
    STOP = "stop"  # cold: stopped and started again


class Proof(Enum):
    """How the one instant of a snapshot was proven; what a label calls its mode."""

    LIVE = "live"
    PAUSE = "pause"
    STOP = "stop"
    IDLE = "idle"  # nobody ran: no process had anything of it open for writing, before and after
    UNPROVEN = "unproven"


class Outcome(Enum):
    """What a snapshot is worth."""

    COMPLETE = "complete"  # one proven instant, every file read, every check passed: a restore point
    INCOMPLETE = "incomplete"  # stored, but something is missing, damaged or not proven
    FAILED = "failed"  # not stored anywhere: of reports only


class Component(Enum):
    """The parts of an instance, as configuration, manifest and `--component` name them."""

    DATABASE = "database"
    VECTORS = "vectors"
    UPLOADS = "uploads"
    GENERATED_IMAGES = "generated_images"
    PLUGIN_FILES = "plugin_files"
    LEGACY = "legacy"
    OTHER = "other"
    CACHE = "cache"
    AUDIT_LOG = "audit_log"
    SECRET_KEY = "secret_key"  # noqa: S105  the name of a component
    CONFIGURATION = "configuration"
    OLLAMA = "ollama"  # models of another program, beside the instance


class ComponentKind(Enum):
    """What a component is made of, and so how it is read, checked and brought back."""

    SQLITE = "sqlite"  # one SQLite database
    CHROMA = "chroma"  # Chroma's SQLite database with its HNSW indexes
    FILES = "files"
    KEY = "key"  # one small file that holds a key
    OLLAMA = "ollama"  # manifests and blobs of Ollama's


class Compression(Enum):
    """How hard an engine tries to make small what it stores, on one scale for both."""

    OFF = "off"
    FAST = "fast"
    MAX = "max"


class OllamaModels(Enum):
    """How much of Ollama's models a snapshot holds."""

    OFF = "off"
    MODELS = "models"  # their list: what to pull again
    BLOBS = "blobs"  # all of them


class VerifyDepth(Enum):
    """How a file was checked by `verify`."""

    CONTENT = "content"  # fetched, and its SHA-256 compared with the manifest's
    READ = "read"  # fetched, guarded by the engine's own checksums; name and size are the manifest's
    LISTED = "listed"  # not read: name and size are the manifest's


class InstanceState(Enum):
    """What a quiescer sees."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Secret:
    """A passphrase or key. Prints as `Secret(…)`; only `reveal` gives the text.

    It is its own `ports.SecretSource`, so a plain secret can be used wherever a source is expected.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds. Handed down, never extended."""

    expires: float
    monotonic: Callable[[], float] = field(repr=False, compare=False)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.expires - self.monotonic())

    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.remaining() == 0.0


class Step(Enum):
    """What a progress event is about, in the order of use. `words` say it to a person."""

    words: str

    def __new__(cls, value: str, words: str) -> Step:
        """The value, and beside it the words."""
        step = object.__new__(cls)
        step._value_ = value
        step.words = words
        return step

    INSPECT = "inspect", "inspecting the instance"
    QUIESCE = "quiesce", "making the instance quiet"
    CAPTURE = "capture", "capturing one instant"
    CHECK = "check", "checking the restored files"
    STORE = "store", "storing"
    FETCH = "fetch", "fetching"
    REMOVE = "remove", "removing"
    COMPACT = "compact", "freeing space"
    VERIFY = "verify", "verifying"
    REPLACE = "replace", "replacing"
    RECOVER = "recover", "recovering"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One event of a running operation.

    A step begins with `done_bytes` 0 and no text; `text` is one line for a person if a step has something to report.
    `total_bytes` is None if it is not known (borg never knows it).
    """

    step: Step
    repository: str = ""
    done_bytes: int = 0
    total_bytes: int | None = None
    text: str = ""


ProgressSink = Callable[[Progress], None]


def ignore_progress(_event: Progress) -> None:
    """The sink of those who do not listen."""


# What a person hears who waits while nothing moves: whose answer or lock it is that is waited for.


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A repository was asked for something, and has not answered yet."""

    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """It has answered, or failed."""

    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Somebody else has the lock of `what`, a data directory or a repository. `holder` is who, as far as known."""

    what: str
    holder: str
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One line that an engine complains with while it works on a repository. It may yet succeed."""

    repository: str
    text: str


Notice: TypeAlias = Asking | Answered | Waiting | Complaint
NoticeSink = Callable[[Notice], None]


def ignore_notice(_notice: Notice) -> None:
    """The sink of those who do not listen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """Where an instance keeps its state, according to its settings: only what is in the data directory is backed up."""

    database: str = "sqlite"  # or the kind and the host of another one
    vectors: str = "chroma"
    storage: str = "local"  # of uploads


class NeverCancelled(threading.Event):
    """The `cancel` of those who never set it."""

    def set(self) -> None:
        """Refuse: this one is shared by everybody."""
        raise TypeError("this event is never set")


NEVER = NeverCancelled()


class Listening(threading.Event):
    """An event of one's own that is also set while the caller's is, and never sets that one."""

    def __init__(self, callers: threading.Event) -> None:
        super().__init__()
        self._callers = callers

    def is_set(self) -> bool:
        """Whether either is."""
        return super().is_set() or self._callers.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Until either is set: both are looked at in turn, since no one wait is for two."""
        left = math.inf if timeout is None else timeout
        while not self.is_set() and left > 0:
            piece = min(_LISTENING_SECONDS, left)
            super().wait(piece)
            left -= piece
        return self.is_set()
