"""Checks the paths of an archive that is not trusted in anything, before anything of it is extracted.

Borg follows links in the place it extracts to: an archive with a link and then a file below it would be written through
that link, and `a/../../b` leads out of the target.
Bytes of names that are not UTF-8 reach us as `?`, which can only make two names look alike, never hide one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.borg.output import Item
from owui_vault.engines.common.environment import private_folder
from owui_vault.errors import RepositoryDamagedError

_MOST_SPECIAL = 200
_EDGES = ("1970-01-01T00:00:00.000000", "2038-01-17T05:20:47")  # see source_scan; up to a microsecond, as it is listed


@dataclass(slots=True)
class Tree:
    """Folders, links and special files of an archive. Raises RepositoryDamagedError if one leads out of its tree."""

    folders: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)  # of hard links
    special: list[str] = field(default_factory=list)  # devices and the like: never made
    odd_times: list[str] = field(default_factory=list)  # what borg may have moved to the first or last time it keeps

    def take(self, item: Item) -> None:
        """One path, in whatever order."""
        if item.path == ".":
            return
        if item.time.startswith(_EDGES):
            self.odd_times.append(item.path)
        self._require_inside(item.path)
        if item.hard_link:
            self._require_inside(item.source)
            self.sources.add(item.source)
        elif item.kind == "symlink":
            self.links.add(item.path)
        elif item.kind == "other":
            self.special.append(item.path)
        folder = item.path if item.kind == "dir" else _parent(item.path)
        while folder and folder not in self.folders:
            self.folders.add(folder)
            folder = _parent(folder)

    def finish(self) -> None:
        """Whatever the order of its paths was, no link may stand where a folder is."""
        for path in self.links & self.folders:
            raise _hostile(path, "is a link and a folder")
        for source in self.sources:
            if any(folder in self.links for folder in above(source)):
                raise _hostile(source, "is behind a link")
        if len(self.special) > _MOST_SPECIAL or any("?" in path for path in self.special):
            raise _hostile(self.special[0], "is a device or similar that cannot be left out by name")

    @staticmethod
    def _require_inside(path: str) -> None:
        if not path or path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
            raise _hostile(path, "leads outside the snapshot's tree")


def above(path: str) -> Iterator[str]:
    """The folders that a path is in, the nearest first."""
    while path := _parent(path):
        yield path


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _hostile(path: str, why: str) -> RepositoryDamagedError:
    return RepositoryDamagedError(
        f"the snapshot holds {path!r}, which {why}",
        engine=ENGINE,
        hint="Nothing was written. This snapshot was not made by owui_vault, or was tampered with.",
    )


def known_tree(folder: Path, archive_id: str) -> Tree | None:
    """What was found in an archive whose paths were all looked at before; its id is the hash of all it holds."""
    try:
        noted = json.loads(_mark(folder, archive_id).read_bytes())
        texts = {name: [str(each) for each in noted[name]] for name in ("folders", "special", "odd_times")}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Tree(folders=set(texts["folders"]), special=texts["special"], odd_times=texts["odd_times"])


def remember_tree(folder: Path, archive_id: str, tree: Tree) -> None:
    """Note that all paths of this archive are harmless. Without room for that it is done without."""
    found = {name: sorted(paths) for name, paths in asdict(tree).items()}
    with suppress(OSError):
        _mark(folder, archive_id).write_text(json.dumps(found))  # cut off in the midst, it is no trust


def _mark(folder: Path, archive_id: str) -> Path:
    return private_folder(folder, "trusted") / archive_id
