"""SQLite's full check of copies that no process writes to: the parent's end.

`quick_check`, which a capture can afford, does not compare indexes with their tables. This does, and reads several
times as much; so it runs beside what comes after the capture, and may be abandoned.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from owui_vault.components.database import full_check_main
from owui_vault.errors import CancelledError, VaultError
from owui_vault.model import FullCheck
from owui_vault.system import python
from owui_vault.system.process import Command, run
from owui_vault.system.work_folder import Folder

NO_TIME = "there was no time for it within this run"

OnEnded = Callable[[FullCheck], object]


@dataclass(slots=True)
class _Said:
    """What the child has said of one database so far."""

    check: FullCheck
    ended: bool = False


def check_in_full(
    tree: Path,
    wanted: Sequence[FullCheck],
    folder: Path,
    *,
    on_ended: OnEnded = lambda _: None,
    cancel: threading.Event,
) -> tuple[FullCheck, ...]:
    """Fill in these checks of databases below `tree`, in this order.

    `folder` is private, for a scratch copy of a damaged one. Never raises for what it finds or cannot do. When `cancel`
    is set it ends, and returns what it knows by then.
    """
    said = {each.path: _Said(each) for each in wanted}

    def take(line: str) -> None:
        words = json.loads(line)
        name = str(words["name"])
        said[name] = _heard(said[name], words)
        if said[name].ended:
            on_ended(said[name].check)

    with _opened(tree, wanted) as descriptors:
        for each in wanted:
            if each.path not in descriptors:
                said[each.path] = _undone(said[each.path], "its copy is missing, or is not a regular file")
        problem = _run(descriptors, folder, take, cancel)
    return tuple(each.check if each.ended else _unfinished(each, problem).check for each in said.values())


def _run(descriptors: dict[str, int], folder: Path, take: Callable[[str], None], cancel: threading.Event) -> str:
    """Why not all of it was done; empty where it was."""
    if not descriptors:
        return ""
    databases = [{"name": name, "descriptor": number} for name, number in descriptors.items()]
    try:
        done = run(
            Command(
                argv=(
                    python.interpreter(any_version=True),
                    "-I",
                    "-S",
                    str(full_check_main.__file__),
                    str(os.getpid()),
                ),
                environment=python.environment(),
                cwd=Path("/"),
                pass_fds=tuple(descriptors.values()),
                stdin=json.dumps({"folder": os.fspath(folder), "databases": databases}),
                name="the full check",
            ),
            on_stdout=take,
            cancel=cancel,
        )
    except CancelledError:
        return NO_TIME
    except VaultError as error:
        return error.message
    if done.status:
        return f"it ended with status {done.status}: {' '.join(done.stderr.split())[-200:]}"
    return ""


def _heard(before: _Said, words: dict[str, object]) -> _Said:
    check = before.check
    if "complaints" in words:
        complaints = words["complaints"]
        check = replace(check, complaints=tuple(map(str, complaints if isinstance(complaints, list) else ())))
    if "undone" in words:
        check = replace(check, not_done=str(words["undone"]))
    if "reindex" in words:
        check = replace(check, reindex=str(words["reindex"]))
    return _Said(check, ended=bool(words.get("ended")))


def _undone(before: _Said, why: str) -> _Said:
    return _Said(replace(before.check, not_done=why), ended=True)


def _unfinished(before: _Said, why: str) -> _Said:
    if before.check.complaints:  # what it has found holds; only the remedy was not tried to the end
        return _Said(replace(before.check, reindex=before.check.reindex or f"not tried: {why}"))
    return _undone(before, before.check.not_done or why)


@contextmanager
def _opened(tree: Path, wanted: Sequence[FullCheck]) -> Iterator[dict[str, int]]:
    """A descriptor of each copy, reached from `tree` without following any link."""
    found: dict[str, int] = {}
    with ExitStack() as held:
        with suppress(OSError):
            folder = held.enter_context(Folder.hold(tree))
            for each in wanted:
                with suppress(OSError):
                    descriptor = folder.open(each.path)
                    held.callback(os.close, descriptor)
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        found[each.path] = descriptor
        yield found
