"""What is told of runs to whoever is to hear of them: events for people, beats for monitors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum


class EventKind(StrEnum):
    """What a notification is about."""

    FAILURE = "failure"  # something failed, was killed, or was found wrong
    INCOMPLETE = "incomplete"  # stored, and not a restore point
    OVERDUE = "overdue"  # older than the schedule allows
    WARNING = "warning"  # it went well, and somebody has to look
    RECOVERY = "recovery"  # what was told before is over
    SUCCESS = "success"
    SUMMARY = "summary"  # once a week


#: What is told where nobody says otherwise: nothing while all is well.
USUAL_KINDS = (EventKind.FAILURE, EventKind.INCOMPLETE, EventKind.OVERDUE, EventKind.WARNING, EventKind.RECOVERY)
#: After so long it is said again that something is still so.
REMIND = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something worth a notification.

    `operation` is "snapshot", "prune", "verify", … or "run"; `detail` says in one line what happened. What a run tells
    has its `plan`, a `title` of one line, and in `text` all of it: what happened to which instance, what that means for
    the data, the newest restore point, what to do. `reminder`: it was told before, and is still so.
    """

    instance: str
    operation: str
    kind: EventKind
    detail: str
    plan: str = ""
    title: str = ""
    text: str = ""
    reminder: bool = False

    @property
    def subject(self) -> str:
        """The title, or what can be made of the rest."""
        return self.title or f"{self.instance}: {self.operation}: {self.kind.value}"

    @property
    def body(self) -> str:
        """The text, or else the detail."""
        return self.text or self.detail


class BeatKind(Enum):
    """Which sign of life it is."""

    START = "start"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One sign of life. `summary` names plans and outcomes and nothing else; `log` is what the run did, in lines."""

    kind: BeatKind
    summary: str = ""
    log: str = ""
    took_seconds: float | None = None
