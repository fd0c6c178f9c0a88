"""Lists what is in the stage, and checks that it is unchanged after the engine ran."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from owui_vault.capture.child.marks import Mark

if TYPE_CHECKING:
    from owui_vault.model import Captured  # the child, which writes the list, has no need of it


def _nothing(_path: str) -> Mapping[str, object]:
    return {}


def write_inventory(
    tree: str, target: str, links: Mapping[str, Mark], about: Callable[[str], Mapping[str, object]] = _nothing
) -> None:
    """Write one line for `tree` and for each path below it, sorted by path, with what else is known `about` it.

    Of `links` what they were when the instant was taken.
    """
    with open(target, "w", encoding="ascii") as file:
        for path in ["", *sorted(_paths(tree, ""))]:
            entry = _entry(tree, path)
            mark = links.get(path)
            if mark is not None:  # the file is the live one, which may have been changed since
                entry |= {"size": mark.size, "mtime_ns": mark.mtime_ns, "inode": mark.inode}
            file.write(json.dumps({**entry, **about(path)}) + "\n")


def _paths(tree: str, folder: str) -> Iterator[str]:
    with os.scandir(f"{tree}/{folder}") as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            yield path
            if entry.is_dir(follow_symlinks=False):
                yield from _paths(tree, path)


def _entry(tree: str, path: str) -> dict[str, object]:
    status = os.lstat(f"{tree}/{path}")
    directory = stat.S_ISDIR(status.st_mode)
    return {
        "path": path,
        "kind": _kind(status.st_mode),
        "size": 0 if directory else status.st_size,
        "mtime_ns": 0 if directory else status.st_mtime_ns,
        "inode": status.st_ino,
        "linked": not directory and status.st_nlink > 1,
    }


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "dir"
    return "symlink" if stat.S_ISLNK(mode) else "file"


def verify_stage(captured: Captured) -> tuple[str, ...]:
    """What in the stage is not as it was captured, by name: to be asked once the engine has read it.

    Uploads are links to the live files, so a program that changes one in place changes it here too.
    """
    tree = str(captured.stage / "data")
    return tuple(name for name in _differences(tree, captured.inventory))


def _differences(tree: str, inventory: Path) -> Iterator[str]:
    with inventory.open(encoding="ascii") as file:
        for line in file:
            entry = json.loads(line)
            try:
                now = _entry(tree, entry["path"])
            except FileNotFoundError:
                yield entry["path"]
                continue
            keys = ("kind",) if entry["kind"] == "dir" else ("kind", "size", "mtime_ns", "inode")
            if any(now[key] != entry[key] for key in keys):
                yield entry["path"]
