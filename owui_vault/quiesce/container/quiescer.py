"""Pausing and stopping an Open WebUI that runs in a container of Docker or Podman."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from owui_vault.containers.client import DEFAULT_ENGINE, FORBIDDEN_HINT, HttpEngine, is_forbidden
from owui_vault.containers.container_inspect import ContainerInspect
from owui_vault.containers.daemon_identity import daemon_start_id
from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Observation, Quiescer, Remarks
from owui_vault.quiesce.container.activity import Marks, marks_of, root_of
from owui_vault.quiesce.container.rescue import ContainerRescue, Target, WayBack, look
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.unwinding import undoing

_log = logging.getLogger(__name__)
_TRIES = 3  # runc loses a race against a health check's exec now and then: "unable to freeze" (moby#48205)
_NAP_SECONDS = 0.1
_UNDO_SECONDS = 60.0
_MOST_STARTS = 2  # one may have failed because something else was not up yet
_ANSWER_SECONDS = 30.0  # how much later than its timeout the engine may answer a stop
_LANDING_SECONDS = 10.0  # how much later than its timeout a stop may land
_QUIET = {Quiesce.PAUSE: InstanceState.PAUSED, Quiesce.STOP: InstanceState.STOPPED}
_REMOVED = "removed"


class ContainerQuiescer(Quiescer):
    """Pauses or stops containers, several of them as one.

    All that write to the same data belong together: replicas, two containers on one volume. Those that do not run are
    left as they are, and of those held along, one that is removed meanwhile is left out; the first must be there.
    Decides by looking at the state, never by status codes, which differ between engines. A container that the engine
    removes when it stops offers no `stop`. `names` are for messages, where the containers are given by their ids. One
    of these serves one thread.
    """

    def __init__(
        self,
        *containers: str,
        engine: str = DEFAULT_ENGINE,
        stop_seconds: float = 60.0,
        names: Sequence[str] = (),
    ) -> None:
        self._containers = containers
        self._names = tuple(names) or containers
        self._address = engine
        self._http = HttpEngine(engine)
        self._stop_seconds = stop_seconds
        self._known: dict[str, ContainerInspect] = {}  # as each was seen last
        self._targets: tuple[Target, ...] | None = None  # whom we hold; None: we were not asked to
        self._mark = ""  # the engine's, when it was asked to
        self._marks: Marks = {}
        self._remarks = Remarks()
        self._healthy: frozenset[str] = frozenset()  # by id, before a stop
        self._started: frozenset[str] = frozenset()  # by id and by us: these may be stopped again on their way up

    @property
    def name(self) -> str:
        """`container open-webui`."""
        return f"container {' and '.join(self._names)}"

    @property
    def modes(self) -> frozenset[Quiesce]:
        """PAUSE, and STOP unless the engine would remove a stopped one."""
        if any(each.auto_remove and each.status != _REMOVED for each in self._look()):
            return frozenset({Quiesce.PAUSE})
        return frozenset({Quiesce.PAUSE, Quiesce.STOP})

    @property
    def remarks(self) -> Remarks:
        """Who had to be killed, and whose processes cannot be seen from here."""
        return self._remarks

    def observe(self) -> Observation:
        """Running while one of them runs, otherwise paused while one is paused. Raises InstanceNotFoundError."""
        return _together(self._look())

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        """Pause or stop those that run. Raises QuiesceError after undoing."""
        found = self._look()
        running = [each for each in found if each.state is InstanceState.RUNNING]
        _refuse_unfit([each for each in running if each.id not in self._started], mode)
        if mode is Quiesce.STOP:  # what we started and what went down again is ours to start again
            running += [each for each in found if each.state is InstanceState.STOPPED and each.id in self._started]
        if self._targets is None or running:
            self._hold(running, mode, deadline)

    def _hold(self, running: Sequence[ContainerInspect], mode: Quiesce, deadline: Deadline) -> None:
        if deadline.passed():
            raise QuiesceError(f"there is no time left to quiesce {self.name}")
        self._mark = self._daemon_start_id()
        self._targets = tuple(Target(each.id, each.started) for each in running)
        healthy = {each.id for each in running if each.health == "healthy"}
        self._healthy = frozenset(healthy | (self._healthy & self._started))
        with undoing(self._undo, mode):
            self._targets = self._made_quiet(self._targets, mode, deadline)
        now = self._look()
        self._marks = marks_of(now) if mode is Quiesce.PAUSE else {}
        self._remarks = _remarks([each for each in now if self._holds(each)], mode)

    def _made_quiet(self, targets: Sequence[Target], mode: Quiesce, deadline: Deadline) -> tuple[Target, ...]:
        """The containers we are holding. One that exited on its own while held is not started again."""
        quiet: list[Target] = []
        for target in targets:
            state = (_pause if mode is Quiesce.PAUSE else _stop)(self._http, target, deadline)
            if state is _QUIET[mode]:
                quiet.append(target)
            elif self._is_first(target):
                now = state.value if state else _REMOVED
                raise QuiesceError(f"{self.name} was {now} while it was being made quiet", hint="Try again.")
        return tuple(quiet)

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        """Raise QuiesceError unless all are still quiet, none was restarted, and nothing in them has run."""
        now = self._look()
        for each in now:
            if each.state is InstanceState.RUNNING or (self._holds(each) and each.state is not _QUIET[mode]):
                raise QuiesceError(
                    f"container {each.name} is {each.status}", hint="Something else resumed or stopped it."
                )
        if _together(now).identity != since.identity:
            raise QuiesceError(f"{self.name} was restarted meanwhile")
        if mode is Quiesce.PAUSE and self._marks and marks_of(now) != self._marks:
            raise QuiesceError(
                f"{self.name} was running when it should have been paused", hint="Something else resumed it. Try again."
            )

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        """Unpause or start those that ran, and after a start wait for the health they had. Raises ResumeError."""
        targets = self._quiet(mode) if self._targets is None else self._targets
        if mode is Quiesce.STOP:
            self._started = frozenset(target.id for target in targets)
        WayBack(self._http, mode, self._mark or self._daemon_start_id(), self._again(targets)).take(targets, deadline)
        self._targets, self._marks = None, {}
        for target in targets:
            self._require_running(mode, target, deadline)

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        """`rescue container …`: idempotent, holds no secret, speaks to the socket itself."""
        targets = self._targets or tuple(
            Target(each.id, each.started) for each in self._look() if each.state is InstanceState.RUNNING
        )
        return ContainerRescue(
            engine=self._address,
            mode=mode,
            targets=targets,
            boot=procfs.boot_id(),
            settled=SystemClock().monotonic() + self._stop_seconds + _LANDING_SECONDS,
            mark=self._mark if self._targets else self._daemon_start_id(),
            again=self._again(targets) if mode is Quiesce.STOP else "",
        ).command()

    def _look(self) -> tuple[ContainerInspect, ...]:
        return tuple(state for each in self._containers if (state := self._state(each)) is not None)

    def _state(self, container: str) -> ContainerInspect | None:
        """Its state now. One held along that was seen and is gone is stopped for good; never seen, it is nobody."""
        try:
            self._known[container] = self._http.inspect(container)
        except InstanceNotFoundError:
            if container == self._containers[0]:
                raise
            known = self._known.get(container)
            return replace(known, status=_REMOVED) if known else None
        return self._known[container]

    def _again(self, targets: Sequence[Target]) -> str:
        known = (each for each in self._known.values() if any(each.id == target.id for target in targets))
        return " ".join(dict.fromkeys(each.again for each in known))

    def _holds(self, state: ContainerInspect) -> bool:
        return any(target.id == state.id for target in self._targets or ())

    def _is_first(self, target: Target) -> bool:
        known = self._known.get(self._containers[0])
        return known is not None and known.id == target.id

    def _daemon_start_id(self) -> str:
        try:
            return daemon_start_id(self._address)
        except OSError:
            return ""

    def _quiet(self, mode: Quiesce) -> tuple[Target, ...]:
        """All of them if all are quiet in this mode, when we do not know who made them so; else none."""
        found = self._look()
        if any(each.state is not _QUIET[mode] for each in found):
            return ()
        return tuple(Target(each.id, each.started) for each in found)

    def _undo(self, mode: Quiesce) -> None:
        clock = SystemClock()
        budget = Deadline(clock.monotonic() + _UNDO_SECONDS + self._stop_seconds, clock.monotonic)
        self.resume(mode, budget)

    def _require_running(self, mode: Quiesce, target: Target, deadline: Deadline) -> None:
        now = look(self._http, target, deadline)
        if now is None or now.state is not InstanceState.RUNNING:
            woken = now is None or now.state is InstanceState.STOPPED
            if woken and mode is Quiesce.PAUSE and not self._is_first(target):
                return  # a short-lived helper: it went on, and came to its end
            name, state = (now.name, now.status) if now else (target.id[:12], _REMOVED)
            raise ResumeError(f"container {name} is {state}", hint=f"See: docker logs {name}")
        if mode is Quiesce.STOP and now.id in self._healthy:
            self._wait_for_health(target, deadline)

    def _wait_for_health(self, target: Target, deadline: Deadline) -> None:
        """At most as long as its health check may take to know."""
        clock = SystemClock()
        until = None
        starts: set[str] = set()  # what ends right after its start is restarted by the engine, too fast to be seen
        while True:
            now = look(self._http, target, deadline)
            starts.add(now.started if now else "")
            if now is None or now.state is not InstanceState.RUNNING or len(starts) > _MOST_STARTS:
                name = now.name if now else target.id[:12]
                raise ResumeError(f"container {name} went down again", hint=f"See: docker logs {name}")
            if now.health in ("healthy", ""):
                return
            until = until or clock.monotonic() + now.patience_seconds
            if deadline.passed() or clock.monotonic() > until:
                raise ResumeError(f"container {now.name} is running but {now.health}", hint=f"docker logs {now.name}")
            clock.sleep(_NAP_SECONDS)


def _pause(engine: HttpEngine, target: Target, deadline: Deadline) -> InstanceState | None:
    """Pause it; the state it is in afterwards (None: removed). Raises QuiesceError when it still runs."""
    complaint = engine.ask(target.id, "pause")
    for _ in range(_TRIES - 1):
        if _state_of(engine, target) is not InstanceState.RUNNING:
            break
        engine.ask(target.id, "unpause")  # it may be half frozen
        SystemClock().sleep(min(_NAP_SECONDS, deadline.remaining()))
        if deadline.passed():
            break
        complaint = engine.ask(target.id, "pause") or complaint
    state = _state_of(engine, target)
    if state is InstanceState.RUNNING:
        hint = FORBIDDEN_HINT if is_forbidden(complaint) else "Try again."
        raise QuiesceError(f"container {target.id[:12]} could not be paused: {complaint}", hint=hint)
    return state


def _stop(engine: HttpEngine, target: Target, deadline: Deadline) -> InstanceState | None:
    """Stop it; the state it is in afterwards (None: removed). Raises QuiesceError when it did not stop."""
    patience = max(1, int(deadline.remaining()))
    complaint = engine.ask(target.id, f"stop?t={patience}", seconds=patience + _ANSWER_SECONDS)
    state = _state_of(engine, target)
    if state not in (InstanceState.STOPPED, None):
        hint = FORBIDDEN_HINT if is_forbidden(complaint) else "Raise limits.stop."
        raise QuiesceError(f"container {target.id[:12]} did not stop: {complaint}", hint=hint)
    return state


def _state_of(engine: HttpEngine, target: Target) -> InstanceState | None:
    try:
        return engine.inspect(target.id).state
    except InstanceNotFoundError:
        return None


def _together(states: Sequence[ContainerInspect]) -> Observation:
    found = {each.state for each in states}
    order = (InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.STOPPED)
    return Observation(next(state for state in order if state in found), " ".join(each.identity for each in states))


def _refuse_unfit(running: Sequence[ContainerInspect], mode: Quiesce) -> None:
    if mode not in _QUIET:
        raise QuiesceError(f"a container can be paused or stopped, not quiesced by {mode.value}")
    ourselves = procfs.own_container()
    for each in running:
        if each.id == ourselves:
            raise QuiesceError(
                f"this program runs inside container {each.name}, and could not resume it",
                hint="Run it on the host, or as a container beside it (docs/sidecar.md). `live` works from inside too.",
            )
        if each.status == "restarting":
            raise QuiesceError(f"container {each.name} is being restarted", hint="Wait until it is up.")
        if mode is Quiesce.STOP and each.auto_remove:
            raise QuiesceError(f"container {each.name} is removed by the engine when it stops", hint="Use `pause`.")
        if mode is Quiesce.STOP and each.health == "starting":
            raise QuiesceError(
                f"container {each.name} is still starting", hint="It would ignore the stop. Wait until it is healthy."
            )


def _remarks(held: Sequence[ContainerInspect], mode: Quiesce) -> Remarks:
    if mode is Quiesce.STOP:
        killed = [each.name for each in held if each.killed]
        for name in killed:
            _log.warning("container %s had to be killed: it did not end within its time limit", name)
        return Remarks(
            warnings=tuple(
                f"container {name} had to be killed (exit code 137): it did not end within its time limit"
                for name in killed
            )
        )
    return Remarks(
        unchecked=tuple(
            f"whether anything in container {each.name} ran during the pause: its processes cannot be seen from here"
            for each in held
            if root_of(each) is None
        )
    )
