"""Pausing and stopping an Open WebUI that runs in a container of Docker or Podman."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Observation
from owui_vault.quiesce.container_rescue import ContainerRescue, Target, bring_back, look
from owui_vault.quiesce.container_state import ContainerState, parse
from owui_vault.quiesce.engine_http import DEFAULT_ENGINE, HttpEngine, no_answer
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.procfs import ProcessIdentity, ThreadMark

if TYPE_CHECKING:
    from docker import APIClient

_log = logging.getLogger(__name__)
_TRIES = 3  # runc loses a race against a health check's exec now and then: "unable to freeze" (moby#48205)
_NAP_SECONDS = 0.1
_UNDO_SECONDS = 60.0
_HTTP_SECONDS = 30
_MOST_STARTS = 2  # one may have failed because something else was not up yet
_LANDING_SECONDS = 10.0  # how much later than its timeout a stop may land
_QUIET = {Quiesce.PAUSE: InstanceState.PAUSED, Quiesce.STOP: InstanceState.STOPPED}
_Marks = dict[ProcessIdentity, tuple[ThreadMark, ...]]


class ContainerQuiescer:
    """Pauses or stops containers, several of them as one (`ports.Quiescer`).

    All that write to the same data belong together: replicas, two containers on one volume (`held_together` finds
    them). Those that do not run are left as they are. Decides by looking at the state, never by status codes, which
    differ between engines. A container that the engine removes when it stops offers no `stop`. One of these serves one
    thread.
    """

    def __init__(self, *containers: str, engine: str = DEFAULT_ENGINE, stop_seconds: float = 60.0) -> None:
        self._containers = containers
        self._address = engine
        self._http = HttpEngine(engine)
        self._stop_seconds = stop_seconds
        self._targets: tuple[Target, ...] | None = None  # whom we hold; None: we were not asked to
        self._marks: _Marks = {}
        self._healthy: frozenset[str] = frozenset()  # by id, before a stop
        self._started: frozenset[str] = frozenset()  # by id and by us: these may be stopped again on their way up

    @property
    def name(self) -> str:
        """`container open-webui`."""
        return f"container {' and '.join(self._containers)}"

    @property
    def modes(self) -> frozenset[Quiesce]:
        """PAUSE, and STOP unless the engine would remove a stopped one."""
        if any(each.auto_remove for each in self._look()):
            return frozenset({Quiesce.PAUSE})
        return frozenset({Quiesce.PAUSE, Quiesce.STOP})

    def observe(self) -> Observation:
        """Look. Running while one of them runs, then paused while one is paused. Raises InstanceNotFoundError."""
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

    def _hold(self, running: Sequence[ContainerState], mode: Quiesce, deadline: Deadline) -> None:
        if deadline.passed():
            raise QuiesceError(f"there is no time left to quiesce {self.name}")
        self._targets = tuple(Target(each.id, each.started) for each in running)
        healthy = {each.id for each in running if each.health == "healthy"}
        self._healthy = frozenset(healthy | (self._healthy & self._started))
        try:
            with _engine(self._address) as engine:
                for target in self._targets:
                    _pause(engine, target, deadline) if mode is Quiesce.PAUSE else _stop(engine, target, deadline)
        except BaseException:
            self._undo(mode)
            raise
        self._marks = _marks(self._look()) if mode is Quiesce.PAUSE else {}
        self._warn_of_kills(mode)

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        """Raise QuiesceError unless all are still quiet, none was started anew, and nothing in them has run."""
        now = self._look()
        held = {target.id for target in self._targets or ()}
        for each in now:
            awake = each.state is InstanceState.RUNNING or (each.id in held and each.state is not _QUIET[mode])
            if awake:
                raise QuiesceError(f"container {each.name} is {each.status}", hint="Somebody else woke or stopped it.")
        if _together(now).identity != since.identity:
            raise QuiesceError(f"{self.name} was started anew meanwhile")
        if mode is Quiesce.PAUSE and self._marks and _marks(now) != self._marks:
            raise QuiesceError(f"{self.name} ran while it was to be paused", hint="Somebody else woke it. Try again.")

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        """Unpause or start those that ran, and after a start wait for the health they had. Raises ResumeError."""
        targets = self._quiet(mode) if self._targets is None else self._targets
        if mode is Quiesce.STOP:
            self._started = frozenset(target.id for target in targets)
        bring_back(self._http, mode, targets, deadline)
        self._targets, self._marks = None, {}
        for target in targets:
            self._demand_running(mode, target, deadline)

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        """`rescue container …`: idempotent, holds no secret, speaks to the socket itself."""
        targets = self._targets or tuple(
            Target(each.id, each.started) for each in self._look() if each.state is InstanceState.RUNNING
        )
        settled = SystemClock().monotonic() + self._stop_seconds + _LANDING_SECONDS
        return ContainerRescue(
            engine=self._address, mode=mode, targets=targets, boot=procfs.boot_id(), settled=settled
        ).command()

    def _look(self) -> tuple[ContainerState, ...]:
        return tuple(self._http.inspect(each) for each in self._containers)

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

    def _warn_of_kills(self, mode: Quiesce) -> None:
        if mode is Quiesce.STOP:
            held = {target.id for target in self._targets or ()}
            for each in self._look():
                if each.killed and each.id in held:
                    _log.warning("container %s had to be killed: it did not end within its time limit", each.name)

    def _demand_running(self, mode: Quiesce, target: Target, deadline: Deadline) -> None:
        now = look(self._http, target, deadline)
        if now is None or now.state is not InstanceState.RUNNING:
            name, state = (now.name, now.status) if now else (target.id, "removed")
            raise ResumeError(f"container {name} is {state}", hint=f"Look at: docker logs {name}")
        if mode is Quiesce.STOP and now.id in self._healthy:
            self._wait_for_health(target, deadline)

    def _wait_for_health(self, target: Target, deadline: Deadline) -> None:
        """At most as long as its health check may take to know."""
        clock = SystemClock()
        until = None
        starts: set[str] = set()  # what ends right after its start is started anew by the engine, too fast to be seen
        while True:
            now = look(self._http, target, deadline)
            starts.add(now.started if now else "")
            if now is None or now.state is not InstanceState.RUNNING or len(starts) > _MOST_STARTS:
                name = now.name if now else target.id[:12]
                raise ResumeError(f"container {name} went down again", hint=f"Look at: docker logs {name}")
            if now.health in ("healthy", ""):
                return
            until = until or clock.monotonic() + now.patience_seconds
            if deadline.passed() or clock.monotonic() > until:
                raise ResumeError(f"container {now.name} runs but is {now.health}", hint=f"docker logs {now.name}")
            clock.sleep(_NAP_SECONDS)


def held_together(container: str, engine: str = DEFAULT_ENGINE) -> tuple[str, ...]:
    """The ids of `container` and of all that have a volume or host path of it mounted for writing, or are its replicas.

    Raises InstanceNotFoundError, QuiesceError.
    """
    http = HttpEngine(engine)
    first = http.inspect(container)
    with _engine(engine) as client:
        listed = [str(each["Id"]) for each in client.containers(all=True)]
    found = [first.id]
    for each in listed:
        try:
            other = http.inspect(each)
        except InstanceNotFoundError:
            continue  # removed since the listing
        replica = bool(first.service) and (other.project, other.service) == (first.project, first.service)
        if other.id != first.id and (replica or other.sources & first.sources):
            found.append(other.id)
    return tuple(found)


@contextmanager
def _engine(address: str) -> Iterator[APIClient]:
    """The SDK's client; its errors become ours."""
    from requests.exceptions import RequestException  # noqa: PLC0415 - comes with docker

    import docker  # noqa: PLC0415 - heavy, and most runs touch no container

    try:
        client = docker.APIClient(base_url=address, version="auto", timeout=_HTTP_SECONDS)
    except (docker.errors.DockerException, OSError) as error:
        raise no_answer(address, error) from error
    try:
        yield client
    except RequestException as error:
        raise no_answer(address, error) from error
    except docker.errors.DockerException as error:
        raise QuiesceError(f"the engine refused: {error}") from error
    finally:
        client.close()


