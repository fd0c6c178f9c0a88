"""Whether this user can use a repository in a folder of this machine. restic itself retries for most of a minute."""

from __future__ import annotations

import os
from pathlib import Path

from owui_vault.engines.restic.location import Location
from owui_vault.errors import RepositoryUnreachableError, for_root

_PARTS = ("config", "data", "index", "keys", "locks", "snapshots")


def require_rights(location: Location, *, write: bool = False) -> None:
    """Raise RepositoryUnreachableError where it is certain that restic will be refused."""
    if location.folder is None:
        return
    place = next((each for each in _needed(location.folder) if _refused(each, write=write)), None)
    if place is None:
        return
    if write and not _refused(place, write=False) and os.statvfs(place).f_flag & os.ST_RDONLY:
        raise RepositoryUnreachableError(
            f"the repository {location.shown} is on a file system that is mounted read-only",
            engine="restic",
            hint="Mount it for writing.",
        )
    raise for_root(
        RepositoryUnreachableError(
            f"this user cannot {'write to' if write else 'read'} the repository {location.shown}: {place}",
            engine="restic",
            hint=f"Run as its owner, or give user {os.geteuid()} access.",
        )
    )


def may_write(location: Location) -> bool:
    """Whether this user may write to a repository of this machine, as far as can be told beforehand."""
    return location.folder is None or not any(_refused(each, write=True) for each in _needed(location.folder))


def _needed(folder: Path) -> tuple[Path, ...]:
    """The folder and its parts; where it is still to be made, what it is to be made in."""
    if not _is_there(folder):
        return (next((each for each in folder.parents if _is_there(each)), Path("/")),)
    return (folder, *(folder / name for name in _PARTS if _is_there(folder / name)))


def _is_there(path: Path) -> bool:
    """What may not be looked at is there, for all we know."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _refused(path: Path, *, write: bool) -> bool:
    is_folder = path.is_dir()
    wanted = os.R_OK | (os.X_OK if is_folder else 0) | (os.W_OK if write and is_folder else 0)
    return not os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids)
