"""Resumes containers, with or without the run that made them quiet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from owui_vault.containers.client import FORBIDDEN_HINT, HttpEngine, is_forbidden, no_answer
from owui_vault.containers.container_inspect import ContainerInspect
from owui_vault.containers.daemon_identity import daemon_start_id
from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.guardian.rescue_command import RemovedError, rescue
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock

_NAP_SECONDS = 0.05
_LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Target:
    """A container that ran when it was found. Prints and parses as `ID@STARTED`."""

    id: str
    started: str

    def __str__(self) -> str:
        return f"{self.id}@{self.started}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The inverse of `str`. Raises ValueError."""
        id_, separator, started = text.partition("@")
        if not separator:
            raise ValueError(text)
        return cls(id_, started)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRescue:
    """What a rescuer must know. `settled` is the moment (monotonic, in this boot) by which a stop has landed.

    The engine carries a stop through although whoever asked for it died: a container that still runs may yet go down.
    `mark` is the engine's (`daemon_identity`) at the moment of the deed.
    """

    engine: str
    mode: Quiesce
    targets: tuple[Target, ...]
    boot: str
    settled: float
    mark: str = ""
    again: str = ""

    def command(self) -> tuple[str, ...]:
        """As a program to run."""
        known = (
            f"--engine={self.engine}",
            f"--engine-mark={self.mark}",
            f"--boot={self.boot}",
            f"--settled={self.settled:.3f}",
            *([f"--again={self.again}"] if self.again else ()),
        )
        return rescue("container", self.mode.value, *known, *(f"--target={each}" for each in self.targets))

    def run(self, deadline: Deadline) -> None:
        """Resume what a killed run left quiet. Raises ResumeError; run it again."""
        engine = HttpEngine(self.engine)
        way_back = WayBack(engine, self.mode, self.mark, self.again)
        way_back.take(self.targets, deadline)
        while self.mode is Quiesce.STOP and self._may_yet_go_down(engine, deadline):
            SystemClock().sleep(_LOOK_SECONDS)
            way_back.take(self.targets, deadline)

    def _may_yet_go_down(self, engine: HttpEngine, deadline: Deadline) -> bool:
        if self.boot != procfs.boot_id() or SystemClock().monotonic() > self.settled:
            return False
        return any(_still_the_same(engine, each, deadline) for each in self.targets)


@dataclass(frozen=True, slots=True)
class WayBack:
    """From quiet to lively, for containers of one engine. `mark` is the engine's from before.

    `again` is how a person recreates them.
    """

    engine: HttpEngine
    mode: Quiesce
    mark: str
    again: str = ""

    def take(self, targets: Sequence[Target], deadline: Deadline) -> None:
        """Unpause what was paused, start what was stopped, but nothing that ran again since. Raises ResumeError.

        What was removed while it was stopped (a cleaner takes stopped containers away) raises RemovedError, last.
        """
        for target in targets:
            self._take(target, deadline)
        gone = [each for each in targets if self.mode is Quiesce.STOP and look(self.engine, each, deadline) is None]
        if gone:
            raise RemovedError(
                f"container {' and '.join(each.id[:12] for each in gone)} was removed while it was stopped"
                " by owui_vault: Open WebUI is not running",
                hint=self.again or "Recreate it the way it was created.",
            )

    def _take(self, target: Target, deadline: Deadline) -> None:
        complaint = ""
        while True:
            verb = self._remedy(look(self.engine, target, deadline), target, deadline)
            if not verb:
                return
            complaint = _ask(self.engine, target, verb, deadline) or complaint
            now = look(self.engine, target, deadline)
            if not self._remedy(now, target, deadline):
                return
            if deadline.passed():
                name = now.name if now else target.id
                hint = f"{FORBIDDEN_HINT} Until then: " if is_forbidden(complaint) else "Try: "
                raise ResumeError(
                    f"container {name} did not come back: {complaint}", hint=f"{hint}docker {verb} {name}"
                )
            SystemClock().sleep(_NAP_SECONDS)

    def _remedy(self, now: ContainerInspect | None, target: Target, deadline: Deadline) -> str:
        """The engine's word for what is to be done; none when it runs, is gone, or is not as we left it."""
        if now is None or now.started != target.started:
            return ""
        match now.state:
            case InstanceState.PAUSED:
                return "unpause"
            case InstanceState.STOPPED if self.mode is Quiesce.STOP or self._engine_died(now, deadline):
                return "start"
            case _:
                return ""

    def _engine_died(self, now: ContainerInspect, deadline: Deadline) -> bool:
        """Whether it took what we had paused along; otherwise a person stopped it, and that is not ours to undo."""
        if not self.mark:
            raise ResumeError(
                f"container {now.name} exited while it was paused by owui_vault, and it is not known whether its"
                " engine's end or someone's stop was the cause",
                hint=f"Start it (docker start {now.name}), if only for a moment: that clears this message.",
            )
        while True:
            try:
                return daemon_start_id(self.engine.address) != self.mark
            except OSError as error:
                _wait_or_give_up(no_answer(self.engine.address, error), deadline)


def look(engine: HttpEngine, target: Target, deadline: Deadline) -> ContainerInspect | None:
    """Its state, asked for until the engine answers; None once it is removed. Raises ResumeError."""
    while True:
        try:
            return engine.inspect(target.id)
        except InstanceNotFoundError:
            return None
        except QuiesceError as error:
            _wait_or_give_up(error, deadline)


def _ask(engine: HttpEngine, target: Target, verb: str, deadline: Deadline) -> str:
    try:
        return engine.ask(target.id, verb)
    except QuiesceError as error:  # the engine went away: look again, it may have heard us
        _wait_or_give_up(error, deadline)
        return error.message


def _wait_or_give_up(error: QuiesceError, deadline: Deadline) -> None:
    if deadline.passed():
        raise ResumeError(error.message, hint=error.hint) from error
    SystemClock().sleep(_LOOK_SECONDS)


def _still_the_same(engine: HttpEngine, target: Target, deadline: Deadline) -> bool:
    now = look(engine, target, deadline)
    return now is not None and now.started == target.started
