"""The stage as the parent sees it: created, checked, removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from owui_vault.capture.child.marks import OWN_DIRECTORY
from owui_vault.errors import CaptureError
from owui_vault.system.attributes import drop_access_lists
from owui_vault.system.removal import LeftoverError
from owui_vault.system.work_folder import NotOursError, WorkFolder

_OURS = ("stage", "capture")


def clear_stage(work_dir: Path) -> None:
    """Remove the stage and whatever else a capture left in `work_dir`; follows no link and touches nothing else.

    May be called at any time when no capture runs there, also when there is nothing. `.owui-vault` inside a data
    directory goes too, once empty, where it is given by its name.
    """
    try:
        work = WorkFolder.at(work_dir)
    except (FileNotFoundError, NotOursError):
        return  # whoever may write to the data may put a link here: what it leads to is not ours
    with stage_errors(work_dir), work:
        for name in _OURS:
            work.remove(name)
    if work_dir.name == OWN_DIRECTORY:
        with suppress(OSError):  # somebody else's files are in it
            work_dir.rmdir()


def make_stage(work_dir: Path) -> None:
    """Make an empty stage that no other user can read. Raises CaptureError if something is in its way."""
    with stage_errors(work_dir), WorkFolder.at(work_dir, make=True) as work:
        for name in _OURS:
            work.remove(name)
            work.make_folder(name)
            drop_access_lists(work.place(name))  # a default one of the data directory would be inherited below


@contextmanager
def stage_errors(work_dir: Path) -> Iterator[None]:
    """Raise CaptureError if something else is in the stage's place, or cannot be removed from it."""
    try:
        yield
    except NotOursError as error:
        raise CaptureError(
            f"{error.place} {error.what}, and was not made by this program",
            hint="Find out what made it, and remove it: the stage must be this program's own. Nothing was changed.",
        ) from error
    except LeftoverError as error:
        raise CaptureError(
            f"what an earlier run left in {work_dir} cannot be removed: {error.left[0]}: {error.strerror}",
            hint=f"Remove it by hand (`chattr -i {error.left[0]}` first, if `lsattr` shows an `i`), then try again.",
        ) from error
