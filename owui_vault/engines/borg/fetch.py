"""Fetches from an archive that is not trusted in anything: its paths are checked before anything is extracted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from owui_vault.engines.borg.archives import each_item
from owui_vault.engines.borg.borg_tree import Tree, above, known_tree, remember_tree
from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.borg.output import Archive, Message
from owui_vault.engines.borg.program import Borg, Request, archive_argument
from owui_vault.engines.common.disk_full import tells_full_disk
from owui_vault.engines.common.unreadable import named
from owui_vault.errors import EngineError, NoSpaceError, RepositoryDamagedError, RepositoryFullError
from owui_vault.model import Progress, Step
from owui_vault.system.patterns import is_chosen

_LONGEST_ARGUMENTS = 100_000  # bytes of paths in one command line
_HARMLESS = re.compile(r"never matched|when setting (?:extended attribute|ACL)|Killed stale lock|Removed stale")
_DAMAGED = re.compile(r"damaged \(all-zero\) chunks|[Ss]ize inconsistency")
_UNDECODABLE = re.compile("[\udc80-\udcff]")


def fetch(borg: Borg, archive: Archive, target: Path, paths: Sequence[str]) -> None:
    """Write the archive, or only `paths` of it, into `target`."""
    wanted = tuple(path for path in (_cleaned(each) for each in paths) if path)
    if paths and not wanted:
        return
    portions = list(_in_portions(wanted))
    # What is not extracted cannot lead anywhere: for a manifest among a hundred thousand files, only it is looked at.
    tree = known_tree(borg.folder, archive.id) or _checked(
        borg, archive, _patterns(wanted) if len(portions) == 1 else ()
    )
    _make_way(target, tree.folders)
    listener = _Listener(borg)
    for some in portions:
        _extract(listener, archive, target, some, tree.special)
        listener.portion_done()
    if odd := [path for path in sorted(tree.odd_times) if is_chosen(path, wanted)]:
        borg.call.warn(
            "these have the first or last time that borg can store (1970, January 2038), and may have had another:"
            f" {named(odd)}"
        )


def _checked(borg: Borg, archive: Archive, chosen: Sequence[str]) -> Tree:
    tree = Tree()
    each_item(borg, archive, tree.take, chosen)
    tree.finish()
    if not chosen:
        remember_tree(borg.folder, archive.id, tree)
    return tree


def _patterns(paths: Sequence[str]) -> list[str]:
    """These paths with what is below them, and the folders above them."""
    folders = sorted({each for path in paths for each in above(path)})
    return [*(f"pf:{folder}" for folder in folders), *(f"pp:{path}" for path in paths)]


def _cleaned(path: str) -> str:
    """The path as borg stores it; empty for one that no snapshot can hold."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


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
