"""Scans a tree before borg does: the list that borg is given, and the facts of each file.

The facts are in a file of their own, one record per path in the order of the list: a hundred thousand of them need not
be in memory for the sake of the one file that borg may find changed.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.common.unreadable import require_content
from owui_vault.model import SkippedFile

LAST = "."  # named last: its status tells that all others are done
_UNREADABLE_REASON = "permission denied"
_FACTS = struct.Struct("<QQqI")  # inode, size, mtime in seconds (file systems know years beyond 9999) and nanoseconds
_PIECE = 1 << 16
#: What borg 1.2 and 1.4 keep of a time: others are moved to the nearer end (`MAX_S` for the sake of 32-bit machines).
FIRST_TIME_NS, LAST_TIME_NS = 0, 2_147_310_847 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A tree as it was. `list` names its paths, parents first, each ended by NUL; `facts` is beside it."""

    paths: int
    size_bytes: int
    unreadable: tuple[SkippedFile, ...]
    odd_times: tuple[str, ...]  # paths whose times borg cannot keep
    list: Path

    def still_holds(self, tree: Path, path: str) -> bool:
        """Whether this file is the one we saw, with the bytes it had then.

        borg goes by the ctime, which also moves when another name of the same file is removed: a user deletes an upload
        whose link is in the stage.
        """
        wanted = os.fsencode(path.removeprefix("./"))
        number = next((number for number, known in enumerate(_names(self.list)) if known == wanted), None)
        if number is None:
            return False
        with _facts_beside(self.list).open("rb") as file:
            file.seek(number * _FACTS.size)
            seen = file.read(_FACTS.size)
        try:
            return seen == _packed((tree / path).lstat())
        except OSError:
            return False


def take_survey(tree: Path, list_path: Path) -> Survey:
    """Write down every path below `tree` for borg to read. Raises EngineError when there is none."""
    require_content(tree, ENGINE)  # borg itself would make an archive without a single file
    with list_path.open("wb") as names, _facts_beside(list_path).open("wb") as facts:
        found = _Found(names, facts)
        found.walk(os.fsencode(tree), b"")
        names.write(os.fsencode(LAST))
    return Survey(
        paths=found.paths,
        size_bytes=found.size_bytes,
        unreadable=tuple(found.unreadable),
        odd_times=tuple(sorted(found.odd_times)),
        list=list_path,
    )


def _facts_beside(list_path: Path) -> Path:
    return list_path.with_name(f"{list_path.name}-facts")


def _packed(facts: os.stat_result) -> bytes:
    size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return _FACTS.pack(facts.st_ino, size, *divmod(facts.st_mtime_ns, 10**9))


def _names(list_path: Path) -> Iterator[bytes]:
    rest = b""
    with list_path.open("rb") as file:
        while piece := file.read(_PIECE):
            *names, rest = (rest + piece).split(b"\0")
            yield from names


@dataclass(slots=True)
class _Found:
    names: BinaryIO
    facts: BinaryIO
    paths: int = 0
    size_bytes: int = 0
    unreadable: list[SkippedFile] = field(default_factory=list)
    odd_times: list[str] = field(default_factory=list)

    def walk(self, folder: bytes, prefix: bytes) -> None:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.inode())  # the order in which disks read best
        except OSError as error:
            self._miss(prefix.rstrip(b"/") or b".", error.strerror or str(error))
            return
        for entry in found:
            self._one(entry, prefix + entry.name)

    def _one(self, entry: os.DirEntry[bytes], path: bytes) -> None:
        facts = entry.stat(follow_symlinks=False)
        self.paths += 1
        self.names.write(path + b"\0")
        self.facts.write(_packed(facts))
        if not FIRST_TIME_NS <= facts.st_mtime_ns <= LAST_TIME_NS:
            self.odd_times.append(os.fsdecode(path))
        if entry.is_dir(follow_symlinks=False):
            self.walk(entry.path, path + b"/")
        elif entry.is_file(follow_symlinks=False):
            self.size_bytes += facts.st_size
            if not os.access(entry.path, os.R_OK, effective_ids=True):
                self._miss(path, _UNREADABLE_REASON)

    def _miss(self, path: bytes, reason: str) -> None:
        self.unreadable.append(SkippedFile(path=os.fsdecode(path), reason=reason))
