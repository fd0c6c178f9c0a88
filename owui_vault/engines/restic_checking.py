"""Looking at a snapshot before it is restored: whoever has the passphrase can write trees that restic never would.

Seen with restic 0.18.0 and 0.19.1, with status 0: a tree with a symlink and a file of the same name changes the mode of
what the link points to, wherever that is. Names with `..` or `/` are refused by restic itself; devices are made.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.engines.environment import private_folder
from owui_vault.engines.restic_errors import ENGINE
from owui_vault.engines.restic_output import Document, document_of
from owui_vault.engines.restic_program import Restic, Sinks
from owui_vault.errors import RepositoryDamagedError

_UNDECODABLE = "\ufffd"  # what restic's JSON makes of every byte that is not UTF-8
_DEVICES = frozenset({"dev", "chardev"})


@dataclass(slots=True)
class _Folder:
    """A directory of the snapshot whose entries are being listed."""

    path: str
    kinds: dict[str, set[str]] = field(default_factory=dict)  # name -> kinds it was listed with


class TreeCheck:
    """Takes the lines of `restic ls --json`, parents before children. Raises RepositoryDamagedError."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._folders = [_Folder("")]

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
        self._make_way(path, kind)
        if kind == "dir":
            self._folders.append(_Folder(path))

    def _parent(self, name: str, path: str) -> _Folder:
        while self._folders and f"{self._folders[-1].path}/{name}" != path:
            self._folders.pop()
        if not self._folders or name in ("", ".", "..") or "/" in name or "\0" in name:
            _refuse(f"the name {name!r}")
        return self._folders[-1]

    def _make_way(self, path: str, kind: str) -> None:
        """Remove a link that lies in the target where a directory or file will be: restic 0.14 writes through it."""
        place = f"{self._target}{path}"
        if kind != "symlink" and os.path.islink(place):  # noqa: PTH114  # a hundred thousand times
            Path(place).unlink()


def _refuse(what: str) -> None:
    raise RepositoryDamagedError(
        f"the snapshot holds {what}, which no backup of ours does",
        engine=ENGINE,
        hint="Somebody else wrote it. Restore another snapshot.",
    )


def check_tree(restic: Restic, engine_id: str, target: Path) -> None:
    """Refuse a snapshot that could make restic touch anything outside `target`.

    A snapshot's id is the hash of all it holds: what was looked at once, or was stored from here, need not be again.
    """
    mark = _mark(restic, engine_id)
    if mark.exists() and not _holds_links(target):
        return
    check = TreeCheck(target)
    restic.insist("ls", "--json", "--no-lock", engine_id, sinks=Sinks(stdout=check.stdout))
    mark.touch()


def _holds_links(target: Path) -> bool:
    """Whether there may be links in the way: anything but plain files, a restore's own mark for one."""
    with os.scandir(target) as entries:
        return not all(entry.is_file(follow_symlinks=False) for entry in entries)


def trust_tree(restic: Restic, engine_id: str) -> None:
    """Remember that this snapshot was stored from here. Without room for that it is stored all the same."""
    with suppress(OSError):
        _mark(restic, engine_id).touch()


def _mark(restic: Restic, engine_id: str) -> Path:
    return private_folder(restic.call.folder, "trusted") / engine_id
