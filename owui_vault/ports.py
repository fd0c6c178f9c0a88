"""The seams: what an engine, a quiescer, a secret source, a notifier and a clock must guarantee.

`owui_vault.testing` holds a conformance suite for the first two; authors of their own subclass it.
"""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from owui_vault.model import (
    NEVER,
    Beat,
    Deadline,
    Entry,
    Event,
    InstanceState,
    Label,
    ProgressSink,
    Quiesce,
    RepositoryInfo,
    Snapshot,
    StoreReceipt,
    ignore_progress,
)


class Clock(Protocol):
    """Wall and monotonic time."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds; only differences mean something."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@runtime_checkable
class SecretSource(Protocol):
    """Where a passphrase or key comes from."""

    def reveal(self) -> str:
        """The secret itself, asked for once per operation. Raises SecretError."""


@runtime_checkable
class DescribedSecret(SecretSource, Protocol):
    """A source that can describe itself without revealing anything."""

    def describe(self) -> str:
        """Where the secret is kept."""

    def warnings(self) -> tuple[str, ...]:
        """What is unsafe about that place. Never raises."""


class Revealed:
    """The secrets of one operation, each revealed once, however many engine calls need it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, tuple[SecretSource, str]] = {}  # by identity; the source is kept, and so its number

    def of(self, source: SecretSource | str) -> str:
        """The text itself. Raises SecretError; a failure is not kept."""
        if isinstance(source, str):
            return source
        with self._lock:
            if id(source) not in self._known:
                self._known[id(source)] = (source, source.reveal())
            return self._known[id(source)][1]


def ignore_warning(_text: str) -> None:
    """The `warn` of callers that ignore warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The context of one call of an engine.

    `folder` is private to one repository (0700): caches, security state. It may be lost between two calls; that only
    costs time. Short calls end after `timeout_seconds` in total; long ones (store, fetch, compact, verify) after
    `idle_seconds` without a byte or message. `reread` asks a store to read every file, whatever size and mtime say.
    When `cancel` is set, the engine is ended properly and CancelledError is raised.
    """

    folder: Path
    shared: Path | None = None  # as private, and common to all repositories: for what goes by their own ids
    timeout_seconds: float = 120.0
    idle_seconds: float = 600.0
    store_seconds: float | None = None  # bound of one store in all
    lock_seconds: float = float("inf")  # an engine that waits for another program's lock by itself waits no longer
    reread: bool = False
    progress: ProgressSink = ignore_progress
    warn: Callable[[str], None] = ignore_warning  # about the result; what is told has not failed
    complain: Callable[[str], None] = ignore_warning  # each line as it comes, while nobody knows what will come of it
    # Asked once by an engine that can hold a finished snapshot back: what is no longer as it was when it was read. With
    # anything of it the snapshot is INCOMPLETE. An engine that cannot never asks; then its caller looks.
    last_look: Callable[[], Sequence[str]] | None = None
    cancel: threading.Event = NEVER
    # By which the user's own profiles, agents, proxies and key files are found: the vault's.
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    # one for all calls of an operation
    secrets: Revealed = field(default_factory=Revealed, repr=False, compare=False)


