"""Swaps parts of a data directory by renames, forwards and back again, from any point at which a crash left them.

The location of each part shows how far the swap has come, so nothing has to be recorded between the steps:

    before        data/part (old)                     new/part
    set aside                       aside/part (old)  new/part
    exchanged     data/part (new)   aside/part (old)

Its record names only places inside `DATA_DIR/.owui-vault`, relative to it: the directory may have a different path by
the time it is read, in another mount or after a move. `rollback` is the program that reads it.

The application owns the data directory and may have directories open that were moved: every name is looked up below an
open directory, and no link is followed.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from owui_vault.components.names import WORK_DIR, not_the_data
from owui_vault.errors import RestoreError, RollbackError
from owui_vault.operations.recovery.key_swap import swap_key, undo_key
from owui_vault.system.attributes import Attributes, give, read_extended
from owui_vault.system.work_folder import Folder, NotOursError, WorkFolder

INCOMING = "incoming"  # where a snapshot's tree is staged before it takes its place
RECORD = "swap.json"
_FORMAT = 1
_DATABASES = frozenset({".db", ".sqlite", ".sqlite3"})
_SIDE_FILES = ("-wal", "-shm", "-journal")
_FRESH = ".folder-"
_CACHE = "cache"
Spot: TypeAlias = tuple[Folder, str]  # a name in an open directory


@dataclass(frozen=True, slots=True)
class InPlace:
    """A data directory and our folder in it, both held open: nobody can put others in their place."""

    data: Folder
    work: WorkFolder


@contextmanager
def in_place(data_dir: Path, lock: int | None = None, *, make: bool = False) -> Iterator[InPlace]:
    """Hold both; with the descriptor of the lock of the data directory it is the one that was locked.

    Raises FileNotFoundError where we have no folder there and none is to be made, and RestoreError for a link.
    """
    opened = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if lock is None else os.dup(lock)
    with Folder(opened, data_dir) as data:
        try:
            work = WorkFolder.within(data, WORK_DIR, make=make)
        except NotOursError as error:
            raise not_ours(error) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise cannot_write(data_dir, error) from error
        if make:
            data.sync()
        with work:
            yield InPlace(data, work)


def running_swap(data_dir: Path) -> Path:
    """Where the description of an exchange that is going on is: to look whether there is one."""
    return data_dir / WORK_DIR / RECORD


def cannot_write(data_dir: Path, error: OSError) -> RestoreError:
    """Nothing can be exchanged there."""
    return RestoreError(
        f"{data_dir} cannot be written to: {error.strerror}",
        hint="Mount it writable here, and run as a user who may write there; or restore into a new directory"
        " (`--target`).",
    )


def not_ours(error: NotOursError) -> RestoreError:
    """The same as one of ours."""
    return RestoreError(
        f"{error.place} {error.what}, and was not made by this program",
        hint="Find out what made it, and remove it; nothing was changed.",
    )


def swap_units(data_dir: Path) -> Iterator[str]:
    """Its entries, and two levels down where the cache mixes components; names relative to it."""
    foreign = not_the_data(data_dir)
    for name in os.listdir(data_dir):
        if name in foreign:
            continue
        if name == _CACHE and (data_dir / name).is_dir():
            yield from _cache_units(data_dir)
        else:
            yield name


def _cache_units(data_dir: Path) -> Iterator[str]:
    for name in os.listdir(data_dir / _CACHE):
        if name == "image" and (data_dir / _CACHE / name).is_dir():
            yield from (f"{_CACHE}/{name}/{each}" for each in os.listdir(data_dir / _CACHE / name))
        else:
            yield f"{_CACHE}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Which parts of a data directory are exchanged.

    `new` and `aside` are names in our folder, `parts` names in the data directory; none is below another. `old` are
    those that are there now. `key` is the file of the secret key that is exchanged along with them, from beside `new`,
    to beside `aside`; empty: none is.
    """

    new: str
    aside: str
    parts: tuple[str, ...]
    old: frozenset[str]
    key: str = ""
    back: bool = False  # on the way back, although it was complete once

    @property
    def came_from(self) -> str:
        """The folder that holds `new`."""
        return _above(self.new)

    @property
    def goes_to(self) -> str:
        """The folder that holds `aside`."""
        return _above(self.aside)


