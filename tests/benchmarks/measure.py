"""Timing whole processes, and watching their memory from outside."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_SAMPLE_SECONDS = 0.01
ENGINES = ("restic", "borg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process from its start to its end, with everything it started and waited for."""

    wall: float
    cpu: float
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Something to run and time. `prepare` is not timed."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None = None
    accepted: tuple[int, ...] = (0,)
    prepare: Callable[[], object] = field(default=lambda: None)


def timed(program: Program) -> Run:
    """Run it once. Raises RuntimeError with what it said when it fails."""
    program.prepare()
    before = time.monotonic()
    child = start(program)
    output = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - before
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.stdout:
        child.stdout.close()
    require_success(program, child.returncode, output)
    return Run(wall=wall, cpu=usage.ru_utime + usage.ru_stime, output=output)


def start(program: Program) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program.argv,
        env=dict(program.environment),
        cwd=program.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def require_success(program: Program, status: int, output: str) -> None:
    if status not in program.accepted:
        raise RuntimeError(f"{' '.join(program.argv)} ended with {status}:\n{output[-3000:]}")


def in_turn(programs: Mapping[str, Program], rounds: int) -> dict[str, list[Run]]:
    """All of them, one after the other, `rounds` times: what disturbs the machine disturbs all."""
    runs: dict[str, list[Run]] = {name: [] for name in programs}
    for number in range(rounds):
        names = list(programs) if number % 2 == 0 else list(reversed(list(programs)))
        for name in names:
            runs[name].append(timed(programs[name]))
    return runs


def middle(runs: Sequence[Run], what: str = "wall") -> float:
    return float(median(getattr(run, what) for run in runs))


def ratio(ours: Sequence[Run], theirs: Sequence[Run], what: str = "wall") -> float:
    """The median of the ratios of neighbours in time."""
    return float(median(getattr(mine, what) / getattr(other, what) for mine, other in zip(ours, theirs, strict=True)))


def peaks(program: Program) -> dict[str, int]:
    """Run it once; the highest resident memory, in bytes, of its own processes and of the engines below it.

    Read from /proc every few milliseconds: the kernel keeps each process's peak for us.
    """
    program.prepare()
    child = start(program)
    seen: dict[int, tuple[str, int]] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(child.pid, seen, ended))
    watcher.start()
    output = child.stdout.read() if child.stdout else ""
    status = child.wait()
    ended.set()
    watcher.join()
    if child.stdout:
        child.stdout.close()
    require_success(program, status, output)
    highest = {"ours": 0, "helpers": 0, "engine": 0}
    for pid, (name, peak) in seen.items():
        kind = "engine" if name in ENGINES else "ours" if pid == child.pid else "helpers"
        highest[kind] = max(highest[kind], peak)
    return highest


def _watch(root: int, seen: dict[int, tuple[str, int]], ended: threading.Event) -> None:
    while not ended.wait(_SAMPLE_SECONDS):
        for pid in _family(root):
            sample = _peak(pid)
            if sample:
                seen[pid] = sample


def _family(root: int) -> list[int]:
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                left += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _peak(pid: int) -> tuple[str, int] | None:
    try:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        return fields["Name"].strip(), int(fields["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None  # gone, or not yet anything
