"""Stops a group of processes by signal, completely or not at all.

`kill` returns before a large write ends, a new worker may be forked while the others are being stopped, and what the
user had stopped is not ours to resume. So: stop and list again, until a listing shows no new process and every thread
of all of them is in state T.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from owui_vault.errors import QuiesceError, ResumeError
from owui_vault.model import Deadline
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.procfs import ProcessIdentity, ThreadMark
from owui_vault.system.unwinding import undoing

Members: TypeAlias = Callable[[], frozenset[ProcessIdentity]]

PERMISSION_HINT = "Run this as root, or as the user that runs Open WebUI."
_SHORTEST_NAP = 0.0005
_LONGEST_NAP = 0.02
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Who was stopped by us, who was stopped already, and how often each thread of all of them had run by then."""

    ours: frozenset[ProcessIdentity]
    theirs: frozenset[ProcessIdentity]
    marks: Mapping[ProcessIdentity, tuple[ThreadMark, ...]] = field(default_factory=dict)


def stopped_among(members: Iterable[ProcessIdentity]) -> frozenset[ProcessIdentity]:
    """Those that are stopped right now."""
    return frozenset(each for each in members if procfs.stopped(each))


def marked(members: Iterable[ProcessIdentity]) -> dict[ProcessIdentity, tuple[ThreadMark, ...]]:
    """How often each thread of them has run by now."""
    return {each: procfs.threads(each) for each in members}


def freeze(members: Members, deadline: Deadline) -> Frozen:
    """Stop all processes, or none. Raises QuiesceError after rolling back.

    Tried in rounds: a process stopped between `vfork` and `exec` keeps its parent in state D until it is woken again.
    """
    theirs = stopped_among(members())
    total = deadline.remaining()
    blame = ""
    for number in range(1, _ROUNDS + 1):
        until = Deadline(deadline.expires - total * (_ROUNDS - number) / _ROUNDS, deadline.monotonic)
        touched: set[ProcessIdentity] = set()
        with undoing(wake, touched):
            marks = _stop(members, theirs, touched, until)
        if marks is not None:
            return Frozen(ours=frozenset(marks), theirs=theirs, marks=marks | marked(theirs))
        blame = _restless(touched)
        wake(touched)
        SystemClock().sleep(min(_LONGEST_NAP, deadline.remaining()))
    raise QuiesceError(
        f"could not stop {blame or 'the processes'} in time",
        hint="A process waits for a slow disk or is being traced by a debugger. Try again, or raise limits.freeze.",
    )


def _stop(
    members: Members, theirs: frozenset[ProcessIdentity], touched: set[ProcessIdentity], until: Deadline
) -> dict[ProcessIdentity, tuple[ThreadMark, ...]] | None:
    def everybody() -> frozenset[ProcessIdentity]:
        """Also who was stopped and has left since: the child of a process that ended just then, for example."""
        return (members() | {each for each in touched if procfs.alive(each)}) - theirs

    nap = _SHORTEST_NAP
    while not until.passed():
        present = everybody()
        newcomers = present - touched
        for each in sorted(newcomers):
            touched.add(each)  # before the signal: what is interrupted here is woken nevertheless
            _send(each, signal.SIGSTOP)
        if not newcomers and present and all(procfs.stopped(each) for each in present):
            marks = {each: procfs.threads(each) for each in present}
            if everybody() == present and all(procfs.threads(each) == mark for each, mark in marks.items()):
                return marks
        SystemClock().sleep(min(nap, until.remaining()))
        nap = min(nap * 2, _LONGEST_NAP)
    return None


def check(frozen: Frozen, members: Members) -> None:
    """Raise QuiesceError unless nobody of `frozen` has run since, and nobody is new.

    Also of those that somebody else had stopped: whoever did may have woken them.
    """
    strangers = sorted(members() - frozen.ours - frozen.theirs)
    if strangers:
        raise QuiesceError(f"process {strangers[0].pid} appeared in the frozen instance")
    for each, marks in frozen.marks.items():
        if procfs.threads(each) != marks:
            raise QuiesceError(
                f"process {each.pid} was running when the instance should have been frozen",
                hint="Something else resumed or killed it. Nothing was captured; try again.",
            )


def thaw(sleepers: Iterable[ProcessIdentity], deadline: Deadline) -> None:
    """Wake them and return when none is stopped any more; those that ended are awake enough. Raises ResumeError."""
    waiting = sorted(sleepers)
    nap = _SHORTEST_NAP
    while True:
        wake(waiting)
        waiting = [each for each in waiting if procfs.stopped(each)]
        if not waiting:
            return
        if deadline.passed():
            names = ", ".join(str(each.pid) for each in waiting)
            raise ResumeError(f"still stopped: process {names}", hint=f"Resume it by hand: kill -CONT {names}")
        SystemClock().sleep(min(nap, deadline.remaining()))
        nap = min(nap * 2, _LONGEST_NAP)


def wake(sleepers: Iterable[ProcessIdentity]) -> None:
    """SIGCONT to each of them that still exists. Raises ResumeError when we may not."""
    refused = None
    for each in sorted(sleepers):
        try:
            procfs.send(each, signal.SIGCONT)
        except PermissionError as error:
            refused = (each, error)  # the others first
    if refused is not None and procfs.stopped(refused[0]):
        raise ResumeError(f"no permission to resume process {refused[0].pid}", hint=PERMISSION_HINT) from refused[1]


def _send(identity: ProcessIdentity, number: signal.Signals) -> None:
    try:
        procfs.send(identity, number)
    except PermissionError as error:
        raise QuiesceError(f"no permission to stop process {identity.pid}", hint=PERMISSION_HINT) from error


def _restless(members: Iterable[ProcessIdentity]) -> str:
    moving = [each for each in sorted(members) if procfs.alive(each) and not procfs.stopped(each)]
    return ", ".join(f"process {each.pid} ({procfs.name_of(each.pid)})" for each in moving)
