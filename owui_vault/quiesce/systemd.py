"""Pauses and stops an Open WebUI that runs as a systemd unit."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.guardian.rescue_command import rescue
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Launch, Observation, Quiescer
from owui_vault.quiesce import freezer, systemctl
from owui_vault.quiesce.systemctl import Unit
from owui_vault.quiesce.unit_settings import launch_of
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.procfs import ProcessIdentity
from owui_vault.system.unwinding import undoing

_log = logging.getLogger(__name__)
_NAP_SECONDS = 0.05
_LONGEST_NAP_SECONDS = 1.0
_UNDO_SECONDS = 60.0
_SHORTEST_WATCHDOG_SECONDS = 20.0  # twice the default limit of a freeze
_QUIET = {Quiesce.PAUSE: InstanceState.PAUSED, Quiesce.STOP: InstanceState.STOPPED}
_CLIENTS = frozenset({"docker", "docker-compose", "podman"})


class UnitQuiescer(Quiescer):
    """Pauses or stops one unit (`ports.Quiescer`); a unit that did not run is never started.

    Pause freezes the whole control group: by the kernel's freezer where systemd offers it, else by SIGSTOP. Stop also
    stops what could start the unit behind our back (sockets, timers), and starts that, and what had to stop along with
    the unit, again. One of these serves one thread.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit if "." in unit else f"{unit}.service"
        self._frozen: freezer.Frozen | None = None  # by us
        self._by_kernel = False
        self._companions: tuple[str, ...] | None = None  # what goes down with it, noted before a stop
        self._started = False  # by us: what does not come up may be stopped again on its way

    @property
    def name(self) -> str:
        """`unit open-webui.service`."""
        return f"unit {self._unit}"

    @property
    def modes(self) -> frozenset[Quiesce]:
        """PAUSE and STOP."""
        return frozenset({Quiesce.PAUSE, Quiesce.STOP})

    def places(self) -> tuple[Path, ...]:
        """The program it starts and the directory it starts it in."""
        return systemctl.show(self._unit).places

    def launch(self) -> Launch:
        """What systemd would start it with."""
        return launch_of(self._unit)

    def observe(self) -> Observation:
        """Look. Raises InstanceNotFoundError when there is no such unit; on its way up or down counts as running."""
        unit = systemctl.show(self._unit)
        return Observation(_state(unit), unit.invocation)

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        """Freeze the unit's control group, or stop the unit. Raises QuiesceError after undoing."""
        if mode not in self.modes:
            raise QuiesceError(f"{self.name} can be paused or stopped, not quiesced by {mode.value}")
        unit = systemctl.show(self._unit)
        if _state(unit) is _QUIET[mode]:
            return
        if unit.active != "active" and not (self._started and mode is Quiesce.STOP):
            raise QuiesceError(
                f"{self.name} is {unit.active} ({unit.sub})",
                hint="Wait until it has come up, or start it, and try again.",
            )
        if mode is Quiesce.PAUSE:
            self._pause(unit, deadline)
        else:
            self._stop(unit, deadline)

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        """Raise QuiesceError unless it is still quiet, of the same invocation, and nothing of it has run."""
        unit = systemctl.show(self._unit)
        if _state(unit) is not _QUIET[mode]:
            raise QuiesceError(
                f"{self.name} is {_state(unit).value} again", hint="Something else resumed or started it."
            )
        # systemd forgets the invocation of a stopped unit that nothing refers to.
        if unit.invocation not in (since.identity, "") or (mode is Quiesce.PAUSE and not unit.invocation):
            raise QuiesceError(f"{self.name} was restarted meanwhile")
        if mode is Quiesce.PAUSE and self._frozen is not None:
            if self._by_kernel and not systemctl.is_frozen(unit):
                raise QuiesceError(f"the kernel says that {self.name} is not frozen", hint="Something else resumed it.")
            freezer.check(self._frozen, unit.members)  # also when it was frozen again in between

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        """Thaw or start it, and what was stopped along with it. Raises ResumeError."""
        if mode is Quiesce.PAUSE:
            if self._frozen is None and _state(_shown(self._unit, deadline)) is InstanceState.RUNNING:
                return
            wake(self._unit, self._frozen.theirs if self._frozen else (), deadline)
            freezer.thaw(self._frozen.ours if self._frozen else (), deadline)  # one may have left the group since
        else:
            self._started = True
            start(self._unit, self._companions or (), deadline)
        self._frozen = self._companions = None

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        """`rescue unit …`: idempotent, holds no secret."""
        unit = systemctl.show(self._unit)
        known = partial(UnitRescue, name=self._unit, mode=mode, boot=procfs.boot_id(), invocation=unit.invocation)
        if mode is Quiesce.PAUSE:
            theirs = self._frozen.theirs if self._frozen else freezer.stopped_among(unit.members())
            return known(leave=theirs).command()
        companions = systemctl.companions(unit) if self._companions is None else self._companions
        return known(companions=companions).command()

    def _pause(self, unit: Unit, deadline: Deadline) -> None:
        members = unit.members()
        _refuse_unfit(unit, members)
        theirs = freezer.stopped_among(members)
        if unit.can_freeze and not theirs:
            with undoing(lambda: wake(self._unit, theirs, _budget())):
                if systemctl.freeze(unit, deadline):
                    ours = unit.members()
                    self._frozen = freezer.Frozen(ours=ours, theirs=frozenset(), marks=freezer.marked(ours))
                    self._by_kernel = True
                    return
            wake(self._unit, theirs, _budget())
        self._frozen = freezer.freeze(unit.members, deadline)
        self._by_kernel = False

    def _stop(self, unit: Unit, deadline: Deadline) -> None:
        companions = systemctl.companions(unit)
        self._companions = companions
        # A start waits behind the stop that is under way, and systemd's own patience ends that one.
        with undoing(lambda: self.resume(Quiesce.STOP, _budget(unit.stop_seconds))):
            systemctl.stop((*companions, self._unit), deadline)
            after = systemctl.show(self._unit)
            if _state(after) is not InstanceState.STOPPED:
                raise QuiesceError(f"{self.name} did not stop: it is {after.active} ({after.sub})")
        if after.result in ("timeout", "watchdog"):
            _log.warning("%s had to be killed: it did not end within its own time limit", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRescue:
    """What a rescuer must know: which boot and invocation, whom to leave stopped, what to start along with the unit."""

    name: str
    mode: Quiesce
    boot: str
    invocation: str
    leave: frozenset[ProcessIdentity] = frozenset()
    companions: tuple[str, ...] = ()

    def command(self) -> tuple[str, ...]:
        """As a program to run."""
        leave = (f"--leave={each}" for each in sorted(self.leave))
        companions = (f"--with={each}" for each in self.companions)
        known = (f"--boot={self.boot}", f"--invocation={self.invocation}")
        return rescue("unit", self.name, self.mode.value, *known, *leave, *companions)

    def run(self, deadline: Deadline) -> None:
        """Resume what a killed run left quiet. Raises ResumeError.

        A unit that ran again under another invocation and was stopped after that is not ours to start.
        """
        if self.mode is Quiesce.PAUSE:
            wake(self.name, self.leave if self.boot == procfs.boot_id() else (), deadline)
            return
        unit = _shown(self.name, deadline)
        if unit.active == "inactive" and unit.invocation not in ("", self.invocation):
            return
        start(self.name, self.companions, deadline)


def wake(name: str, leave: Collection[ProcessIdentity], deadline: Deadline) -> None:
    """Thaw a unit by both ways it may have been frozen, but for the processes to leave. Raises ResumeError."""
    unit = _shown(name, deadline)
    while unit.frozen and not deadline.passed():
        systemctl.thaw(unit, deadline)
        unit = _shown(name, deadline)
    if unit.frozen:
        raise ResumeError(f"unit {name} is still frozen", hint=f"Thaw it by hand: systemctl thaw {name}")
    freezer.thaw(unit.members() - frozenset(leave), deadline)


def start(name: str, companions: Collection[str], deadline: Deadline) -> None:
    """Start a unit and what was stopped along with it; return once all are active. Raises ResumeError."""
    complaint, nap = "", _NAP_SECONDS
    names = (*sorted(companions, key=_is_no_socket), name)
    while True:
        _free_sockets(name, names, deadline)
        complaint = systemctl.start(names, deadline) or complaint
        units = [_shown(each, deadline) for each in names]
        waiting = [unit.name for unit in units if unit.active not in ("active", "reloading")]
        if not waiting:
            return
        if deadline.passed():
            break
        for unit in units:
            if unit.active == "failed":  # perhaps only because it was started too often
                systemctl.reset_failed(unit.name, deadline)
        SystemClock().sleep(min(nap, deadline.remaining()))
        nap = min(2 * nap, _LONGEST_NAP_SECONDS)
    raise ResumeError(
        f"{', '.join(waiting)} did not come back up {complaint}".rstrip(),
        hint=f"See: systemctl status {waiting[0]}; journalctl -u {waiting[0]}",
    )


def _is_no_socket(name: str) -> bool:
    """A sorting key: systemd refuses to start a socket whose service runs already, so sockets come first."""
    return not name.endswith(".socket")


def _free_sockets(name: str, names: Collection[str], deadline: Deadline) -> None:
    """A socket that is down while its service runs needs that service down for a moment."""
    sockets = [each for each in names if each.endswith(".socket")]
    closed = [each for each in sockets if _shown(each, deadline).active in ("inactive", "failed")]
    if closed and _shown(name, deadline).active == "active":
        with suppress(QuiesceError):
            systemctl.stop((name,), deadline)


def _shown(name: str, deadline: Deadline) -> Unit:
    """Ask until systemd answers: it may be executing itself again. Raises ResumeError."""
    while True:
        try:
            return systemctl.show(name)
        except QuiesceError as error:
            if deadline.passed():
                raise ResumeError(f"systemd cannot show {name}", hint=f"systemctl status {name}") from error
        SystemClock().sleep(min(_NAP_SECONDS, deadline.remaining()))


def _budget(more_seconds: float = 0.0) -> Deadline:
    clock = SystemClock()
    return Deadline(clock.monotonic() + _UNDO_SECONDS + more_seconds, clock.monotonic)


def _state(unit: Unit) -> InstanceState:
    if not unit.loaded:
        raise InstanceNotFoundError(f"there is no unit {unit.name}", hint="Check instance.systemd_unit.")
    if unit.active in ("inactive", "failed"):
        return InstanceState.STOPPED
    if unit.frozen:
        return InstanceState.PAUSED
    members = unit.members()
    if members and freezer.stopped_among(members) == members:
        return InstanceState.PAUSED
    return InstanceState.RUNNING


def _refuse_unfit(unit: Unit, members: frozenset[ProcessIdentity]) -> None:
    if not members:
        raise QuiesceError(
            f"unit {unit.name} has no process to pause",
            hint="Does it start a container? Set instance.container instead.",
        )
    if members & {each for pid in procfs.own_ancestors() if (each := procfs.identify(pid))}:
        raise QuiesceError(f"this program runs inside unit {unit.name} and would freeze itself")
    clients = sorted(procfs.name_of(each.pid) for each in members if procfs.name_of(each.pid) in _CLIENTS)
    if clients:
        raise QuiesceError(
            f"unit {unit.name} runs {clients[0]}: the instance is in a container elsewhere",
            hint="Set instance.container instead.",
        )
    if 0 < unit.watchdog_seconds < _SHORTEST_WATCHDOG_SECONDS:
        raise QuiesceError(
            f"unit {unit.name} would be killed by its watchdog ({unit.watchdog_seconds:g} s) while frozen",
            hint="Raise WatchdogSec, or use `stop`.",
        )
