"""What the kernel says about processes, and signals that reach the right one.

A pid alone is not unique for long: the kernel reuses it. With its start time it is unique until the next boot, and with
the boot id for ever. Everything here works without rights: what cannot be read is reported as such, never as "nothing
there".
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from owui_vault.errors import InstanceError

_PROC = Path("/proc")
_LISTINGS = 50  # a tree that still changes after so many looks is a fork bomb
_STOPPED = "T"
_GONE = frozenset("ZXx")
_OF_A_CONTAINER = re.compile(r"containers/([0-9a-f]{64})/")


@dataclass(frozen=True, slots=True, order=True)
class ProcessIdentity:
    """One process of this boot. Prints and parses as `PID:START`, start in clock ticks since boot."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"{self.pid}:{self.start_ticks}"

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity:
        """The inverse of `str`. Raises ValueError."""
        pid, start = text.split(":")
        return cls(int(pid), int(start))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """A process as seen at one moment. `state` is the kernel's letter."""

    identity: ProcessIdentity
    parent: int
    state: str

    @property
    def ended(self) -> bool:
        """A zombie: it writes nothing any more and cannot be stopped."""
        return self.state in _GONE


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadMark:
    """A thread, its state, and how often it was scheduled: a stopped thread that ran in between has another count."""

    tid: int
    state: str
    switches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFiles:
    """Files a process has open, by descriptor. `readable` is False where the kernel would not tell us."""

    paths: tuple[tuple[int, str], ...]
    readable: bool


def boot_id() -> str:
    """This boot of this machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def look(pid: int) -> ProcessStatus | None:
    """The process with this pid, or None when there is none (or `hidepid` hides it)."""
    try:
        fields = _read(pid, "stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return ProcessStatus(
        identity=ProcessIdentity(pid, int(fields[19])), parent=int(fields[1]), state=fields[0].decode()
    )


def identify(pid: int) -> ProcessIdentity | None:
    """The process that has this pid now; zombies do not count."""
    status = look(pid)
    return None if status is None or status.ended else status.identity


def alive(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs (stopped counts as running, a zombie does not)."""
    return identify(identity.pid) == identity


def names() -> frozenset[str]:
    """What the kernel calls the programs that run now, as far as this user may know."""
    return frozenset(name_of(each.identity.pid) for each in processes() if not each.ended) - {""}


def hidden(pid: int) -> bool:
    """Whether there is such a process, but /proc keeps it from us (`hidepid`)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not (_PROC / str(pid)).exists()


def started_at(identity: ProcessIdentity) -> float:
    """Seconds since the epoch by today's idea of the boot time: a clock set since then moves it."""
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1]) + identity.start_ticks / os.sysconf("SC_CLK_TCK")
    raise InstanceError(
        "the kernel does not say when it was started", hint="/proc/stat has no btime; is /proc mounted?"
    )


def name_of(pid: int) -> str:
    """The program's short name; empty for a process that is gone."""
    try:
        return os.fsdecode(_read(pid, "comm")).strip()
    except OSError:
        return ""


