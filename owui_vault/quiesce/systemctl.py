"""The `systemctl` program, parsed completely in this one place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from owui_vault.errors import DeadlineExceededError, QuiesceError
from owui_vault.guardian.rescue_command import SYSTEM_PATH
from owui_vault.model import Deadline
from owui_vault.system import procfs
from owui_vault.system.process import Command, Completed, run
from owui_vault.system.procfs import ProcessIdentity

_CGROUPS = tuple(Path("/sys/fs/cgroup") / name for name in ("", "unified", "systemd"))
_ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
_SHOW_SECONDS = 10.0
# Whoever can start the unit behind our back, and whoever has to stop when it stops.
_COMPANIONS = ("TriggeredBy", "RequiredBy", "BoundBy", "ConsistsOf", "PropagatesStopTo")
_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "InvocationID",
    "ControlGroup",
    "FreezerState",
    "CanFreeze",
    "Result",
    "WatchdogUSec",
    "TimeoutStopUSec",
    "ExecStart",
    "WorkingDirectory",
    *_COMPANIONS,
)
_EXECUTABLE = re.compile(r"\{ path=(/\S+) ;")
_SPANS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit as systemd described it at one moment."""

    name: str
    loaded: bool
    active: str
    sub: str
    invocation: str
    control_group: str
    frozen: bool
    can_freeze: bool
    result: str
    watchdog_seconds: float
    stop_seconds: float  # how long systemd waits before it kills; 0: for ever
    companions: tuple[str, ...]
    places: tuple[Path, ...]  # what it starts, and where

    def members(self) -> frozenset[ProcessIdentity]:
        """Everybody in its control group right now."""
        return procfs.cgroup_members(self.directories())

    def directories(self) -> tuple[Path, ...]:
        """Its control group in the hierarchies that systemd may use: v2, hybrid, v1."""
        if self.control_group in ("", "/"):
            return ()
        found = (root / self.control_group.lstrip("/") for root in _CGROUPS)
        return tuple(each for each in found if (each / "cgroup.procs").exists())


def show(name: str) -> Unit:
    """Ask systemd about one unit. Raises QuiesceError when systemd does not answer, ProgramMissingError."""
    try:
        done = _systemctl(("show", name, f"--property={','.join(_PROPERTIES)}"), _SHOW_SECONDS)
    except DeadlineExceededError as error:
        raise QuiesceError(f"systemd cannot show {name}: {error.message}") from error
    values = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if done.status != 0 or "ActiveState" not in values:
        raise QuiesceError(
            f"systemd cannot show {name}: {done.stderr_tail.strip()}", hint="Does this machine run systemd?"
        )
    return Unit(
        name=values.get("Id", name),
        loaded=values.get("LoadState") == "loaded",
        active=values["ActiveState"],
        sub=values.get("SubState", ""),
        invocation=values.get("InvocationID", ""),
        control_group=values.get("ControlGroup", ""),
        frozen=values.get("FreezerState", "running") != "running",
        can_freeze=values.get("CanFreeze") == "yes",
        result=values.get("Result", ""),
        watchdog_seconds=_seconds(values.get("WatchdogUSec", "")),
        stop_seconds=_seconds(values.get("TimeoutStopUSec", "")),
        companions=tuple(unit for key in _COMPANIONS for unit in values.get(key, "").split()),
        places=tuple(Path(each) for each in _places(values)),
    )


def lines(*arguments: str) -> list[str]:
    """What systemctl answers to a question. Raises QuiesceError when systemd does not answer, ProgramMissingError."""
    try:
        done = _systemctl(arguments, _SHOW_SECONDS)
    except DeadlineExceededError as error:
        raise QuiesceError(f"systemd does not answer: {error.message}") from error
    if done.status != 0:
        raise QuiesceError(f"systemd does not answer: {done.stderr_tail.strip()}")
    return done.stdout.splitlines()


def companions(unit: Unit) -> tuple[str, ...]:
    """Active units that could start this one, or that stop with it, and theirs; those that stop first come first."""
    found: dict[str, None] = {}
    waiting = list(unit.companions)
    while waiting:
        name = waiting.pop()
        if name in found or name == unit.name:
            continue
        other = show(name)
        if other.active in ("active", "activating", "reloading"):
            found[name] = None
            waiting.extend(other.companions)
    return tuple(found)


def freeze(unit: Unit, deadline: Deadline) -> bool:
    """Freeze by the kernel's freezer; whether the whole group is really frozen now."""
    try:
        _systemctl(("freeze", unit.name), deadline.remaining())
    except DeadlineExceededError:
        return False
    return is_frozen(show(unit.name))


def is_frozen(unit: Unit) -> bool:
    """Whether systemd and the kernel agree that the whole group is frozen; the kernel is asked now."""
    return unit.frozen and all(_kernel_says_frozen(each) for each in unit.directories())


def thaw(unit: Unit, deadline: Deadline) -> None:
    """Ask for a thaw; look afterwards."""
    _quietly(("thaw", unit.name), deadline)


def stop(names: tuple[str, ...], deadline: Deadline) -> None:
    """Stop units and wait until they are down. Raises QuiesceError."""
    try:
        done = _systemctl(("stop", *names), deadline.remaining())
    except DeadlineExceededError as error:
        raise QuiesceError(f"{names[-1]} did not stop in time", hint="Raise limits.stop.") from error
    if done.status != 0:
        raise QuiesceError(f"{names[-1]} could not be stopped: {done.stderr_tail.strip()}", hint="Are you root?")


def start(names: tuple[str, ...], deadline: Deadline) -> str:
    """Start units; what systemctl complained about, or nothing. Look afterwards."""
    return _quietly(("start", *names), deadline)


def reset_failed(name: str, deadline: Deadline) -> None:
    """Let a unit that was started too often be started again."""
    _quietly(("reset-failed", name), deadline)


def _quietly(arguments: tuple[str, ...], deadline: Deadline) -> str:
    try:
        return _systemctl(arguments, max(1.0, deadline.remaining())).stderr_tail.strip()
    except DeadlineExceededError as error:
        return str(error)


def _systemctl(arguments: tuple[str, ...], timeout_seconds: float) -> Completed:
    return run(
        Command(
            argv=("systemctl", "--no-ask-password", "--no-pager", *arguments),
            environment=_ENVIRONMENT,
            timeout_seconds=timeout_seconds,
        )
    )


def _kernel_says_frozen(group: Path) -> bool:
    try:
        return "frozen 1" in (group / "cgroup.events").read_text().splitlines()
    except FileNotFoundError:
        return False  # a v1 hierarchy: systemd cannot freeze there


def _places(values: Mapping[str, str]) -> Iterator[str]:
    started = _EXECUTABLE.match(values.get("ExecStart", ""))
    if started:
        yield started[1]
    if values.get("WorkingDirectory", "").startswith("/"):  # else `[not set]`, `!/…` or `~`
        yield values["WorkingDirectory"]


def _seconds(span: str) -> float:
    """Systemd's own way to print a time span: `1min 30s`, `infinity`, `0`."""
    total = 0.0
    for part in span.split():
        digits = part.rstrip("abcdefghijklmnopqrstuvwxyz")
        total += float(digits or 0) * _SPANS.get(part[len(digits) :], 0.0)
    return total
