"""The lines of the run ledger, and what they say together. Pure; `run_ledger` has the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, Union

from owui_vault.model.json_codec import from_json, to_json
from owui_vault.model.runs import PlanStep, RunOutcome, RunRecord, StepRecord

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNoted:
    """A plan was seen for the first time, or with another schedule; `since`: when it was seen first of all."""

    plan: str
    at: datetime
    since: datetime
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegan:
    """A run began. `holder` is the name under which the lock of the ledger is held."""

    run: str
    plan: str
    at: datetime
    because: str
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBegan:
    """A step began."""

    run: str
    step: PlanStep
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    """A step ended, in whichever way."""

    run: str
    record: StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run ended; of a killed one this is when a later run told of it."""

    run: str
    at: datetime
    outcome: RunOutcome
    exit_code: int
    took_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceMeasured:
    """What a repository took after a run, and what was free there; None where its place does not tell."""

    repository: str
    at: datetime
    size_bytes: int | None
    free_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSeen:
    """A repository was asked, and had a newer restore point of a plan than this machine had stored there itself."""

    plan: str
    repository: str
    at: datetime
    snapshot: str  # our id
    instant: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTold:
    """Somebody could not be told; `run` was the last one then."""

    run: str
    at: datetime
    detail: str


Entry: TypeAlias = Union[PlanNoted, RunBegan, StepBegan, StepEnded, RunEnded, PlaceMeasured, PointSeen, NotTold]
_KINDS: Mapping[str, type[Entry]] = {
    "plan": PlanNoted,
    "run-began": RunBegan,
    "step-began": StepBegan,
    "step-ended": StepEnded,
    "run-ended": RunEnded,
    "place-measured": PlaceMeasured,
    "point-seen": PointSeen,
    "not-told": NotTold,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a ledger says. `runs` are in the order of their beginnings as they were written, oldest first."""

    runs: tuple[RunRecord, ...] = ()
    noted: Mapping[str, PlanNoted]
    damaged: int = 0  # lines that nobody can read
    measured: tuple[PlaceMeasured, ...] = ()
    seen: tuple[PointSeen, ...] = ()  # of each plan in each repository the last one

    def of(self, plan: str) -> tuple[RunRecord, ...]:
        """The runs of one plan, oldest first."""
        return tuple(each for each in self.runs if each.plan == plan)


def line(entry: Entry) -> bytes:
    """One entry as it stands in the file."""
    value = to_json(entry)
    assert isinstance(value, dict)  # noqa: S101  entries are dataclasses
    return json.dumps({"format": FORMAT, "entry": _NAMES[type(entry)], **value}).encode() + b"\n"


def parse(text: bytes) -> Entry | None:
    """The entry of a line; None for one of a later version. Raises ValueError for what is none."""
    value = json.loads(text)
    if not isinstance(value, dict) or not isinstance(value.get("format"), int):
        raise ValueError("no entry of the run ledger")
    if value["format"] > FORMAT or value.get("entry") not in _KINDS:
        return None
    kind: type[Entry] = _KINDS[value["entry"]]
    return from_json(kind, value)


def told_by(entries: Iterable[Entry], running: str | None, damaged: int = 0) -> History:
    """Put the entries together. `running` is the holder of the ledger's lock: its run without an end still runs."""
    runs: dict[str, RunRecord] = {}
    holders: dict[str, str] = {}
    noted: dict[str, PlanNoted] = {}
    measured: dict[tuple[str, datetime], PlaceMeasured] = {}  # a ledger begun anew repeats the last ones
    seen: dict[tuple[str, str], PointSeen] = {}
    for entry in entries:
        match entry:
            case PlanNoted():
                noted[entry.plan] = entry
            case PointSeen():
                seen[entry.plan, entry.repository] = entry
            case PlaceMeasured():
                measured[entry.repository, entry.at] = entry
            case RunBegan():
                holders[entry.run] = entry.holder
                runs[entry.run] = RunRecord(
                    id=entry.run,
                    plan=entry.plan,
                    began=entry.at,
                    outcome=RunOutcome.RUNNING if entry.holder == running else RunOutcome.KILLED,
                    because=entry.because,
                )
            case StepBegan() if entry.run in runs:
                started = StepRecord(step=entry.step, began=entry.at, outcome=runs[entry.run].outcome)
                runs[entry.run] = _with_step(runs[entry.run], started)
            case StepEnded() if entry.run in runs:
                runs[entry.run] = _with_step(runs[entry.run], entry.record)
            case RunEnded() if entry.run in runs:
                runs[entry.run] = replace(
                    runs[entry.run],
                    ended=entry.at,
                    outcome=entry.outcome,
                    exit_code=entry.exit_code,
                    took_seconds=entry.took_seconds,
                )
            case NotTold() if entry.run in runs:
                runs[entry.run] = replace(runs[entry.run], untold=(*runs[entry.run].untold, entry.detail))
    return History(
        runs=tuple(runs.values()),
        noted=noted,
        damaged=damaged,
        measured=tuple(measured.values()),
        seen=tuple(seen.values()),
    )


def _with_step(run: RunRecord, step: StepRecord) -> RunRecord:
    others = tuple(each for each in run.steps if each.step is not step.step)
    return replace(run, steps=(*others, step))


def still_needed(entries: Sequence[Entry], history: History) -> tuple[Entry, ...]:
    """What a new ledger begins with when the old one has grown too long.

    That is what decides when a plan is due, and what is known of each repository: how each plan was noted last, its
    last two runs, the last that served each repository, and what each repository took last.
    """
    kept: set[str] = set()
    for plan in {each.plan for each in history.runs}:
        runs = history.of(plan)
        kept.update(each.id for each in runs[-2:])
        served: dict[tuple[str, PlanStep, RunOutcome], str] = {}
        for run in runs:
            for step in run.steps:
                for result in step.results:
                    served[result.repository, step.step, result.outcome] = run.id
        kept.update(served.values())
    last_measured = {each.repository: each for each in history.measured}

    def is_needed(entry: Entry) -> bool:
        match entry:
            case PlanNoted():
                return history.noted[entry.plan] is entry
            case PlaceMeasured():
                return last_measured[entry.repository] is entry
            case PointSeen():
                return any(each is entry for each in history.seen)
        return entry.run in kept

    return tuple(entry for entry in entries if is_needed(entry))
