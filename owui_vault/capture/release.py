"""Removes our links to uploads, and records their inodes without them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from owui_vault.capture.child.known_uploads import IN_DOUBT, identity_of, key_of, shape_of
from owui_vault.system.work_folder import Folder


class Released(NamedTuple):
    """One upload of a capture: what engines saw of it, and how it was known before our link and is known after it."""

    key: int
    shape: int
    before: int
    after: int  # IN_DOUBT: it may have been written to meanwhile


def release_uploads(stage: Path, inventory: Path) -> tuple[Released, ...]:
    """Remove the links to uploads from the stage, one after the other, and say how each upload is known from now on.

    What was copied is answered as well. Through descriptors, which lead to no other file and open none for reading.
    """
    if not inventory.exists():
        return ()  # the capture did not get that far
    found: list[Released] = []
    left: dict[int, int] = {}  # by inode, of files with more names than one: their ctime as our last removal left it
    several: dict[int, int] = {}  # which of those found are names of which
    with Folder.hold(stage / "data") as inside, inventory.open(encoding="ascii") as lines:
        for line in lines:
            entry = json.loads(line)
            if "upload" in entry:
                found.append(_released(inside, entry["path"], entry, left))
                several[len(found) - 1] = entry["upload"]
    for number, inode in several.items():  # each removal has moved the ctime under all of the names
        if inode in left and found[number].after != IN_DOUBT:
            found[number] = found[number]._replace(after=identity_of(inode, left[inode]))
    return tuple(found)


def _released(inside: Folder, name: str, entry: dict[str, int], left: dict[int, int]) -> Released:
    inode, before, now = entry["upload"], entry["before_ns"], entry["ctime_ns"]
    after = IN_DOUBT
    if not entry["linked"]:
        after = identity_of(inode, now) if now else IN_DOUBT
    elif now:
        after = _without_link(inside, name, entry, left)
    shape = shape_of(entry["size"], entry["mtime_ns"])
    return Released(key_of(name), shape, identity_of(inode, before), after)


def _without_link(inside: Folder, name: str, entry: dict[str, int], left: dict[int, int]) -> int:
    """Only what was as our link left it until now is known afterwards: who wrote to it moved its ctime."""
    try:
        place = inside.place(name)
        descriptor = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return IN_DOUBT
    try:
        status = os.fstat(descriptor)
        if (status.st_ino, status.st_ctime_ns) != (entry["inode"], left.get(entry["inode"], entry["ctime_ns"])):
            return IN_DOUBT
        os.unlink(place)
        status = os.fstat(descriptor)
    except OSError:
        return IN_DOUBT
    finally:
        os.close(descriptor)
    if status.st_nlink > 1:
        left[status.st_ino] = status.st_ctime_ns
    same = (status.st_size, status.st_mtime_ns) == (entry["size"], entry["mtime_ns"])
    return identity_of(status.st_ino, status.st_ctime_ns) if same else IN_DOUBT
