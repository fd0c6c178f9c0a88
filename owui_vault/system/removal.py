"""Removes what is ours: by descriptors, so that no link redirects it; large files bit by bit; as much as possible.

Standard library only: the capture's child process imports this module too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o700
_DEEPEST = 64  # folders that are open at a time while a tree is removed
_SHRINK_BYTES = 16 << 20
_SHRINK_PAUSE_SECONDS = 0.001
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


class LeftoverError(OSError):
    """Some of a tree could not be removed; all else was. `left` are the places, with the reason for the first."""

    def __init__(self, left: tuple[str, ...], first: OSError) -> None:
        super().__init__(first.errno or errno.EPERM, first.strerror or str(first), left[0])
        self.left = left


def remove_tree(path: Path) -> None:
    """Remove a directory of ours with everything in it, or a file; follows no link. A missing one is fine.

    Raises LeftoverError when something could not be removed, once all else is gone.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_entry(folder, path.name, os.fspath(path))
    finally:
        os.close(folder)


def remove_entry(folder: int, name: str, called: str) -> None:
    """The same by name in an open directory; `called` is what messages call it."""
    removal = _Removal(called)
    removal.entry(folder, name)
    removal.conclude()


class _Removal:
    """Removes as much of a tree as can be removed, whatever it is made of, and remembers what could not be."""

    def __init__(self, called: str) -> None:
        self._called = called
        self._left: list[tuple[str, OSError]] = []

    def entry(self, folder: int, name: str) -> None:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            self._file(folder, name, status, self._called)
            return
        try:
            top = self._opened(folder, name)
        except OSError as error:
            self._left.append((self._called, error))
            return
        try:
            while self._emptied(top, top, self._called, 0):
                pass
        finally:
            os.close(top)
        self._folder(folder, name, self._called)

    def conclude(self) -> None:
        """Raise LeftoverError if something is left. What holds others, and is left because of them, is not named."""
        causes = [each for each in self._left if each[1].errno not in _NOT_EMPTY] or self._left
        if causes:
            raise LeftoverError(tuple(place for place, _ in causes), causes[0][1])

    def _emptied(self, top: int, folder: int, called: str, depth: int) -> bool:
        """Empty an open folder. True: something that is too deep was brought to the top, and is still there."""
        again = False
        for name in os.listdir(folder):
            place = f"{called}/{name}"
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                self._file(folder, name, status, place)
            elif depth >= _DEEPEST and self._raised(top, folder, name):
                again = True
            else:
                again = self._below(top, folder, name, place=place, depth=depth) or again
        return again

    def _below(self, top: int, folder: int, name: str, *, place: str, depth: int) -> bool:
        try:
            below = self._opened(folder, name)
        except OSError as error:
            self._left.append((place, error))
            return False
        try:
            again = self._emptied(top, below, place, depth + 1)
        finally:
            os.close(below)
        self._folder(folder, name, place)
        return again

    def _raised(self, top: int, folder: int, name: str) -> bool:
        """Bring a folder up to the top of the tree, so that no more folders have to be open than a process may."""
        try:
            os.rename(name, f".deep-{os.urandom(8).hex()}", src_dir_fd=folder, dst_dir_fd=top)
        except OSError:
            return False
        return True

    @staticmethod
    def _opened(folder: int, name: str) -> int:
        if os.geteuid() != 0:
            # Copies of read-only directories cannot be emptied by anybody but root; they are ours, so this is allowed.
            with suppress(OSError):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if status.st_mode & _PRIVATE != _PRIVATE and stat.S_ISDIR(status.st_mode):
                    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                    try:
                        os.chmod(f"/proc/self/fd/{handle}", _PRIVATE)
                    finally:
                        os.close(handle)
        return os.open(name, _FOLDER, dir_fd=folder)

    def _file(self, folder: int, name: str, status: os.stat_result, place: str) -> None:
        try:
            if stat.S_ISREG(status.st_mode) and status.st_size > _SHRINK_BYTES:
                _shrink(name, folder)
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._left.append((place, error))

    def _folder(self, folder: int, name: str, place: str) -> None:
        try:
            os.rmdir(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._left.append((place, error))


def _shrink(name: str, folder: int) -> None:
    """Cut off a large file bit by bit: whoever waits for the disk meanwhile has to wait for one bit, not for all.

    Only what is nobody else's: a file with another name, or that somebody has open, may be an upload of the
    application.
    """
    with suppress(OSError):  # it is removed at once, then
        descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if status.st_nlink == 1 and _nobody_else_has_open(descriptor):
                for size in range(status.st_size - _SHRINK_BYTES, 0, -_SHRINK_BYTES):
                    os.ftruncate(descriptor, size)
                    time.sleep(_SHRINK_PAUSE_SECONDS)
        finally:
            os.close(descriptor)


def _nobody_else_has_open(descriptor: int) -> bool:
    """A lease for writing is given to the only one who has a file open, and to nobody else."""
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # told to its holder; this one is ignored, others would kill
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True
