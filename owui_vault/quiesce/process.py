"""Pauses an Open WebUI that was started by hand or by a supervisor, identified by its pid file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.guardian.rescue_command import rescue
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.ports import Observation, Quiescer
from owui_vault.quiesce import freezer
from owui_vault.system import procfs
from owui_vault.system.procfs import ProcessIdentity

_CLOCK_SLACK_SECONDS = 2.0  # a pid file's mtime and a process's start are told by different clocks


class ProcessQuiescer(Quiescer):
    """Pauses one process and all its descendants (`ports.Quiescer`).

    It cannot stop: nobody here knows how to start it again. What somebody else had stopped among them stays stopped.
    One of these serves one thread.
    """

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file
        self._root: ProcessIdentity | None = None  # whom we hold, whatever the pid file says meanwhile
        self._frozen: freezer.Frozen | None = None

    @property
    def name(self) -> str:
        """`process 812`, or the pid file while nothing runs."""
        root = self._root or self._found()
        return f"process {root.pid}" if root else f"process of {self._pid_file}"

    @property
    def modes(self) -> frozenset[Quiesce]:
        """PAUSE only."""
        return frozenset({Quiesce.PAUSE})

    def observe(self) -> Observation:
        """Look. A missing pid file, or one whose process is gone, means stopped."""
        root = self._found()
        if root is None:
            return Observation(InstanceState.STOPPED, "")
        state = InstanceState.PAUSED if procfs.stopped(root) else InstanceState.RUNNING
        return Observation(state, f"{procfs.boot_id()}:{root}")

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        """Stop the process and its descendants by SIGSTOP, each with all threads. Raises QuiesceError after undoing."""
        _only_pause(mode)
        if self._frozen is not None:
            return
        root = self._found()
        if root is None:
            raise QuiesceError(f"no process named by {self._pid_file} is running")
        _refuse_own_tree(root)
        self._frozen = freezer.freeze(lambda: procfs.descendants(root), deadline)
        self._root = root

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        """Raise QuiesceError unless nothing of it has run since it was paused."""
        _only_pause(mode)
        root, frozen = self._root, self._frozen
        if root is None or frozen is None or self.observe().state is not InstanceState.PAUSED:
            raise QuiesceError(f"{self.name} is not paused")
        if since.identity != f"{procfs.boot_id()}:{root}" or self._found() != root:
            raise QuiesceError(f"{self.name} is not the one that was paused: it was restarted")
        freezer.check(frozen, lambda: procfs.descendants(root))

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        """Wake those that we stopped. Raises ResumeError when the process is no more, or stays stopped."""
        _only_pause(mode)
        root = self._root or self._found()
        if root is None or (self._frozen is None and not procfs.stopped(root)):
            return
        theirs = self._frozen.theirs if self._frozen else frozenset()
        ours = self._frozen.ours if self._frozen else frozenset()
        freezer.thaw((procfs.descendants(root) | ours) - theirs, deadline)
        self._root = self._frozen = None
        if not procfs.alive(root):
            raise ResumeError(
                f"process {root.pid} ended while it was paused", hint="Something killed it. Start Open WebUI again."
            )

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        """`rescue process …`, naming this boot, the process, who belongs to it now and whom to leave stopped."""
        _only_pause(mode)
        root = self._root or self._found()
        if root is None:
            raise InstanceNotFoundError(f"no process named by {self._pid_file} is running")
        frozen = self._frozen
        members = frozen.ours if frozen else procfs.descendants(root)
        theirs = frozen.theirs if frozen else freezer.stopped_among(members)
        return ProcessRescue(boot=procfs.boot_id(), root=root, members=members - theirs, leave=theirs).command()

    def _found(self) -> ProcessIdentity | None:
        try:
            text = self._pid_file.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise InstanceNotFoundError(f"cannot read the pid file {self._pid_file}: {error}") from error
        if not text.strip().isdecimal() or int(text) < 1:
            raise InstanceNotFoundError(f"{self._pid_file} holds no process id", hint="Check instance.pid_file.")
        identity = procfs.identify(int(text))
        if identity is not None:
            self._refuse_reused(identity)
        elif procfs.hidden(int(text)):
            raise InstanceNotFoundError(
                f"process {text.strip()} exists, but cannot be inspected from here", hint=freezer.PERMISSION_HINT
            )
        return identity

    def _refuse_reused(self, identity: ProcessIdentity) -> None:
        if identity == self._root:
            return
        try:
            written = self._pid_file.stat().st_mtime
        except FileNotFoundError:
            return
        if procfs.started_at(identity) > written + _CLOCK_SLACK_SECONDS:
            raise InstanceNotFoundError(
                f"process {identity.pid} was started after {self._pid_file} was written: it is a different process",
                hint="Remove the stale pid file, or start Open WebUI so that it writes a new one. If the clock was set"
                f" after it had been written (a machine that starts without the time), `touch {self._pid_file}`.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRescue:
    """What a rescuer must know: which boot, which process, who belonged to it and whom to leave stopped."""

    boot: str
    root: ProcessIdentity
    members: frozenset[ProcessIdentity]
    leave: frozenset[ProcessIdentity]

    def command(self) -> tuple[str, ...]:
        """As a program to run."""
        members = (f"--member={each}" for each in sorted(self.members))
        leave = (f"--leave={each}" for each in sorted(self.leave))
        return rescue("process", f"--boot={self.boot}", f"--root={self.root}", *members, *leave)

    def run(self, deadline: Deadline) -> None:
        """Wake what a killed run left stopped; after a reboot there is nothing to wake. Raises ResumeError."""
        if self.boot == procfs.boot_id():
            freezer.thaw((procfs.descendants(self.root) | self.members) - self.leave, deadline)


def _only_pause(mode: Quiesce) -> None:
    if mode is not Quiesce.PAUSE:
        raise QuiesceError(
            f"a process known by its pid file can only be paused, not quiesced by {mode.value}",
            hint="It could not be started again. Set its systemd unit or container instead.",
        )


def _refuse_own_tree(root: ProcessIdentity) -> None:
    if root.pid == 1 or root.pid in procfs.own_ancestors():
        raise QuiesceError(
            f"process {root.pid} is an ancestor of this program, which would freeze itself",
            hint="Start owui_vault from somewhere else: from a timer, or another terminal.",
        )