class Engine(Protocol):
    """An encrypted, deduplicating repository. Stateless: no call depends on an earlier one.

    An engine derives from this: what is optional has its default here.

    Every call raises EngineError or one of its kinds, DeadlineExceededError, CancelledError, SecretError,
    ProgramMissingError, or NoSpaceError for a file system that is full and not the repository's. After an error no lock
    of ours is left, and nothing is listed as complete that is not.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """`restic`, `borg`, or a name of your own, as it appears in labels."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the repository is, credentials removed."""

    @abstractmethod
    def initialize(self, call: Call) -> RepositoryInfo:
        """Create the repository. Raises RepositoryExistsError before touching an existing one."""

    def initialize_like(self, source: Engine, call: Call, source_call: Call) -> RepositoryInfo:
        """Create the repository so that it cuts files as `source` does, which `can_copy_from` accepts.

        Raises as `initialize` does.
        """
        del source, source_call  # for most programs that is no property of a repository
        return self.initialize(call)

    @abstractmethod
    def inspect(self, call: Call) -> RepositoryInfo:
        """Prove that the repository is reachable, the passphrase fits and the program is new enough."""

    @abstractmethod
    def store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        """Write everything below `tree` as one snapshot carrying `label`.

        Unreadable files end up in `skipped`, and the snapshot is marked INCOMPLETE in the repository itself; neither is
        an exception. Go by size and mtime, unless `call.reread`: `tree` is the same path in every run. A run that dies
        leaves nothing that is listed as COMPLETE and lacks what could not be read. The caller checks whether what was
        read stayed unchanged: before the snapshot is committed if the engine asks for it (`Call.last_look`, as borg
        does), otherwise afterwards, and until then only the caller's own machine knows.
        """

    @abstractmethod
    def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
        """Everything in the repository, oldest first, including foreign snapshots (without a label of ours).

        Called before an instance is touched, so it raises ProgramMissingError for a program that is too old.
        """

    @abstractmethod
    def contents(self, engine_id: str, call: Call) -> Iterator[Entry]:
        """All paths of one snapshot, parents first or not, not all of them in memory.

        Every error is raised by the call and not by the iterator: a caller retries if the repository is locked, and can
        do that only here. Raises SnapshotMissingError.
        """

    @abstractmethod
    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        """Write the snapshot, or only `paths` of it (and what is below them), into the existing directory `target`.

        `a/b` lands at `target/a/b` with mode, mtime, access lists, extended attributes and (as root) owner, holes as
        holes if the program can. An owner that cannot be set prevents nothing else from being restored, and is no
        error: the caller compares owners. Nothing outside `target` is written, whatever the snapshot holds. A path that
        the snapshot does not hold is left out without an error. Raises SnapshotMissingError, RepositoryDamagedError,
        NoSpaceError.
        """

    @abstractmethod
    def relabel(self, engine_id: str, label: Label, call: Call) -> Snapshot:
        """Replace the label; the data stay. The engine's id may change, ours does not."""

    @abstractmethod
    def remove(self, engine_ids: Sequence[str], call: Call) -> None:
        """Remove exactly these snapshots. Raises SnapshotMissingError before touching any; checks afterwards."""

    @abstractmethod
    def compact(self, call: Call) -> int | None:
        """Free what no snapshot uses. Returns bytes freed, or None if the program does not say.

        Raises RepositoryAppendOnlyError if the repository keeps everything.
        """

    @abstractmethod
    def verify(self, call: Call, *, read_data: float = 0.0) -> tuple[str, ...]:
        """Check the repository, `read_data` from 0 (structure) to 1 (every byte). Damage is returned, not raised."""

    def forget(self, call: Call) -> None:
        """Accept the repository as it is from now on, where the program would refuse an older state of it.

        What keeps its encryption sound is not forgotten.
        """
        del call  # most programs remember nothing

    def can_copy_from(self, source: Engine) -> bool:
        """Whether `copy_from` this one is possible. Touches nothing."""
        del source  # most programs cannot: then a snapshot passes through this machine
        return False

    def copy_from(self, source: Engine, engine_ids: Sequence[str], call: Call, source_call: Call) -> None:
        """Bring these snapshots of another repository here, labels and all, without restoring them.

        What was brought before is passed over. After an error or a death some of them may be here, each of them whole.
        Raises SnapshotMissingError before anything is written.
        """
        del engine_ids, call, source_call
        raise TypeError(f"{self.name} copies nothing from {source.name}")


