"""Checks a snapshot before it is restored: anyone with the passphrase can write trees that restic never would.

Seen with restic 0.18.0 and 0.19.1, with status 0: a tree with a symlink and a file of the same name changes the mode of
what the link points to, wherever that is. Names with `..` or `/` are refused by restic itself; devices are made.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from owui_vault.engines.common.environment import private_folder
from owui_vault.engines.restic.errors import ENGINE
from owui_vault.engines.restic.output import Document, document_of
from owui_vault.engines.restic.program import Restic, Sinks
from owui_vault.errors import RepositoryDamagedError

#: Paths with times (in nanoseconds) that restic keeps and gives back wrongly: seen with 0.14 to 0.19, where the number
#: of nanoseconds does not fit into 64 bits. What is beyond the year 9999 it moves into that year.
OddTimes = list[tuple[str, int]]
FIRST_TIME_NS, LAST_TIME_NS = -(1 << 63), (1 << 63) - 1
_FIRST_YEAR, _LAST_YEAR = 1677, 2262
_TIME = re.compile(r"(?P<seconds>(?P<year>\d{4})-\d\d-\d\dT[\d:]{8})(?:\.(?P<fraction>\d+))?(?P<zone>Z|[+-]\d\d:\d\d)")
_EPOCH, _SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)
_UNDECODABLE = "\ufffd"  # what restic's JSON makes of every byte that is not UTF-8
_DEVICES = frozenset({"dev", "chardev"})


@dataclass(slots=True)
class _Folder:
    """A directory of the snapshot whose entries are being listed."""

    path: str
    kinds: dict[str, set[str]] = field(default_factory=dict)  # name -> kinds it was listed with


class TreeCheck:
    """Takes the lines of `restic ls --json`, parents before children. Raises RepositoryDamagedError."""

    def __init__(self, target: Path | None = None) -> None:
        """`target`: where it will be restored to; None where it is only looked at."""
        self._target = target
        self._folders = [_Folder("")]
        self.odd_times: OddTimes = []

    def stdout(self, line: str) -> None:
        """One path of the snapshot, or something to pass over."""
        document = document_of(line) or {}
        if document.get("struct_type") == "node" or document.get("message_type") == "node":
            self._take(document)

    def _take(self, document: Document) -> None:
        name, kind, path = (str(document.get(key)) for key in ("name", "type", "path"))
        folder = self._parent(name, path)
        before = folder.kinds.setdefault(name, set())
        if kind in _DEVICES:
            _refuse(f"the device {path!r}")
        # names that are not UTF-8 may look alike; they do harm only where one of them is a link
        if before and (_UNDECODABLE not in name or "symlink" in {kind, *before}):
            _refuse(f"{path!r} more than once")
        before.add(kind)
        if self._target and kind != "symlink":
            self._make_way(f"{self._target}{path}")
        time_ns = odd_time(str(document.get("mtime", "")))
        if time_ns is not None:
            self.odd_times.append((path.removeprefix("/"), time_ns))
        if kind == "dir":
            self._folders.append(_Folder(path))

    def _parent(self, name: str, path: str) -> _Folder:
        while self._folders and f"{self._folders[-1].path}/{name}" != path:
            self._folders.pop()
        if not self._folders or name in ("", ".", "..") or "/" in name or "\0" in name:
            _refuse(f"the name {name!r}")
        return self._folders[-1]

    @staticmethod
    def _make_way(place: str) -> None:
        """Remove a link that is in the target where a directory or file will be: restic 0.14 writes through it."""
        if os.path.islink(place):  # noqa: PTH114  # a hundred thousand times
            Path(place).unlink()


def _refuse(what: str) -> None:
    raise RepositoryDamagedError(
        f"the snapshot holds {what}, which owui_vault never stores",
        engine=ENGINE,
        hint="It was written by something else. Restore another snapshot.",
    )


def check_tree(restic: Restic, engine_id: str, target: Path) -> OddTimes:
    """Refuse a snapshot that could make restic touch anything outside `target`; returns what times it cannot give back.

    A snapshot's id is the hash of all it holds: what was looked at once, or was stored from here, need not be again.
    """
    known = _known(_mark(restic, engine_id))
    if known is not None and not _holds_links(target):
        return known
    check = TreeCheck(target)
    restic.run_checked("ls", "--json", "--no-lock", engine_id, sinks=Sinks(stdout=check.stdout))
    trust_tree(restic, engine_id, known or check.odd_times)
    return known or check.odd_times


def _holds_links(target: Path) -> bool:
    """Whether there may be links in the way: anything but plain files, a restore's own mark for one."""
    with os.scandir(target) as entries:
        return not all(entry.is_file(follow_symlinks=False) for entry in entries)


def is_trusted(restic: Restic, engine_id: str) -> bool:
    """Whether this snapshot was looked at, or stored from here."""
    return _known(_mark(restic, engine_id)) is not None


def trust_tree(restic: Restic, engine_id: str, odd_times: OddTimes) -> None:
    """Remember that this snapshot was looked at, or stored from here. Without room for that it is done without."""
    with suppress(OSError):
        _mark(restic, engine_id).write_text(json.dumps(odd_times))  # cut off in the midst, it is no trust


def _known(mark: Path) -> OddTimes | None:
    """What was noted of a snapshot that is trusted; None for another."""
    try:
        return [(str(path), int(time_ns)) for path, time_ns in json.loads(mark.read_bytes())]
    except (OSError, ValueError, TypeError):
        return None


def odd_time(text: str) -> int | None:
    """The nanoseconds of a time in restic's listing that restic gives back wrongly; None for one that it does not."""
    found = _TIME.fullmatch(text)
    if not found or _FIRST_YEAR < int(found["year"]) < _LAST_YEAR:
        return None
    fraction = int((found["fraction"] or "").ljust(9, "0")[:9])
    try:
        seconds = (datetime.fromisoformat(found["seconds"] + found["zone"].replace("Z", "+00:00")) - _EPOCH) // _SECOND
    except (ValueError, OverflowError):
        return None
    return seconds * 10**9 + fraction


def _mark(restic: Restic, engine_id: str) -> Path:
    return private_folder(restic.call.folder, "trusted") / engine_id
