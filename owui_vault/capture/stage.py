"""The stage as the parent sees it: made, looked at, removed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from owui_vault.capture.marks import OWN_DIRECTORY
from owui_vault.errors import CaptureError
from owui_vault.system.attributes import drop_access_lists
from owui_vault.system.filesystem import remove_tree

_OURS = ("stage", "capture")


def clear_stage(work_dir: Path) -> None:
    """Remove the stage and whatever else a capture left in `work_dir`; follows no link and touches nothing else.

    May be called at any time when no capture runs there, also when there is nothing. `.owui-vault` inside a data
    directory goes too, once empty.
    """
    try:
        descriptor = os.open(work_dir, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return  # whoever may write to the data may put a link here: what it leads to is not ours
    try:
        for name in _OURS:
            remove_tree(Path(f"/proc/self/fd/{descriptor}/{name}"))
    finally:
        os.close(descriptor)
    if work_dir.name == OWN_DIRECTORY:
        with suppress(OSError):  # somebody else's files are in it
            work_dir.rmdir()


def make_stage(work_dir: Path) -> None:
    """Make an empty stage that nobody else can look into."""
    clear_stage(work_dir)
    work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if work_dir.is_symlink():
        raise CaptureError(f"{work_dir} is a symlink", hint="Remove it; the stage must be a directory of ours.")
    for name in _OURS:
        (work_dir / name).mkdir(mode=0o700)
        drop_access_lists(os.fspath(work_dir / name))  # a default one of the data directory would be inherited below
