"""The previous data that a replacement kept: found, restored, deleted. All of it is in `DATA_DIR/.owui-vault/`.

incoming/                 the tree of a snapshot, on its way in
swap.json                 an exchange that is going on
aside-20261120T030000Z-1a2b3c4d/
swap.json             the exchange that put these here
parts/                what was there before
webui_secret_key      the secret key from before, where it was exchanged too
webui_secret_key.new  the one that took its place
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from owui_vault.components.names import WORK_DIR
from owui_vault.errors import RestoreError, RollbackError
from owui_vault.model import SetAside
from owui_vault.operations.recovery.key_swap import KEY_NAME
from owui_vault.operations.recovery.swap import (
    INCOMING,
    RECORD,
    InPlace,
    Swap,
    is_complete,
    not_ours,
    read_back,
    remove_fresh,
    roll_back,
)
from owui_vault.system.removal import LeftoverError
from owui_vault.system.work_folder import Folder, NotOursError, WorkFolder

_NAME = re.compile(r"aside-(?P<since>\d{8}T\d{6}Z)-(?P<snapshot>[0-9a-f]{8})")
_KEY_THAT_CAME = "webui_secret_key.new"
_TIME = "%Y%m%dT%H%M%SZ"


def previous_data_folder(work: Folder, snapshot_id: str, now: datetime) -> str:
    """Where the data of this replacement will lie: a folder that is not there yet, by the next free second."""
    while True:
        name = f"aside-{now.astimezone(UTC).strftime(_TIME)}-{snapshot_id}"
        if not work.has(name):
            return name
        now += timedelta(seconds=1)


def require_no_link(data_dir: Path) -> None:
    """Raise RestoreError when somebody has put a link, or anything else, in the place of our folder."""
    work = data_dir / WORK_DIR
    if work.is_symlink() or (work.exists() and not work.is_dir()):
        raise not_ours(NotOursError(os.fspath(work), "is a link" if work.is_symlink() else "is not a directory"))


def list_previous_data(work: Folder) -> tuple[SetAside, ...]:
    """All previous data, newest first. A link of such a name does not count."""
    names = (name for name in reversed(work.names()) if _NAME.fullmatch(name))
    return tuple(_described(work, name) for name in names if work.has_folder(name))


def _described(work: Folder, name: str) -> SetAside:
    match = _require_name(work, name)
    since = datetime.strptime(match["since"], _TIME).replace(tzinfo=UTC)
    size = sum(status.st_size for _name, status in work.walk(name) if not stat.S_ISDIR(status.st_mode))
    return SetAside(path=Path(work.called(name)), since=since, snapshot=match["snapshot"], size_bytes=size)


def _require_name(work: Folder, name: str) -> re.Match[str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise RollbackError(
            f"{work.called(name)} is recorded as the previous data, but is not a folder of this program",
            hint="Nothing was changed. Find out who wrote the description beside it, then put the data together by hand"
            " while Open WebUI is stopped.",
        )
    return match


def newest_previous_data(work: Folder) -> SetAside:
    """What the last replacement kept. Raises RestoreError if there is nothing."""
    kept = list_previous_data(work)
    if not kept:
        raise no_previous_data(work.shown.parent)
    return kept[0]


def no_previous_data(data_dir: Path) -> RestoreError:
    """There is nothing to put back."""
    return RestoreError(
        f"there are no previous data in {data_dir}", hint="There was no in-place restore, or `discard` has already run."
    )


def finish(work: WorkFolder, swap: Swap) -> SetAside:
    """An exchange is complete: its description goes to what it set aside, and the rest of the incoming tree goes.

    Calling it again goes on where it was, as long as the description has not gone there.
    """
    _require_name(work, swap.goes_to)
    work.make_folder(swap.goes_to)
    came = f"{swap.goes_to}/{_KEY_THAT_CAME}"
    if swap.key and work.has(f"{swap.came_from}/{KEY_NAME}") and not work.has(came):
        work.move(f"{swap.came_from}/{KEY_NAME}", work, came)
    work.remove(f"{swap.goes_to}/{RECORD}")
    work.move(RECORD, work, f"{swap.goes_to}/{RECORD}")
    with suppress(LeftoverError):
        work.remove(INCOMING)
    return _described(work, swap.goes_to)


def drop_emptied(work: Folder, aside: SetAside, *, key_is_back: bool) -> None:
    """What lay there is back: the folder goes, unless there is still something in it that was not put back."""
    name = aside.path.name
    left = any(not stat.S_ISDIR(status.st_mode) for _name, status in work.walk(f"{name}/parts"))
    if left or (work.has(f"{name}/{KEY_NAME}") and not key_is_back):
        return
    for each in (RECORD, KEY_NAME, _KEY_THAT_CAME):
        work.remove(f"{name}/{each}")
    work.remove_emptied(name)


def drop(work: Folder, aside: SetAside) -> None:
    """Remove what was set aside. The description goes first: what is half removed must never be put back.

    Raises RestoreError when something of it could not be removed; all else is gone then, and a second time goes on.
    """
    name = aside.path.name
    try:
        work.remove(f"{name}/{RECORD}")
        work.sync(name)
        work.remove(name)
    except LeftoverError as error:
        raise _not_removed(error, f"the previous data in {aside.path}", "run `discard` again") from error


def key_to_put_back(work: Folder, aside: SetAside, file: str) -> str:
    """The file of the secret key if it still holds what came with these data; else empty: it is another's now."""
    name = aside.path.name
    came = f"{name}/{_KEY_THAT_CAME}"
    ours = file and work.has_file(f"{name}/{KEY_NAME}") and work.has_file(came) and Path(file).is_file()
    return file if ours and Path(file).read_bytes() == work.read(came) else ""


