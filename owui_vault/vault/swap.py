"""Exchanging parts of a data directory by renames, forwards and back again, from whatever point a crash left it at.

Where a part is tells how far the exchange has come, so nothing has to be noted between the steps:

    before        data/part (old)                     new/part
    set aside                       aside/part (old)  new/part
    exchanged     data/part (new)   aside/part (old)

What is written down about it names places inside `DATA_DIR/.owui-vault` only, relative to it: the directory may have
another path by the time it is read, in another mount or after a move. `leading_back` is the program that reads it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from owui_vault.errors import RollbackError
from owui_vault.instance.names import WORK_DIR
from owui_vault.system.attributes import Attributes, give, read_extended
from owui_vault.system.files import private_directory, sync_directory, write_durably
from owui_vault.vault.key_exchange import exchange_key, undo_key
from owui_vault.vault.units import units

INCOMING = "incoming"  # where a snapshot's tree is staged before it takes its place
RECORD = "swap.json"
_FORMAT = 1
_DATABASES = frozenset({".db", ".sqlite", ".sqlite3"})
_SIDE_FILES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Which parts of `data_dir` are exchanged. All three folders lie on one file system.

    `parts` are names relative to `data_dir`; none lies below another. `old` are those that are there now. `key` is the
    file of the secret key that is exchanged along with them, from beside `new`, to beside `aside`; empty: none is.
    """

    data_dir: Path
    new: Path
    aside: Path
    parts: tuple[str, ...]
    old: frozenset[str]
    key: str = ""
    back: bool = False  # on the way back, although it was complete once


