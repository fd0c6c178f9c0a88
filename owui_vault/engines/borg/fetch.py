"""Fetches from an archive that is not trusted in anything.

Borg follows links in the place it extracts to: an archive with a link and then a file below it would be written through
that link, and `a/../../b` leads out of the target. So all paths are checked before anything is extracted.
Bytes of names that are not UTF-8 reach us as `?`, which can only make two names look alike, never hide one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.engines.borg.archives import each_item
from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.borg.output import Archive, Item, Message
from owui_vault.engines.borg.program import Borg, Request, archive_argument
from owui_vault.engines.common.disk_full import tells_full_disk
from owui_vault.engines.common.unreadable import named
from owui_vault.errors import EngineError, NoSpaceError, RepositoryDamagedError, RepositoryFullError
from owui_vault.model import Progress, Step

_LONGEST_ARGUMENTS = 100_000  # bytes of paths in one command line
_MOST_SPECIAL = 200
_HARMLESS = re.compile(r"never matched|when setting (?:extended attribute|ACL)|Killed stale lock|Removed stale")
_DAMAGED = re.compile(r"damaged \(all-zero\) chunks|[Ss]ize inconsistency")
_EDGES = ("1970-01-01T00:00:00.000000", "2038-01-17T05:20:47")  # see borg_survey; up to a microsecond, as it is listed
_UNDECODABLE = re.compile("[\udc80-\udcff]")


def fetch(borg: Borg, archive: Archive, target: Path, paths: Sequence[str]) -> None:
    """Write the archive, or only `paths` of it, into `target`."""
    wanted = tuple(path for path in (_cleaned(each) for each in paths) if path)
    if paths and not wanted:
        return
    portions = list(_in_portions(wanted))
    shape = _Shape()
    # What is not extracted cannot lead anywhere: for a manifest among a hundred thousand files, only it is looked at.
    each_item(borg, archive, shape.take, _patterns(wanted) if len(portions) == 1 else ())
    shape.finish()
    _make_way(target, shape.folders)
    listener = _Listener(borg)
    for some in portions:
        _extract(listener, archive, target, some, shape.special)
        listener.portion_done()
    if shape.odd_times:
        borg.call.warn(
            "these have the first or last time that borg can store (1970, January 2038), and may have had another:"
            f" {named(sorted(shape.odd_times))}"
        )


def _patterns(paths: Sequence[str]) -> list[str]:
    """These paths with what is below them, and the folders above them."""
    above = sorted({each for path in paths for each in _above(path)})
    return [*(f"pf:{folder}" for folder in above), *(f"pp:{path}" for path in paths)]


def _cleaned(path: str) -> str:
    """The path as borg stores it; empty for one that no snapshot can hold."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


@dataclass(slots=True)
class _Shape:
    """Folders, links and special files of an archive. Raises RepositoryDamagedError if one leads out of its tree."""

    folders: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)  # of hard links
    special: list[str] = field(default_factory=list)  # devices and the like: never made
    odd_times: list[str] = field(default_factory=list)  # what borg may have moved to the first or last time it keeps

    def take(self, item: Item) -> None:
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
            if any(folder in self.links for folder in _above(source)):
                raise _hostile(source, "is behind a link")
        if len(self.special) > _MOST_SPECIAL or any("?" in path for path in self.special):
            raise _hostile(self.special[0], "is a device or similar that cannot be left out by name")

    @staticmethod
    def _require_inside(path: str) -> None:
        if not path or path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
            raise _hostile(path, "leads outside the snapshot's tree")


def _hostile(path: str, why: str) -> RepositoryDamagedError:
    return RepositoryDamagedError(
        f"the snapshot holds {path!r}, which {why}",
        engine=ENGINE,
        hint="Nothing was written. This snapshot was not made by owui_vault, or was tampered with.",
    )


def _above(path: str) -> Iterator[str]:
    while path := _parent(path):
        yield path


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _make_way(target: Path, folders: set[str]) -> None:
    """Remove links and files that lie where a folder of the archive will be: borg would follow the links."""
    for folder, directories, files in os.walk(target):
        for path in (Path(folder, name) for name in (*directories, *files)):
            shown = _UNDECODABLE.sub("?", str(path.relative_to(target)))
            if shown in folders and (path.is_symlink() or not path.is_dir()):
                path.unlink()


def _in_portions(paths: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All paths, as many at a time as fit into a command line; no paths at all mean everything."""
    portion: list[str] = []
    size = 0
    for path in paths:
        if portion and size + len(path) > _LONGEST_ARGUMENTS:
            yield tuple(portion)
            portion, size = [], 0
        portion.append(path)
        size += 8 + len(os.fsencode(path))
    if portion or not paths:
        yield tuple(portion)


def _extract(
    listener: _Listener, archive: Archive, target: Path, paths: tuple[str, ...], special: Iterable[str]
) -> None:
    # The root itself is left out: the target's own mode and times are its owner's business.
    excluded = [f"pf:{path}" for path in (".", *special)]
    request = Request(
        arguments=(
            "extract", "--progress", "--numeric-ids", "--sparse",
            *(part for each in excluded for part in ("--exclude", each)),
            archive_argument(archive.name), *_patterns(paths),
        ),
        long=True,
        reads=True,
        cwd=target,
        on_message=listener.take,
    )  # fmt: skip
    try:
        done = listener.borg.run(request)
    except RepositoryFullError as error:
        raise _no_space(target) from error
    if done.status != 0:  # with 0 all came back, whatever was said on the way
        _judge(listener.borg, done.complaints, target)


@dataclass(slots=True)
class _Listener:
    """Tells how much has come: borg counts again for each portion, and may say nothing at all of a quick one."""

    borg: Borg
    before: int = 0  # bytes of portions that are done
    portion: int = 0

    def take(self, message: Message) -> None:
        if message.type == "progress_percent" and message.msgid == "extract" and message.done is not None:
            self.portion = max(self.portion, message.total or 0)
            self._tell(self.before + message.done)

    def portion_done(self) -> None:
        self.before += self.portion
        self.portion = 0
        self._tell(self.before)

    def _tell(self, done: int) -> None:
        total = max(done, self.before + self.portion)
        self.borg.call.progress(Progress(step=Step.FETCH, done_bytes=done, total_bytes=total))


def _judge(borg: Borg, complaints: Sequence[Message], target: Path) -> None:
    """A warning of `extract` is a file that did not come back."""
    serious = [each.text for each in complaints if not (each.is_of_the_host or _HARMLESS.search(each.text))]
    if any(tells_full_disk(text) for text in serious):
        raise _no_space(target)
    for text in serious:
        kind = RepositoryDamagedError if _DAMAGED.search(text) else EngineError
        raise kind(
            f"not everything was restored: {borg.clean(text)}",
            engine=ENGINE,
            stderr_tail=borg.clean("\n".join(serious))[-2000:],
            hint="Run `verify --read-data` on the repository." if kind is RepositoryDamagedError else "",
        )


def _no_space(target: Path) -> NoSpaceError:
    return NoSpaceError(f"no space left at {target}", hint="Choose a target with more free space.")