def command_line(pid: int) -> tuple[str, ...]:
    """What it was started with; empty for a process that is gone, or a thread of the kernel's."""
    try:
        raw = _read(pid, "cmdline")
    except OSError:
        return ()
    return tuple(os.fsdecode(each) for each in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def processes() -> Iterator[ProcessStatus]:
    """Everybody we can see, zombies included, in no order."""
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            status = look(int(entry.name))
            if status is not None:
                yield status


def descendants(root: ProcessIdentity) -> frozenset[ProcessIdentity]:
    """`root` and everything below it, without zombies, listed until two listings agree."""
    return settled(lambda: _tree(root))


def cgroup_members(directories: Iterable[Path]) -> frozenset[ProcessIdentity]:
    """Everybody in these control groups and the groups below them, listed until two listings agree."""
    kept = tuple(directories)
    return settled(lambda: frozenset(member for each in kept for member in _members(each)))


def settled(listing: Callable[[], frozenset[ProcessIdentity]]) -> frozenset[ProcessIdentity]:
    """List until two listings agree: /proc is no snapshot. Raises InstanceError when it never rests."""
    before = listing()
    for _ in range(_LISTINGS):
        now = listing()
        if now == before:
            return now
        before = now
    raise InstanceError("the list of processes keeps changing", hint="Look for a program that keeps forking.")


def own_ancestors() -> frozenset[int]:
    """The pids of ourselves and everybody above us."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        status = look(pid)
        pid = status.parent if status else 0
    return frozenset(found)


def own_container() -> str:
    """The id of the container we run in; empty outside any. Its engine mounts the name of the host from there."""
    for line in (_PROC / "self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields = line.split()
        match = _OF_A_CONTAINER.search(fields[3])
        if match and fields[4] == "/etc/hostname":
            return match[1]
    return ""


def in_container(pid: int, container: str) -> bool:
    """Whether a process here is one of that container: a virtual machine's engine names pids that are others' here."""
    try:
        return container in (_PROC / str(pid) / "cgroup").read_text()
    except OSError:
        return False


def threads(identity: ProcessIdentity) -> tuple[ThreadMark, ...]:
    """All threads of a process; empty when it is gone."""
    try:
        names = os.listdir(f"{_PROC}/{identity.pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return ()
    marks = tuple(mark for name in sorted(names, key=int) if (mark := _thread(identity.pid, name)) is not None)
    return marks if alive(identity) else ()


def stopped(identity: ProcessIdentity) -> bool:
    """Whether every thread is stopped by a signal: only then no write of it is under way. False when it is gone."""
    marks = [mark for mark in threads(identity) if mark.state not in _GONE]
    return bool(marks) and all(mark.state == _STOPPED for mark in marks)


def open_files(pid: int) -> OpenFiles:
    """What the process has open."""
    folder = f"{_PROC}/{pid}/fd"
    try:
        names = os.listdir(folder)
    except PermissionError:
        return OpenFiles(paths=(), readable=False)
    except (FileNotFoundError, ProcessLookupError):
        return OpenFiles(paths=(), readable=True)
    found = []
    for name in sorted(names, key=int):
        try:
            found.append((int(name), os.readlink(f"{folder}/{name}")))
        except FileNotFoundError:
            continue
        except PermissionError:
            return OpenFiles(paths=tuple(found), readable=False)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # a file too deep for any path, which anybody can make and open
                raise
    return OpenFiles(paths=tuple(found), readable=True)


def send(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone. Raises PermissionError.

    The descriptor is opened before the identity is compared, so that a pid given away in between is never hit.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read(pid: int, name: str) -> bytes:
    """What the kernel says there. By plain names: every process of a machine is looked at, several times a run."""
    with open(f"{_PROC}/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()


def _tree(root: ProcessIdentity) -> frozenset[ProcessIdentity]:
    if not alive(root):
        return frozenset()
    children: dict[int, list[ProcessStatus]] = {}
    for status in processes():
        children.setdefault(status.parent, []).append(status)
    found = {root}
    waiting = [root.pid]
    while waiting:
        for status in children.get(waiting.pop(), ()):
            if not status.ended and status.identity not in found:
                found.add(status.identity)
                waiting.append(status.identity.pid)
    return frozenset(found)


def _members(directory: Path) -> Iterator[ProcessIdentity]:
    for folder, _, names in os.walk(directory):
        if "cgroup.procs" not in names:
            continue
        for line in _lines(Path(folder) / "cgroup.procs"):
            identity = identify(int(line))
            if identity is not None:
                yield identity


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (FileNotFoundError, OSError):
        return []  # a group that was removed, or one of cgroup v2 whose members sit in threaded groups below


def _thread(pid: int, name: str) -> ThreadMark | None:
    try:
        text = os.fsdecode(_read(pid, f"task/{name}/status"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, switches = "", 0
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "State":
            state = value.split()[0]
        elif key.endswith("_ctxt_switches"):
            switches += int(value)
    return ThreadMark(tid=int(name), state=state, switches=switches)
