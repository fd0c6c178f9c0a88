"""Checks a read-only borg repository: the disk of a dead machine, mounted read-only.

`borg check` writes into what it checks, with every version and all options: a lock, its settings, a nonce. So it is
given a folder of ours with copies of the two small files, and links to all the rest, which it only reads.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.common.environment import private_folder
from owui_vault.errors import EngineError, RepositoryLockedError

_WRITTEN = ("config", "nonce")
_LOCK = "lock."
_STANDS_IN = "stands-in"


@contextmanager
def standing_in(repository: Path, folder: Path) -> Iterator[Path]:
    """A repository that can be written to and holds what `repository` holds; gone when the block ends.

    What a killed run left in its place goes first. Raises RepositoryLockedError while another run is at it.
    """
    place = private_folder(folder, _STANDS_IN)
    with _alone(place), tempfile.TemporaryDirectory(dir=place) as name:
        for each in repository.iterdir():
            if each.name in _WRITTEN:
                shutil.copyfile(each, Path(name) / each.name)
            elif not each.name.startswith(_LOCK):
                (Path(name) / each.name).symlink_to(each.absolute())
        yield Path(name)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RepositoryLockedError(
                "another run of owui_vault is checking the same repository", engine=ENGINE, hint="Wait for it."
            ) from error
        for left in place.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def is_locked(repository: Path) -> bool:
    """Whether somebody has, or had, a lock there: what is being written may look damaged."""
    return any(each.name == f"{_LOCK}exclusive" for each in repository.iterdir())


def cannot_be_checked(location: str) -> EngineError:
    """For a repository on another host, where nothing can stand in for it."""
    return EngineError(
        f"{location} is read-only, and `borg check` writes a lock and its settings into the repository",
        engine=ENGINE,
        hint="Listing and restoring work. Make it writable for a verification, or verify a copy of it on this machine.",
    )
