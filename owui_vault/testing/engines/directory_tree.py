"""The tree of a snapshot of the directory engine: from disk to nodes and back."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from owui_vault.errors import RepositoryDamagedError
from owui_vault.system.attributes import Attributes, give, read_extended
from owui_vault.system.patterns import is_chosen

_PIECE = 1 << 16
_KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "symlink"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One path. `object` names a file's content, `link` the path it is hard-linked to, `points_to` a symlink's text."""

    path: str
    kind: str
    mode: int
    mtime_ns: int
    owner: int
    group: int
    size: int = 0
    object: str = ""
    link: str = ""
    points_to: str = ""
    extended: dict[str, str] = field(default_factory=dict)  # access lists and extended attributes, in base64

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`; undecodable bytes stay as they are in `str`, as lone surrogates."""
        return asdict(self)


def node_of(document: Any) -> Node:
    """The node that `to_json` wrote."""
    return Node(**document)


def walk(tree: Path) -> Iterator[Node]:
    """Every path below `tree`, parents first."""
    seen: dict[tuple[int, int], str] = {}
    for folder, directories, files in os.walk(tree):
        directories.sort()
        for name in sorted([*directories, *files]):
            full = Path(folder) / name
            facts = full.lstat()
            path = str(full.relative_to(tree))
            first = seen.setdefault((facts.st_dev, facts.st_ino), path) if stat.S_ISREG(facts.st_mode) else path
            yield _node(full, path, facts, first)


def _node(full: Path, path: str, facts: os.stat_result, first: str) -> Node:
    kind = next((kind for test, kind in _KINDS if test(facts.st_mode)), "other")
    return Node(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(facts.st_mode),
        mtime_ns=facts.st_mtime_ns,
        owner=facts.st_uid,
        group=facts.st_gid,
        size=facts.st_size if kind == "file" else 0,
        link="" if first == path else first,
        points_to=str(full.readlink()) if kind == "symlink" else "",
        extended={name: base64.b64encode(value).decode() for name, value in read_extended(str(full)).items()},
    )


def write_nodes(
    nodes: Sequence[Node], target: Path, content: Callable[[Node], Path], *, paths: Sequence[str] = ()
) -> Iterator[Node]:
    """Write the nodes (or what `paths` names of them) below `target`, each answered when it is there."""
    asked = [each.strip("/") for each in paths]
    chosen = [node for node in nodes if is_chosen(node.path, asked)]
    by_path = {node.path: node for node in nodes}
    for node in chosen:
        place = _place(target, node)
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(node, place, target, by_path, content)
        yield node
    for node in reversed(chosen):  # children first: writing into a directory changes its mtime
        _dress(node, _place(target, node))


def _place(target: Path, node: Node) -> Path:
    """Where it goes. Raises RepositoryDamagedError for a name that leads out of `target`."""
    parts = node.path.split("/")
    place = target.joinpath(*parts)
    if not node.path or {"", ".", ".."} & set(parts) or not place.parent.resolve().is_relative_to(target.resolve()):
        raise RepositoryDamagedError(
            f"the snapshot holds the path {node.path!r}",
            engine="directory",
            hint="That name, or a link that somebody put into the target, leads out of it: restore into an empty one.",
        )
    return place


def _write(node: Node, place: Path, target: Path, by_path: dict[str, Node], content: Callable[[Node], Path]) -> None:
    if node.kind == "dir":
        if place.is_symlink() or place.is_file():
            place.unlink()
        place.mkdir(exist_ok=True)
        return
    place.unlink(missing_ok=True)
    if node.kind == "symlink":
        place.symlink_to(node.points_to)
    elif node.link and (target / node.link).exists():
        place.hardlink_to(target / node.link)
    elif node.kind == "file":
        _copy(content(by_path[node.link] if node.link else node), place)


def _copy(source: Path, place: Path) -> None:
    """Write a file's bytes; where there are nothing but zeros a hole will do."""
    with source.open("rb") as file, place.open("xb") as out:
        while piece := file.read(_PIECE):
            if piece.count(0) == len(piece):
                out.seek(len(piece), os.SEEK_CUR)
            else:
                out.write(piece)
        out.truncate()


def _dress(node: Node, place: Path) -> None:
    if node.kind not in ("file", "dir"):
        return
    extended = {name: base64.b64decode(value) for name, value in node.extended.items()}
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give(descriptor, Attributes(node.mode, node.owner, node.group, extended))
    finally:
        os.close(descriptor)
    os.utime(place, ns=(node.mtime_ns, node.mtime_ns))