def with_side_files(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts, and what SQLite may yet put beside those that are databases: it must not stay when they go."""
    beside = (f"{part}{suffix}" for part in parts if Path(part).suffix in _DATABASES for suffix in _SIDE_FILES)
    return tuple(sorted({*parts, *beside}))


def exchange(swap: Swap, place: InPlace) -> None:
    """Set each old part aside and put the new one in its place. Calling it again continues where it stopped."""
    swap_key(swap.key, place.work, swap.came_from, swap.goes_to)
    for part in swap.parts:
        aside, new = f"{swap.aside}/{part}", f"{swap.new}/{part}"
        if part in swap.old and not _is_there(place.work, aside):
            _move(place, (place.data, part), (place.work, aside))
        if _is_there(place.work, new):
            _move(place, (place.work, new), (place.data, part))


def is_complete(swap: Swap, place: InPlace) -> bool:
    """Whether nothing is left to be done: then the data directory is as the snapshot was."""
    if swap.back:
        return False
    waiting = any(_is_there(place.work, f"{swap.new}/{part}") for part in swap.parts)
    return not waiting and all(_is_there(place.work, f"{swap.aside}/{part}") for part in swap.old)


def undo(swap: Swap, place: InPlace) -> None:
    """Put everything back as it was, in reverse. Calling it again continues where it stopped.

    What stands in a part's place and is not the old one goes back to `new`, side files of SQLite that appeared
    meanwhile included. Never after something was started on what is back: call `delete_record` first.
    """
    for part in reversed(swap.parts):
        aside, new = f"{swap.aside}/{part}", f"{swap.new}/{part}"
        if _is_there(place.data, part) and (part not in swap.old or _is_there(place.work, aside)):
            _move(place, (place.data, part), (place.work, _unused(place.work, new)))
        if part in swap.old and _is_there(place.work, aside):
            _move(place, (place.work, aside), (place.data, part))
    undo_key(swap.key, place.work, swap.came_from, swap.goes_to)


def roll_back(place: InPlace) -> Path | None:
    """Undo the exchange that was written down there, and strike it, unless it was complete.

    Something may have been started on the half of it, at boot for one, and have written to the new parts: these are
    kept, as if they had been set aside. Returns where.
    """
    swap = pending_swap(place)
    if swap is None:
        return None
    since = place.work.stat(RECORD).st_mtime_ns
    undo(swap, place)
    delete_record(swap, place.work)
    # Not before the record is gone: it would take what is kept for what was there before.
    is_new = swap.came_from == INCOMING and not swap.back
    return _keep(swap, place.work) if is_new and _written_since(place.work, swap.new, since) else None


def _written_since(work: Folder, name: str, since_ns: int) -> bool:
    return any(not stat.S_ISDIR(status.st_mode) and status.st_mtime_ns > since_ns for _name, status in work.walk(name))


def _keep(swap: Swap, work: WorkFolder) -> Path:
    work.make_folder(swap.goes_to)
    names = frozenset(swap_units(work.path / swap.new))
    work.move(swap.new, work, swap.aside)
    write_down(replace(swap, parts=tuple(sorted(names)), old=names, key=""), work, f"{swap.goes_to}/{RECORD}")
    work.sync()
    return Path(work.called(swap.goes_to))


def pending_swap(place: InPlace) -> Swap | None:
    """The exchange that was written down there and has to be undone; None where none was, or it was complete."""
    if not place.work.has(RECORD):
        return None
    swap = read_back(place.work)
    return None if is_complete(swap, place) else swap


def delete_record(swap: Swap, work: Folder) -> None:
    """Forget a swap that was rolled back, before anything is started on the restored data."""
    work.remove_emptied(swap.goes_to)
    work.remove(RECORD)
    work.sync()


def write_down(swap: Swap, work: Folder, name: str = RECORD) -> None:
    """Record the swap durably for a later process."""
    known = {
        "format": _FORMAT,
        "new": swap.new,
        "aside": swap.aside,
        "parts": list(swap.parts),
        "old": sorted(swap.old),
        "key": swap.key,
        "back": swap.back,
    }
    work.write(name, json.dumps(known, indent=1).encode())


def read_back(work: WorkFolder, name: str = RECORD) -> Swap:
    """What `write_down` wrote. Raises FileNotFoundError, and RollbackError when it makes no sense.

    Whoever owns the data directory may have put another file there, or a link: it then says nothing about files outside
    of that directory, and no link is followed.
    """
    try:
        swap = _swap(json.loads(work.read(name)))
        ours = work.was_ours and all(_is_ours(work.stat(each)) for each in (_above(name) or ".", name))
        return swap if ours else replace(swap, key="")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RollbackError(
            f"{work.called(name)}, the record of what was replaced in this data directory, cannot be read",
            hint="Nothing was changed. The previous data are in `parts` of the newest folder `aside-…` beside it,"
            " the new data in `incoming`; put the data together by hand while Open WebUI is stopped.",
        ) from error


def _swap(known: Mapping[str, object]) -> Swap:
    parts, old = known["parts"], known["old"]
    if known["format"] != _FORMAT or not isinstance(parts, list) or not isinstance(old, list):
        raise ValueError(known)
    return Swap(
        new=_inside(known["new"]),
        aside=_inside(known["aside"]),
        parts=tuple(_inside(part) for part in parts),
        old=frozenset(_inside(part) for part in old),
        key=str(known["key"]),
        back=bool(known["back"]),
    )


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _inside(name: object) -> str:
    """A name that stays inside the folder it is joined to. Raises ValueError for any other."""
    text = str(name)
    if not text or text.startswith("/") or "\0" in text or ".." in PurePosixPath(text).parts:
        raise ValueError(text)
    return str(PurePosixPath(text))


def places(swap: Swap, place: InPlace, names: Sequence[str]) -> Iterator[Path]:
    """Wherever these parts may be at this moment."""
    for folder in (place.data.path, place.work.path / swap.aside, place.work.path / swap.new):
        yield from (folder / name for name in names)


def _is_there(folder: Folder, name: str) -> bool:
    """Whether something is there. Raises NotADirectoryError for a name that is reached by a link only.

    A folder of the cache may be a link by now: what it leads to is not ours to move.
    """
    try:
        folder.stat(name)
    except FileNotFoundError:
        return False
    return True


def _unused(folder: Folder, name: str) -> str:
    """The name, or one beside it: nothing is ever overwritten."""
    number = 0
    candidate = name
    while _is_there(folder, candidate):
        number += 1
        candidate = f"{name}.{number}"
    return candidate


def _move(place: InPlace, source: Spot, target: Spot) -> None:
    _make_folder(place, (target[0], _above(target[1])), like=(source[0], _above(source[1])))
    source[0].move(source[1], *target)


def _make_folder(place: InPlace, spot: Spot, *, like: Spot) -> None:
    """A folder that a part needs around it, with the owner and mode it had where the part comes from.

    It is made where nobody else can reach it, and moved to its place when it is as it should be.
    """
    folder, name = spot
    if not name or folder.has_folder(name):
        return
    _make_folder(place, (folder, _above(name)), like=(like[0], _above(like[1])))
    status = like[0].stat(like[1])
    fresh = f"{_FRESH}{os.urandom(8).hex()}"
    place.work.make_folder(fresh)
    with place.work.subfolder(fresh) as made:
        extended = read_extended(like[0].place(like[1]))
        give(made.descriptor, Attributes(status.st_mode, status.st_uid, status.st_gid, extended))
    place.work.move(fresh, folder, name)


def remove_fresh(work: Folder) -> None:
    """Remove folders that were on their way when a run was killed."""
    for name in work.names():
        if name.startswith(_FRESH):
            work.remove(name)


def _above(name: str) -> str:
    return name.rpartition("/")[0]