@dataclass(frozen=True, slots=True)
class Observation:
    """What a quiescer sees. `identity` changes whenever the instance is restarted, by anyone."""

    state: InstanceState
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What an instance is started with. Later settings `files` override earlier ones, and all override `settings`."""

    told_by: str  # `unit open-webui.service`
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    files: tuple[Path, ...] = ()
    folder: Path | None = None  # where it is started, if that is told
    unknown: tuple[str, ...] = ()  # what cannot be known of it, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """Remarks about a period of quiet: `warnings` for the operator, `unchecked` for the record."""

    warnings: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()  # what could not be confirmed, each a clause that begins with "whether"

    def __add__(self, other: Remarks) -> Remarks:
        """Both, each remark once."""
        return Remarks(
            warnings=tuple(dict.fromkeys((*self.warnings, *other.warnings))),
            unchecked=tuple(dict.fromkeys((*self.unchecked, *other.unchecked))),
        )


class Quiescer(Protocol):
    """Makes one instance quiet and resumes it. All calls are idempotent, and decide by the present state.

    A quiescer derives from this: what is optional has its default here.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages: `process 812`, `unit open-webui.service`, `container open-webui`."""

    @property
    @abstractmethod
    def modes(self) -> frozenset[Quiesce]:
        """Which of PAUSE and STOP it can do."""

    @abstractmethod
    def observe(self) -> Observation:
        """Observe without touching. Raises InstanceNotFoundError."""

    @abstractmethod
    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        """Return only when no process of the instance can write. Raises QuiesceError, with every step rolled back."""

    @abstractmethod
    def confirm(self, mode: Quiesce, since: Observation) -> None:
        """Raise QuiesceError unless it has been quiet, and the same one, ever since `since` was observed."""

    @abstractmethod
    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        """Return only when the instance is running again. Raises ResumeError."""

    @abstractmethod
    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        """A program that does `resume` without us: idempotent, status 0 once the instance is up. Holds no secret."""

    @property
    def remarks(self) -> Remarks:
        """What was not as it should be, the last time it was made quiet."""
        return Remarks()

    def launch(self) -> Launch | None:
        """The settings the instance is started with, even while it is not running; None if that is not known.

        What cannot be known of them is reported, not raised.
        """
        return None

    def places(self) -> tuple[Path, ...]:
        """Programs it starts, and directories they are started in, even while it is not running."""
        return ()


class Application(Protocol):
    """The application that an instance runs: what it can open, and whether it came up."""

    def revisions(self) -> frozenset[str] | None:
        """The schema revisions its migrations know; None if they cannot be read."""

    def wait_until_healthy(self, deadline: Deadline) -> str:
        """What it answers once it is up, for the report; empty, at once, if there is nowhere to ask.

        Raises ResumeError if it does not come up in time.
        """


class ApplicationRunner(Protocol):
    """Runs an application on one directory. What runs where, how closed off and for how long: its maker decides."""

    @abstractmethod
    def start(self) -> str:
        """Start it; return what it answers, once it is well, or what was seen of it where it cannot be asked.

        Bounded: raises ResumeError if it does not come up, or goes down again. It may still be running then.
        """

    @abstractmethod
    def stop(self) -> None:
        """Return only when nothing of it can write, whatever became of `start`. Raises QuiesceError."""


class Held(Protocol):
    """An instance that is quiet right now."""

    def confirm(self) -> None:
        """Raise QuiesceError unless it has been quiet, and the same one, since the beginning."""

    @property
    def stopped_before(self) -> str:
        """What was found stopped, so that nothing had to be held: quiet is assumed then, and not enforced.

        A capture does not rely on that alone.
        """
        return ""


class Quiet(Protocol):
    """How a capture asks for quiet: `with quiet(Quiesce.PAUSE, limit_seconds) as held: …`.

    The vault provides it, with guardian and journal behind it. The instance runs again when the block ends.
    """

    @property
    def modes(self) -> frozenset[Quiesce]:
        """Which modes are possible."""

    def __call__(self, mode: Quiesce, limit_seconds: float) -> AbstractContextManager[Held]:
        """Make quiet for the length of a `with` block, at most `limit_seconds` long."""

    @property
    def quiet_seconds(self) -> float | None:
        """How long the instance could not work, in all blocks so far: without guardian and journal. None: unknown."""
        return None

    @property
    def remarks(self) -> Remarks:
        """What was not as it should be, in all blocks so far."""
        return Remarks()


class Notifier(Protocol):
    """Where notifications go."""

    def notify(self, event: Event) -> None:
        """May raise anything: the vault turns it into a warning on the report.

        Called in a thread of its own, which is not waited for longer than ten seconds.
        """


class Heartbeat(Protocol):
    """Something outside of this machine that expects signs of life, and raises the alarm when they stay away."""

    def beat(self, beat: Beat) -> None:
        """As for a notifier: may raise anything, and is not waited for longer than ten seconds."""