def remove_empty_folder(data: Folder) -> None:
    """Our folder goes once nothing of ours, and nothing of anybody's, is in it."""
    with suppress(OSError):
        os.rmdir(WORK_DIR, dir_fd=data.descriptor)


def recover_swap(place: InPlace) -> tuple[str, ...]:
    """Finish or roll back the swap of a run that died; for a caller that holds the lock of the data directory.

    No process may have the data open. Raises RollbackError if the swap's record cannot be read.
    """
    work = place.work
    work.remove_unfinished(RECORD)  # killed while the description was written
    remove_fresh(work)
    if work.has(RECORD):
        swap = read_back(work)
        if is_complete(swap, place):
            kept = finish(work, swap)
            return (f"finished the in-place restore of {kept.snapshot}; the previous data are in {kept.path}",)
        written = roll_back(place)
        with suppress(LeftoverError):  # the next run raises it
            work.remove(INCOMING)
        also = f"; what was written to the other data meanwhile is kept in {written}" if written else ""
        return (f"rolled back an in-place restore that was not complete{also}",)
    if work.has(INCOMING):
        clear_incoming(work)
        return ("removed the staged data of an in-place restore that was never carried out",)
    return ()


def clear_incoming(work: Folder) -> None:
    """Remove what was staged, or whatever else has its name. Raises RestoreError when that is impossible."""
    try:
        work.remove(INCOMING)
    except LeftoverError as error:
        raise _not_removed(error, "what an earlier in-place restore left behind", "try again") from error


def _not_removed(error: LeftoverError, what: str, then: str) -> RestoreError:
    more = f" and {len(error.left) - 1} more" if len(error.left) > 1 else ""
    return RestoreError(
        f"{what} could not be removed completely: {error.left[0]}{more}: {error.strerror}",
        hint=f"Everything else in it is gone. Check that path: if `lsattr` shows an `i` or an `a`, clear it with"
        f" `chattr -i -a {shlex.quote(error.left[0])}`; then {then}.",
    )


def swap_of(work: WorkFolder, aside: SetAside) -> Swap:
    """The exchange that set these data aside, all of which are still there.

    Raises RestoreError when its description is lost, or part of the data: then nothing must be exchanged for them.
    """
    name = aside.path.name
    try:
        swap = read_back(work, f"{name}/{RECORD}")
    except (FileNotFoundError, RollbackError) as error:
        raise RestoreError(
            f"{aside.path} has no description",
            hint="Its folder `parts` holds the data as they were, unless a `discard` was interrupted. Check them, and"
            " move them back by hand while Open WebUI is stopped.",
        ) from error
    swap = replace(swap, aside=f"{name}/parts")
    missing = sorted(part for part in swap.old if not work.has(f"{swap.aside}/{part}"))
    if missing or not swap.old:
        raise RestoreError(
            f"{aside.path} does not hold {', '.join(missing) or 'anything that could be restored'}",
            hint="Nothing was changed. Check what is in its folder `parts`.",
        )
    return swap
