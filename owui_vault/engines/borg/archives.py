"""What a borg repository holds, and which archive an id means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from owui_vault.engines.borg.borg_tree import Tree, remember_tree
from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.borg.output import (
    ITEM_FORMAT,
    LISTING_FORMAT,
    Archive,
    Item,
    Listing,
    parse_item,
    parse_listing,
)
from owui_vault.engines.borg.program import Borg, Request, archive_argument
from owui_vault.engines.common.spool import Row, spooling
from owui_vault.errors import EngineError, RepositoryDamagedError, SnapshotMissingError
from owui_vault.model import Entry

T = TypeVar("T")
_ENCRYPTED = ("repokey", "keyfile")  # how the names of borg's modes that encrypt begin
_TEMPORARY = ".recreate"  # borg's name for a new archive until the old one is gone
_CHECKPOINT = re.compile(r"(?P<instance>.+)-(?P<time>\d{8}T\d{6}Z)-[0-9a-f]{8}\.checkpoint(\.\d+)?")
_NAMED = re.compile(r"(?P<instance>.+)-(?P<time>\d{8}T\d{6}Z)-[0-9a-f]{8}")


def read_listing(borg: Borg, *options: str) -> Listing:
    """What `borg list` says, oldest first. Raises EngineError for a repository that is not encrypted."""
    done = borg.run(Request(arguments=("list", "--json", "--format", LISTING_FORMAT, *options), reads=True))
    found = borg.understood(parse_listing, done.stdout)
    require_encrypted(borg, found.encryption)
    borg.remember_encrypted(found.repository_id)
    if not options:
        borg.remember_names({each.id: each.name for each in found.archives})
    return replace(found, archives=tuple(sorted(found.archives, key=_order)))


def archives(borg: Borg) -> tuple[Archive, ...]:
    """Everything in the repository but what a killed `relabel` left behind: a second archive of the same data."""
    found = read_listing(borg).archives
    names = {each.name for each in found}
    return tuple(each for each in found if not _is_leftover(each.name, names))


def find(known: Sequence[Archive], engine_id: str) -> Archive:
    """The archive with exactly this id. Raises SnapshotMissingError."""
    found = next((each for each in known if each.id == engine_id), None)
    if found is None:
        raise _missing(engine_id)
    return found


def _missing(engine_id: str) -> SnapshotMissingError:
    return SnapshotMissingError(
        f"there is no snapshot {engine_id!r} in the repository", engine=ENGINE, hint="List the snapshots again."
    )


def at_archive(borg: Borg, engine_id: str, act: Callable[[Archive], T]) -> T:
    """What `act` answers about the archive with exactly this id. Raises SnapshotMissingError.

    An id is the hash of the name too, so that the name it had in the last listing is tried first: that saves a start of
    borg. Where another archive has this name now, a relabelled one for example, borg 1.4 tells it with each path.
    """
    if known := borg.known_name(engine_id):
        with suppress(SnapshotMissingError):
            return act(Archive(id=engine_id, name=known, start=datetime.now(UTC), label=None))
    return act(find(archives(borg), engine_id))


def leftovers(borg: Borg) -> tuple[str, ...]:
    """Names of what dead runs left and nobody needs: half relabelled archives, checkpoints overtaken by a snapshot.

    A checkpoint that nothing overtook is kept: the next run finds there what it need not upload again.
    """
    known = read_listing(borg, "--consider-checkpoints").archives
    names = {each.name for each in known}
    newest: dict[str, str] = {}
    for name in names:
        if match := _NAMED.fullmatch(name):
            newest[match["instance"]] = max(match["time"], newest.get(match["instance"], ""))
    overtaken = {
        name
        for name in names
        if (match := _CHECKPOINT.fullmatch(name)) and match["time"] <= newest.get(match["instance"], "")
    }
    return tuple(sorted(overtaken | {name for name in names if _is_leftover(name, names)}))


def each_item(borg: Borg, archive: Archive, take: Callable[[Item], None], chosen: Sequence[str] = ()) -> None:
    """Hand over all paths of an archive as they are stored, or those that `chosen` patterns of borg take."""
    arguments = ("list", "--json-lines", "--format", ITEM_FORMAT, archive_argument(archive.name), *chosen)

    def listen(line: str) -> None:
        item = borg.understood(parse_item, line)
        if item.archive_id not in ("", archive.id):
            raise _missing(archive.id)
        take(item)

    borg.run(Request(arguments=arguments, long=True, reads=True, on_stdout=listen))


def entries(borg: Borg, archive: Archive) -> Iterator[Entry]:
    """All paths below the tree's root. A hard link has the size of the file it is another name of.

    They are looked at on the way, so that a fetch of the same archive need not list them once more.
    """
    sources: set[str] = set()  # of hard links; rare, so that nobody else pays for remembering all sizes
    tree: Tree | None = Tree()  # None once there is something that may be listed, and not be extracted
    with spooling(borg.folder) as spool:

        def take(item: Item) -> None:
            nonlocal tree
            try:
                if tree:
                    tree.take(item)
            except RepositoryDamagedError:
                tree = None
            if item.hard_link:
                sources.add(item.source)
            if item.path != ".":
                spool.write(item.path, item.kind, item.size_bytes, item.source if item.hard_link else "")

        each_item(borg, archive, take)
        with suppress(RepositoryDamagedError):
            if tree:
                tree.finish()
                remember_tree(borg.folder, archive.id, tree)
        files = (row for row in spool.rows() if not row[3] and row[0] in sources)
        sizes = {row[0]: row[2] for row in files} if sources else {}

    def read(row: Row) -> Entry:
        path, kind, size, link = row
        size = sizes.get(link, 0) if link else size
        return Entry(path=str(path), kind=str(kind), size_bytes=int(str(size)))

    return spool.hand_out(read)


def require_encrypted(borg: Borg, mode: str) -> None:
    """Raise EngineError for a repository that anybody can read."""
    if not mode.startswith(_ENCRYPTED):
        raise EngineError(
            f"{borg.shown_location} is not encrypted (its mode is {mode})",
            engine=ENGINE,
            hint="Only encrypted repositories are used: make a new one with `init` at another place.",
        )


def _is_leftover(name: str, names: set[str]) -> bool:
    return name.endswith(_TEMPORARY) and name.removesuffix(_TEMPORARY) in names


def _order(archive: Archive) -> tuple[datetime, str]:
    return (archive.label.instant if archive.label else archive.start, archive.id)
