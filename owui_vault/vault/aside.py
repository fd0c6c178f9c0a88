"""Data that a replacement took out of the way: found, put back, dropped. All of it lies in `DATA_DIR/.owui-vault/`.

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
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from owui_vault.errors import RestoreError, RollbackError
from owui_vault.instance.names import WORK_DIR
from owui_vault.model import SetAside
from owui_vault.system.files import private_directory, remove_unfinished, sync_directory
from owui_vault.vault.key_exchange import KEY_NAME
from owui_vault.vault.swap import INCOMING, RECORD, Swap, is_complete, lead_back, read_back, remove_emptied

_NAME = re.compile(r"aside-(?P<since>\d{8}T\d{6}Z)-(?P<snapshot>[0-9a-f]{8})")
_KEY_THAT_CAME = "webui_secret_key.new"
_TIME = "%Y%m%dT%H%M%SZ"


def aside_folder(data_dir: Path, snapshot_id: str, now: datetime) -> Path:
    """Where the data of this replacement will lie: a folder that is not there yet, by the next free second."""
    while True:
        folder = data_dir / WORK_DIR / f"aside-{now.astimezone(UTC).strftime(_TIME)}-{snapshot_id}"
        if not folder.exists():
            return folder
        now += timedelta(seconds=1)


def incoming_folder(data_dir: Path) -> Path:
    """Where a snapshot's tree is staged before it takes its place."""
    return data_dir / WORK_DIR / INCOMING


def running_swap(data_dir: Path) -> Path:
    """The description of an exchange that is going on."""
    return data_dir / WORK_DIR / RECORD


def kept_aside(data_dir: Path) -> tuple[SetAside, ...]:
    """What lies aside, newest first."""
    try:
        names = os.listdir(demand_no_link(data_dir))
    except FileNotFoundError:
        return ()
    return tuple(
        _described(data_dir / WORK_DIR / name) for name in sorted(names, reverse=True) if _NAME.fullmatch(name)
    )


def demand_no_link(data_dir: Path) -> Path:
    """Our folder in the data directory. Raises RestoreError when somebody has put a link there."""
    work = data_dir / WORK_DIR
    if work.is_symlink():
        raise RestoreError(
            f"{work} is a link, and not this program's", hint="Look who made it, and remove it; nothing was touched."
        )
    return work


def _described(path: Path) -> SetAside:
    match = _demand_name(path)
    since = datetime.strptime(match["since"], _TIME).replace(tzinfo=UTC)
    return SetAside(path=path, since=since, snapshot=match["snapshot"], size_bytes=sum(_sizes(path)))


def _demand_name(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise RollbackError(
            f"{path} is said to hold what was there before, and is no folder of this program's",
            hint="Nothing was touched. Look who wrote the description beside it, then put the data together by hand"
            " while Open WebUI is stopped.",
        )
    return match


def _sizes(path: Path) -> Iterator[int]:
    for folder, _below, files in os.walk(path):
        for name in files:
            yield (Path(folder) / name).lstat().st_size


def newest_aside(data_dir: Path) -> SetAside:
    """What the last replacement set aside. Raises RestoreError when there is nothing."""
    kept = kept_aside(data_dir)
    if not kept:
        raise RestoreError(
            f"nothing was set aside in {data_dir}", hint="There was no in-place restore, or `discard` ran."
        )
    return kept[0]


def finish(data_dir: Path, swap: Swap) -> SetAside:
    """An exchange is complete: its description goes to what it set aside, and the rest of the incoming tree goes.

    Calling it again goes on where it was, as long as the description has not gone there.
    """
    folder = swap.aside.parent
    _demand_name(folder)
    private_directory(folder)
    if swap.key and (swap.new.parent / KEY_NAME).exists():
        (swap.new.parent / KEY_NAME).rename(folder / _KEY_THAT_CAME)
    running_swap(data_dir).rename(folder / RECORD)
    sync_directory(folder)
    sync_directory(folder.parent)
    shutil.rmtree(incoming_folder(data_dir), ignore_errors=True)
    return _described(folder)


def drop_emptied(aside: SetAside, *, key_is_back: bool) -> None:
    """What lay there is back: the folder goes, unless there is still something in it that was not put back."""
    left = any(files for _folder, _below, files in os.walk(aside.path / "parts"))
    if left or ((aside.path / KEY_NAME).exists() and not key_is_back):
        return
    for name in (RECORD, KEY_NAME, _KEY_THAT_CAME):
        (aside.path / name).unlink(missing_ok=True)
    remove_emptied(aside.path)


def drop(aside: SetAside) -> None:
    """Remove what was set aside. The description goes first: what is half removed must never be put back."""
    (aside.path / RECORD).unlink(missing_ok=True)
    sync_directory(aside.path)
    shutil.rmtree(aside.path)


def key_to_put_back(aside: SetAside, file: str) -> str:
    """The file of the secret key if it still holds what came with these data; else empty: it is another's now."""
    came = aside.path / _KEY_THAT_CAME
    ours = file and (aside.path / KEY_NAME).exists() and came.exists() and Path(file).is_file()
    return file if ours and Path(file).read_bytes() == came.read_bytes() else ""


def remove_empty_folder(data_dir: Path) -> None:
    """Our folder goes once nothing of ours, and nothing of anybody's, is in it."""
    with suppress(OSError):
        (data_dir / WORK_DIR).rmdir()


def recover_swap(data_dir: Path) -> tuple[str, ...]:
    """Finish or undo an exchange of a run that died; for a caller that holds the lock of the data directory.

    Nobody may have the data open. Raises RollbackError when its description cannot be understood.
    """
    path = running_swap(data_dir)
    if path.parent.is_dir():  # killed while the description was written
        remove_unfinished(path)
    if path.exists():
        swap = read_back(path)
        if is_complete(swap):
            kept = finish(data_dir, swap)
            return (f"finished the in-place restore of {kept.snapshot}; the data from before are in {kept.path}",)
        written = lead_back(path)
        shutil.rmtree(incoming_folder(data_dir), ignore_errors=True)
        also = f"; what was written to the other data meanwhile is kept in {written}" if written else ""
        return (f"undid an in-place restore that was not complete{also}",)
    if incoming_folder(data_dir).exists():
        shutil.rmtree(incoming_folder(data_dir))
        return ("removed the staged data of an in-place restore that did not come about",)
    return ()


def swap_of(aside: SetAside) -> Swap:
    """The exchange that set these data aside, all of which are still there.

    Raises RestoreError when its description is lost, or part of the data: then nothing must be exchanged for them.
    """
    try:
        swap = read_back(aside.path / RECORD)
    except (FileNotFoundError, RollbackError) as error:
        raise RestoreError(
            f"{aside.path} does not say how it came there",
            hint="Its folder `parts` holds the data as they were, unless a `discard` was cut short. Look at them, and"
            " move them back by hand while Open WebUI is stopped.",
        ) from error
    swap = replace(swap, aside=aside.path / "parts")
    missing = sorted(name for name in swap.old if not os.path.lexists(swap.aside / name))
    if missing or not swap.old:
        raise RestoreError(
            f"{aside.path} does not hold {', '.join(missing) or 'anything that could be put back'}",
            hint="Nothing was touched. Look at what lies in its folder `parts`.",
        )
    return swap
