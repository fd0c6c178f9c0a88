"""Observes our child processes from outside, and mounts things for a test."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def descendants(ancestor: int) -> list[int]:
    """Every process below `ancestor` that is not a zombie."""
    parents = dict(_living())
    found: list[int] = []
    front = [ancestor]
    while front:
        children = [pid for pid, parent in parents.items() if parent in front]
        found += children
        front = children
    return found


def left_after(look: Callable[[], set[int]], seconds: float = 5.0) -> set[int]:
    """Who is still there when everybody who was killed has had time to die: on a busy machine that takes a while."""
    until = time.monotonic() + seconds
    while (left := look()) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def _living() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            yield int(name), int(parent)


def arguments_and_environment(pid: int) -> list[bytes]:
    """What anybody (arguments) and our own user (environment) can read about it."""
    found = []
    for name in ("cmdline", "environ"):
        try:
            found.append(Path(f"/proc/{pid}/{name}").read_bytes())
        except OSError:
            continue
    return found


@contextmanager
def mounted(kind: str, source: Path, target: Path, options: str) -> Iterator[None]:
    """Mount for the length of a block. `kind` is a file system or `--bind`. Skips, by name, where we may not."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    how = ["--bind"] if kind == "--bind" else ["-t", kind]
    first = "" if kind == "--bind" else options
    _mount(["mount", *how, *(["-o", first] if first else []), str(source), str(target)])
    try:
        if kind == "--bind":
            _mount(["mount", "-o", f"remount,bind,{options}", str(target)])
        yield
    finally:
        _mount(["umount", str(target)])


def _mount(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(argv[:2])}: {done.stderr.strip()}")
