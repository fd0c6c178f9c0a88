"""What runs of plans leave behind in the state: the run ledger's values, and what `run` and `history` return.

Durations are numbers here, since these values are read back from the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Self

from owui_vault.errors import VaultError


class RunOutcome(Enum):
    """How a run, one of its steps, or a step in one repository ended."""

    SUCCESS = "success"
    INCOMPLETE = "incomplete"  # stored, and not a restore point
    WRONG = "wrong"  # looked, and found something wrong
    FAILED = "failed"
    KILLED = "killed"  # it began, and nobody wrote down its end: killed, out of memory, power
    RUNNING = "running"
    SKIPPED = "skipped"  # of steps only; `note` says why


class PlanStep(Enum):
    """What a plan consists of, in this order."""

    SNAPSHOT = "snapshot"
    REPLICATE = "replicate"
    PRUNE = "prune"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorNote:
    """What is kept of an error."""

    type: str
    message: str
    hint: str = ""
    exit_code: int = 1

    @classmethod
    def of(cls, error: VaultError) -> Self:
        """The same as `--json` shows of it."""
        return cls(type=type(error).__name__, message=error.message, hint=error.hint, exit_code=error.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step in one repository. What does not belong to the step, or is not known, is empty or None."""

    repository: str
    outcome: RunOutcome
    snapshot: str = ""  # our id
    instant: datetime | None = None
    size_bytes: int | None = None
    added_bytes: int | None = None
    removed: int | None = None
    freed_bytes: int | None = None
    problems: tuple[str, ...] = ()
    note: str = ""  # why it was skipped
    silent: bool = False  # it did not answer in time: asked again at once, it would take as long
    error: ErrorNote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run. `captured`: whether the instance had been read, and perhaps been paused or stopped.

    `freeze_seconds` is how long the application could not write, `outage_seconds` how long it was stopped; None: that
    is not known.
    """

    step: PlanStep
    began: datetime
    outcome: RunOutcome
    took_seconds: float = 0.0
    results: tuple[StepResult, ...] = ()
    captured: bool = False
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: ErrorNote | None = None  # of the whole step, where no repository has it
    freeze_seconds: float | None = None
    outage_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One plan, carried out once. `ended` is None while it runs; of a killed run it is when that was found out.

    `exit_code` is what the command line would end with for this run alone.
    """

    id: str
    plan: str
    began: datetime
    ended: datetime | None = None
    outcome: RunOutcome
    took_seconds: float = 0.0
    exit_code: int = 0
    because: str = ""  # why it ran: its due time, or that it was named
    steps: tuple[StepRecord, ...] = ()
    untold: tuple[str, ...] = ()  # who could not be told after it, and why

    def step(self, step: PlanStep) -> StepRecord | None:
        """How this step went, if it was begun."""
        return next((each for each in self.steps if each.step is step), None)


class RunList(tuple[RunRecord, ...]):
    """A tuple of runs, newest first, with `warnings` that the reader must know."""

    warnings: tuple[str, ...]

    def __new__(cls, runs: Iterable[RunRecord] = (), warnings: Iterable[str] = ()) -> Self:
        """A tuple with one more attribute."""
        made = super().__new__(cls, runs)
        made.warnings = tuple(warnings)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a plan is due, why or why not, in which repositories, and when it is due next."""

    plan: str
    due: bool
    because: str
    repositories: tuple[str, ...] = ()
    next_due: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What `run` did. `killed` are earlier runs that had begun and did not end; they are told once.

    `unrecorded` says what could not be written into the ledger about runs that were carried out all the same. With
    `dry_run` nothing was done, and `decisions` says what would have been.
    """

    runs: tuple[RunRecord, ...] = ()
    killed: tuple[RunRecord, ...] = ()
    decisions: tuple[Decision, ...] = ()
    warnings: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    dry_run: bool = False