def with_side_files(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts, and what SQLite may yet put beside those that are databases: it must not stay when they go."""
    beside = (f"{part}{suffix}" for part in parts if Path(part).suffix in _DATABASES for suffix in _SIDE_FILES)
    return tuple(sorted({*parts, *beside}))


def exchange(swap: Swap) -> None:
    """Set each old part aside and put the new one in its place. Calling it again goes on where it was."""
    exchange_key(swap.key, swap.new.parent, swap.aside.parent)
    for part in swap.parts:
        here, aside, new = swap.data_dir / part, swap.aside / part, swap.new / part
        if part in swap.old and not os.path.lexists(aside):
            _move(here, aside)
        if os.path.lexists(new):
            _move(new, here)


def is_complete(swap: Swap) -> bool:
    """Whether nothing is left to be done: then the data directory is as the snapshot was."""
    if swap.back:
        return False
    waiting = any(os.path.lexists(swap.new / part) for part in swap.parts)
    return not waiting and all(os.path.lexists(swap.aside / part) for part in swap.old)


def undo(swap: Swap) -> None:
    """Put everything back as it was, in reverse. Calling it again goes on where it was.

    What stands in a part's place and is not the old one goes back to `new`, side files of SQLite that appeared
    meanwhile included. Never after something was started on what is back: `strike` the record first.
    """
    for part in reversed(swap.parts):
        here, aside, new = swap.data_dir / part, swap.aside / part, swap.new / part
        if os.path.lexists(here) and (part not in swap.old or os.path.lexists(aside)):
            _move(here, _unused(new))
        if part in swap.old and os.path.lexists(aside):
            _move(aside, here)
    undo_key(swap.key, swap.new.parent, swap.aside.parent)


def lead_back(path: Path) -> Path | None:
    """Undo the exchange that was written down there, and strike it, unless it was complete.

    Something may have been started on the half of it, at boot for one, and have written to the new parts: these are
    kept, as if they had been set aside. Answers where.
    """
    swap = unsettled(path)
    if swap is None:
        return None
    since = path.stat().st_mtime_ns
    undo(swap)
    strike(swap, path)
    # Not before the record is gone: it would take what is kept for what was there before.
    is_new = swap.new.parent.name == INCOMING and not swap.back
    return _keep(swap) if is_new and _written_since(swap.new, since) else None


def _written_since(folder: Path, since_ns: int) -> bool:
    return any(
        (Path(each) / name).lstat().st_mtime_ns > since_ns for each, _below, files in os.walk(folder) for name in files
    )


def _keep(swap: Swap) -> Path:
    folder = private_directory(swap.aside.parent)
    names = frozenset(units(swap.new))
    swap.new.rename(swap.aside)
    write_down(replace(swap, parts=tuple(sorted(names)), old=names, key=""), folder / RECORD)
    sync_directory(folder.parent)
    return folder


def unsettled(path: Path) -> Swap | None:
    """The exchange that was written down there and has to be undone; None where none was, or it was complete."""
    if not path.exists():
        return None
    swap = read_back(path)
    return None if is_complete(swap) else swap


def strike(swap: Swap, path: Path) -> None:
    """The exchange is undone: forget it, before anything is started on the data that are back."""
    remove_emptied(swap.aside.parent)
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_emptied(folder: Path) -> None:
    """Remove a tree of folders that holds nothing any more; of one that does, nothing is lost."""
    for each, _below, _files in os.walk(folder, topdown=False):
        with suppress(OSError):  # not empty
            Path(each).rmdir()


def write_down(swap: Swap, path: Path) -> None:
    """Make the exchange known to a later process, durably. `path` lies in `DATA_DIR/.owui-vault`, or below."""
    work = swap.data_dir / WORK_DIR
    known = {
        "format": _FORMAT,
        "new": os.fspath(swap.new.relative_to(work)),
        "aside": os.fspath(swap.aside.relative_to(work)),
        "parts": list(swap.parts),
        "old": sorted(swap.old),
        "key": swap.key,
        "back": swap.back,
    }
    write_durably(path, json.dumps(known, indent=1).encode())


def read_back(path: Path) -> Swap:
    """What `write_down` wrote, seen from where the file lies now. Raises RollbackError when it makes no sense.

    Whoever owns the data directory may have put another file there, or a link: it then says nothing about files outside
    of that directory, and no link is followed.
    """
    try:
        _demand_plain(path)
        swap = _swap(json.loads(path.read_bytes()), path)
        return swap if _is_ours(path.parent) and _is_ours(path) else replace(swap, key="")
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise RollbackError(
            f"{path}, which says what was exchanged in this data directory, cannot be understood",
            hint="Nothing was touched. What was there before lies in `parts` of the newest folder `aside-…` beside it,"
            " what was to come in `incoming`; put the data together by hand while Open WebUI is stopped.",
        ) from error


def _swap(known: Mapping[str, object], path: Path) -> Swap:
    parts, old = known["parts"], known["old"]
    if known["format"] != _FORMAT or not isinstance(parts, list) or not isinstance(old, list):
        raise ValueError(path)
    work = next(folder for folder in path.absolute().parents if folder.name == WORK_DIR)
    return Swap(
        data_dir=work.parent,
        new=work / _inside(known["new"]),
        aside=work / _inside(known["aside"]),
        parts=tuple(_inside(part) for part in parts),
        old=frozenset(_inside(part) for part in old),
        key=str(known["key"]),
        back=bool(known["back"]),
    )


def _demand_plain(path: Path) -> None:
    work = next(folder for folder in path.absolute().parents if folder.name == WORK_DIR)
    for each in (work, path.parent, path):
        if each.is_symlink():
            raise ValueError(f"{each} is a link")


def _is_ours(path: Path) -> bool:
    status = path.lstat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _inside(name: object) -> str:
    """A name that stays inside the folder it is joined to. Raises ValueError for any other."""
    text = str(name)
    if not text or text.startswith("/") or ".." in PurePosixPath(text).parts:
        raise ValueError(text)
    return text


def places(swap: Swap, names: Sequence[str]) -> Iterator[Path]:
    """Wherever these parts may lie at this moment."""
    for folder in (swap.data_dir, swap.aside, swap.new):
        yield from (folder / name for name in names)


def _unused(path: Path) -> Path:
    """The path, or one beside it: nothing is ever overwritten."""
    number = 0
    candidate = path
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate


def _move(source: Path, target: Path) -> None:
    for folder in (source.parent, target.parent):
        _demand_no_link(folder)
    _make_folder(target.parent, like=source.parent)
    source.rename(target)
    sync_directory(target.parent)
    sync_directory(source.parent)


def _demand_no_link(folder: Path) -> None:
    """A folder of the cache may be a link by now: what it leads to is not ours to move."""
    if folder.exists() and folder.resolve() != folder:
        raise OSError(errno.ELOOP, "is reached by a link", os.fspath(folder))


def _make_folder(path: Path, *, like: Path) -> None:
    """A folder that a part needs around it, with the owner and mode it had where the part comes from."""
    if path.is_dir():
        return
    _make_folder(path.parent, like=like.parent)
    status = like.stat()
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        extended = read_extended(os.fspath(like))
        give(descriptor, Attributes(status.st_mode, status.st_uid, status.st_gid, extended))
    finally:
        os.close(descriptor)
    sync_directory(path.parent)