def _pause(engine: APIClient, target: Target, deadline: Deadline) -> None:
    complaint = _attempt(lambda: engine.pause(target.id))
    for _ in range(_TRIES - 1):
        if parse(engine.inspect_container(target.id)).state is InstanceState.PAUSED:
            return
        _attempt(lambda: engine.unpause(target.id))  # it may be half frozen
        SystemClock().sleep(min(_NAP_SECONDS, deadline.remaining()))
        if deadline.passed():
            break
        complaint = _attempt(lambda: engine.pause(target.id)) or complaint
    if parse(engine.inspect_container(target.id)).state is not InstanceState.PAUSED:
        raise QuiesceError(f"container {target.id[:12]} could not be paused: {complaint}", hint="Try again.")


def _stop(engine: APIClient, target: Target, deadline: Deadline) -> None:
    complaint = _attempt(lambda: engine.stop(target.id, timeout=max(1, int(deadline.remaining()))))
    if parse(engine.inspect_container(target.id)).state is not InstanceState.STOPPED:
        raise QuiesceError(f"container {target.id[:12]} did not stop: {complaint}", hint="Raise limits.stop.")


def _attempt(call: Callable[[], object]) -> str:
    """What the engine complained about; the state decides, not that."""
    from docker.errors import APIError  # noqa: PLC0415 - loaded already by whoever calls this

    try:
        call()
    except APIError as error:
        return str(error.explanation or error)
    return ""


def _together(states: Sequence[ContainerState]) -> Observation:
    found = {each.state for each in states}
    order = (InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.STOPPED)
    return Observation(next(state for state in order if state in found), " ".join(each.identity for each in states))


def _refuse_unfit(running: Sequence[ContainerState], mode: Quiesce) -> None:
    if mode not in _QUIET:
        raise QuiesceError(f"a container can be paused or stopped, not quiesced by {mode.value}")
    for each in running:
        if each.status == "restarting":
            raise QuiesceError(f"container {each.name} is just being restarted", hint="Wait until it is up.")
        if mode is Quiesce.STOP and each.auto_remove:
            raise QuiesceError(f"container {each.name} is removed by the engine when it stops", hint="Use `pause`.")
        if mode is Quiesce.STOP and each.health == "starting":
            raise QuiesceError(
                f"container {each.name} is still starting", hint="It would not hear the stop. Wait until it is healthy."
            )


def _marks(states: Sequence[ContainerState]) -> _Marks:
    """How often each thread inside has run, where the engine's processes are this machine's own."""
    found: _Marks = {}
    for each in states:
        root = procfs.identify(each.pid) if each.pid > 0 else None
        if root is not None and _is_inside(root.pid, each.id):
            found |= {member: procfs.threads(member) for member in procfs.descendants(root)}
    return found


def _is_inside(pid: int, container: str) -> bool:
    """A virtual machine's engine names pids of its own, which are somebody else's here."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
