"""Files by component: counts, bytes and one digest over the sorted list, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from owui_vault.components.names import not_the_data
from owui_vault.instance.layout import component_of
from owui_vault.model import KINDS, CapturePlan, Component, ComponentRecord, Entry

_IN_DATA = "data/"


@dataclass(frozen=True, slots=True)
class Listed:
    """One file or symlink, by its path below `data/`. A symlink's size is 0: engines disagree about it."""

    path: str
    size_bytes: int


def from_inventory(inventory: Path) -> Iterator[Listed]:
    """The files of a capture: JSON lines with `path`, `kind` and `size`, paths relative to the tree or to `data/`."""
    with inventory.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            value = json.loads(line)
            yield from _listed(value["path"], value["kind"], value["size"])


def from_entries(entries: Iterable[Entry]) -> Iterator[Listed]:
    """The files below `data/` of a snapshot, as an engine lists it."""
    for entry in entries:
        if entry.path.startswith(_IN_DATA):
            yield from _listed(entry.path.removeprefix(_IN_DATA), entry.kind, entry.size_bytes)


def _listed(path: str, kind: str, size: int) -> Iterator[Listed]:
    if kind in ("file", "symlink"):
        yield Listed(path, size if kind == "file" else 0)


def from_tree(data_dir: Path) -> Iterator[Listed]:
    """The files of a data directory at rest."""
    root = os.fspath(data_dir)
    for folder, below, files in os.walk(root):
        links = [name for name in below if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118 - hot loop
        for name in (*files, *links):
            full = f"{folder}/{name}"
            status = os.lstat(full)
            kind = {stat.S_IFREG: "file", stat.S_IFLNK: "symlink"}.get(stat.S_IFMT(status.st_mode), "other")
            yield from _listed(full[len(root) + 1 :], kind, status.st_size)


def walk_live(
    plan: CapturePlan, enters: Callable[[str], bool] = lambda _: True, closed: Callable[[str], object] = lambda _: None
) -> Iterator[tuple[str, Callable[[], int]]]:
    """Whatever is no folder in the live data of a plan, and how large it is; only asked for the size it is looked at.

    Links are not followed, but for components. `enters` says which folders are walked, `closed` hears of those that
    this user may not look into.
    """
    links = dict(plan.links)
    foreign = not_the_data(plan.data_dir)
    waiting = [("", plan.data_dir)]  # not by calls of itself: what is excluded may be as deep as it likes
    while waiting:
        prefix, folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            if isinstance(error, PermissionError):
                closed(prefix)
            continue
        for entry in entries:
            name = prefix + entry.name
            if name in foreign:
                continue
            is_component = name in links
            if is_component and links[name].is_dir():
                place = links[name]
            elif entry.is_dir(follow_symlinks=False):
                place = Path(entry.path)
            else:
                yield name, partial(_live_size, entry, follow=is_component)
                continue
            if enters(name):
                waiting.append((f"{name}/", place))


def _live_size(entry: os.DirEntry[str], *, follow: bool) -> int:
    try:
        return entry.stat().st_size if entry.is_file(follow_symlinks=follow) else 0
    except OSError:
        return 0


def from_outside(outside: Path) -> Iterator[Listed]:
    """The files that were put beside `data/`, by their paths below `outside/`."""
    for path in outside.rglob("*"):
        if path.is_file():
            yield Listed(str(path.relative_to(outside)), path.stat().st_size)


class Totals:
    """Files and bytes per component, without keeping a name."""

    def __init__(self) -> None:
        self._files: Counter[Component] = Counter()
        self._bytes: Counter[Component] = Counter()

    def add(self, listed: Listed) -> Component:
        """Count one file; returns its component."""
        component = component_of(listed.path)
        self._files[component] += 1
        self._bytes[component] += listed.size_bytes
        return component

    def sums(self) -> Iterator[tuple[Component, int, int]]:
        """Component, files and bytes, in the components' own order."""
        yield from ((each, self._files[each], self._bytes[each]) for each in Component if self._files[each])


class FileList:
    """A list of files that answers questions about itself; a context manager.

    It is kept in a temporary SQLite file, so that a million names cost no memory.
    """

    def __init__(self, listed: Iterable[Listed], component: Callable[[str], Component] = component_of) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)  # "": a private file that SQLite removes
        self._connection.execute(
            "CREATE TABLE file (component TEXT, line BLOB, size INTEGER, PRIMARY KEY (component, line)) WITHOUT ROWID"
        )
        self._component = component
        self._connection.execute("BEGIN")
        rows = ((component(each.path).value, _line(each), each.size_bytes) for each in listed)
        self._connection.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def __enter__(self) -> FileList:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def records(self) -> tuple[ComponentRecord, ...]:
        """One record per component that has files; its digest is over its lines `path NUL size LF`, sorted by bytes."""
        found = (self._record(component) for component in Component)
        return tuple(each for each in found if each.files)

    def size_of(self, path: str) -> int | None:
        """The size of one file; None: it is not in the list."""
        begin = _bytes(path) + b"\0"
        row = self._connection.execute(
            "SELECT size FROM file WHERE component = ? AND line >= ? AND line < ?",
            (self._component(path).value, begin, _bytes(path) + b"\1"),
        ).fetchone()
        return None if row is None else int(row[0])

    def has_veiled(self, component: Component) -> bool:
        """Whether a name in it may not be told in full: borg lists a `?` for each byte that is no UTF-8."""
        query = "SELECT 1 FROM file WHERE component = ? AND instr(line, x'3f') LIMIT 1"
        return self._connection.execute(query, (component.value,)).fetchone() is not None

    def _record(self, component: Component) -> ComponentRecord:
        digest, files, total = hashlib.sha256(), 0, 0
        query = "SELECT line, size FROM file WHERE component = ? ORDER BY line"
        for line, size in self._connection.execute(query, (component.value,)):
            digest.update(line)
            files += 1
            total += size
        return ComponentRecord(
            name=component, files=files, size_bytes=total, digest=digest.hexdigest(), kind=KINDS[component]
        )


def component_records(
    listed: Iterable[Listed], component: Callable[[str], Component] = component_of
) -> tuple[ComponentRecord, ...]:
    """The records of a manifest, from whatever lists files. `component` returns which one a path belongs to."""
    with FileList(listed, component) as files:
        return files.records()


def _bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # no file has such a name; a list that was tampered with may
        return path.encode(errors="surrogatepass")


def _line(listed: Listed) -> bytes:
    return _bytes(listed.path) + b"\0" + str(listed.size_bytes).encode() + b"\n"
