"""Directories that are held by a descriptor, so that nothing else, and no link, can be put in their place.

The stage and the data of an in-place restore may be inside the data directory, where the application may rename what is
ours and put something else there. A path would be followed to whatever is there at that moment, with our rights. A name
below a descriptor is not: each folder on the way is opened without following a link.

Standard library only: the capture's child process imports this module too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from owui_vault.system.attributes import drop_access_lists
from owui_vault.system.removal import remove_entry
from owui_vault.system.unwinding import undoing

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDED_OUT = re.compile(r"/proc/\d+/fd/\d+")
_UNFINISHED = ".new"
_PRIVATE = 0o700
_DEEPEST = 128  # a capture takes nothing that lies deeper
_NO_REPLACE = 1  # RENAME_NOREPLACE of renameat2(2)
# What a kernel or file system answers that does not know the flag: NFS, some FUSE, ZFS before 2.2.
_NO_SUCH_RENAME = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_IN_THE_WAY = (errno.ELOOP, errno.ENOTDIR)
_libc = ctypes.CDLL(None, use_errno=True)
_Self = TypeVar("_Self", bound="Folder")


class NotOursError(OSError):
    """Something else stands where a folder of ours should be. `place` says where."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(errno.ENOTDIR, what, place)
        self.place = place
        self.what = what


class Folder:
    """An open directory. Names are relative to it, with forward slashes; no link is followed in any part of one.

    A name with `..` in it, which would leave the folder, is an error wherever it comes from.

    The folder of the name asked for last stays open, so one folder is for one thread at a time; `path` is for all.
    """

    def __init__(self, descriptor: int, shown: str | Path) -> None:
        self.descriptor = descriptor
        self.shown = Path(shown)
        self._inner = ""
        self._inner_descriptor = descriptor

    @classmethod
    def hold(cls, path: str | Path) -> Folder:
        """A folder at a path whose last part is no link."""
        return Folder(os.open(path, _FOLDER), path)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go; nothing is removed, and no path that was handed out may be used any more."""
        self.forget()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = self._inner_descriptor = -1

    @property
    def path(self) -> Path:
        """A path that leads to this directory wherever it is moved, for this process and for programs it starts.

        Good while the folder is open. SQLite must not be given it: it looks up what it stands for (see `sqlite_door`).
        """
        return Path(f"/proc/{os.readlink('/proc/self')}/fd/{self.descriptor}")

    def place(self, name: str) -> str:
        """Where a name stands, for one call of this thread. Raises FileNotFoundError, NotADirectoryError (a link)."""
        folder, _, last = name.rpartition("/")
        self._require_inside(name)
        if folder != self._inner:
            self.forget()
            self._inner_descriptor = self._open_folder(folder)
            self._inner = folder
        return f"/proc/self/fd/{self._inner_descriptor}/{last or '.'}"

    def forget(self) -> None:
        """Look again the next time: a directory was removed or replaced."""
        if self._inner_descriptor != self.descriptor:
            os.close(self._inner_descriptor)
        self._inner, self._inner_descriptor = "", self.descriptor

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """A descriptor of a file; a link there is an error. The caller closes it."""
        return os.open(self.place(name), flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)

    def stat(self, name: str) -> os.stat_result:
        """What stands there, links themselves included. Raises FileNotFoundError, NotADirectoryError."""
        return os.lstat(self.place(name))

    def has(self, name: str) -> bool:
        """Whether anything stands there."""
        try:
            self.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def has_folder(self, name: str) -> bool:
        """Whether a directory stands there, and no link to one."""
        try:
            return stat.S_ISDIR(self.stat(name).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def has_file(self, name: str) -> bool:
        """Whether a regular file stands there, and no link to one."""
        try:
            return stat.S_ISREG(self.stat(name).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def names(self, name: str = "") -> list[str]:
        """What is in a folder of it, sorted; nothing where there is no such folder."""
        try:
            descriptor = self._open_folder(name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)

    def make_folder(self, name: str) -> None:
        """Make a private directory, and those above it. Raises NotADirectoryError where a link is in the way."""
        parts = name.split("/") if name else []
        for end in range(1, len(parts) + 1):
            with suppress(FileExistsError):
                os.mkdir(self.place("/".join(parts[:end])), mode=_PRIVATE)

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with os.fdopen(self.open(name), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "is not a file", self.called(name))
            return file.read()

    def write(self, name: str, data: bytes, *, mode: int = 0o600, dress: Callable[[int], object] | None = None) -> None:
        """Replace a file in one step: a crash leaves the old bytes or the new ones, which are on disk afterwards.

        `dress` gives the new file, by its descriptor, what else it is to have before it takes its name.
        """
        folder, _, last = name.rpartition("/")
        descriptor = self._open_folder(folder)
        beside = f".{last}.{os.urandom(8).hex()}{_UNFINISHED}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with (
                os.fdopen(os.open(beside, flags, 0o600, dir_fd=descriptor), "wb") as file,
                undoing(os.unlink, beside, dir_fd=descriptor),
            ):
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                if dress:
                    dress(file.fileno())
                os.fsync(file.fileno())
                os.rename(beside, last, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove_unfinished(self, name: str) -> None:
        """Remove what killed writers of this file left, for a caller who knows that nobody else writes it."""
        folder, _, last = name.rpartition("/")
        for each in self.names(folder):
            if each.startswith(f".{last}.") and each.endswith(_UNFINISHED):
                self.remove(f"{folder}/{each}" if folder else each)

    def sync(self, name: str = "") -> None:
        """Bring the names in a folder of it to disk."""
        descriptor = self._open_folder(name)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def move(self, name: str, target: Folder, new_name: str) -> None:
        """Give something another place on the same file system. Raises FileExistsError where anything stands there."""
        source, goal = (each.rpartition("/") for each in (name, new_name))
        descriptors: list[int] = []
        try:
            descriptors.append(self._open_folder(source[0]))
            descriptors.append(target._open_folder(goal[0]))
            rename_to_new(source[2], goal[2], *descriptors)
            os.fsync(descriptors[1])
            os.fsync(descriptors[0])
        finally:
            for each in descriptors:
                os.close(each)
        self.forget()
        target.forget()

    def walk(self, name: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Everything below a folder, by name relative to it; what vanishes meanwhile is skipped.

        No deeper than anything of ours is: whoever made something deeper wants us to run out of descriptors.
        """
        try:
            descriptor = self._open_folder(name)
        except (FileNotFoundError, NotADirectoryError):
            return
        above = [(descriptor, "", iter(os.listdir(descriptor)))]
        try:
            while above:
                folder, prefix, names = above[-1]
                each = next(names, None)
                if each is None:
                    os.close(above.pop()[0])
                    continue
                with suppress(FileNotFoundError):
                    status = os.stat(each, dir_fd=folder, follow_symlinks=False)
                    yield prefix + each, status
                    if stat.S_ISDIR(status.st_mode) and len(above) < _DEEPEST:
                        below = os.open(each, _FOLDER, dir_fd=folder)
                        above.append((below, f"{prefix}{each}/", iter(os.listdir(below))))
        finally:
            for folder, _prefix, _names in above:
                os.close(folder)

    def remove(self, name: str) -> None:
        """Remove whatever stands there, a directory with all that is in it; nothing there is fine.

        Raises LeftoverError when something could not be removed, once all else is gone.
        """
        try:
            self.place(name)
        except (FileNotFoundError, NotADirectoryError):
            return
        inner, self._inner_descriptor, self._inner = self._inner_descriptor, self.descriptor, ""
        try:
            remove_entry(inner, name.rpartition("/")[2], self.called(name))
        finally:
            if inner != self.descriptor:
                os.close(inner)

    def remove_emptied(self, name: str) -> None:
        """Remove a tree of folders that holds nothing any more; of one that does, nothing is lost."""
        try:
            descriptor = self._open_folder(name)
        except (FileNotFoundError, NotADirectoryError):
            return
        os.close(descriptor)
        folders = [each for each, status in self.walk(name) if stat.S_ISDIR(status.st_mode)]
        for each in sorted(folders, reverse=True):
            with suppress(OSError):  # not empty
                os.rmdir(self.place(f"{name}/{each}"))
        self.forget()
        with suppress(OSError):
            os.rmdir(self.place(name))

    def called(self, name: str) -> str:
        """A name as people know it."""
        return os.fspath(self.shown / name)

    def subfolder(self, name: str) -> Folder:
        """A folder of it, held by itself."""
        return Folder(self._open_folder(name), self.called(name))

    def _require_inside(self, name: str) -> None:
        if ".." in name.split("/"):
            raise NotOursError(self.called(name), "may lie outside of it")

    def _open_folder(self, name: str) -> int:
        self._require_inside(name)
        descriptor = os.dup(self.descriptor)
        for part in name.split("/") if name else ():
            try:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
            except OSError as error:
                if error.errno in _IN_THE_WAY:
                    raise NotADirectoryError(errno.ENOTDIR, "is a link, or no directory", self.called(name)) from error
                raise
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


class WorkFolder(Folder):
    """A folder of ours alone. `was_ours`: it was already when it was opened, so nobody else can have written to it."""

    was_ours = True

    @classmethod
    def at(cls, path: Path, *, make: bool = False) -> WorkFolder:
        """Hold the folder at a path, or the one that `path` of another one leads to.

        Raises FileNotFoundError unless it may be made, and NotOursError where a link or something else stands there.
        """
        if _HANDED_OUT.fullmatch(os.fspath(path)):
            return cls._checked(os.open(f"{path}/.", _FOLDER), Path(os.readlink(path)))
        if make:
            path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        return cls._opened(os.fspath(path), None, path, make=make)

    @classmethod
    def within(cls, folder: Folder, name: str, *, make: bool = False) -> WorkFolder:
        """The same by name in an open directory, whoever may write to that."""
        return cls._opened(name, folder.descriptor, folder.shown / name, make=make)

    @classmethod
    def _opened(cls, name: str, above: int | None, shown: Path, *, make: bool) -> WorkFolder:
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, mode=_PRIVATE, dir_fd=above)
        try:
            descriptor = os.open(name, _FOLDER, dir_fd=above)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            is_link = stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
            raise NotOursError(os.fspath(shown), "is a link" if is_link else "is not a directory") from error
        return cls._checked(descriptor, shown)

    @classmethod
    def _checked(cls, descriptor: int, shown: Path) -> WorkFolder:
        """Close it to others. One of another user's is taken over by root: an earlier run may have been that user's."""
        folder = cls(descriptor, shown)
        status = os.fstat(descriptor)
        folder.was_ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
        try:
            if status.st_uid != os.geteuid():
                os.fchown(descriptor, os.geteuid(), os.getegid())
            drop_access_lists(descriptor)  # a default one of the data directory is inherited by what is made in it
            if stat.S_IMODE(status.st_mode) != _PRIVATE:
                os.fchmod(descriptor, _PRIVATE)
        except PermissionError as error:
            folder.close()
            raise NotOursError(os.fspath(shown), f"belongs to user {status.st_uid}") from error
        return folder


@contextmanager
def named_folder(path: Path) -> Iterator[Folder]:
    """A directory of anybody's, by its path."""
    with Folder(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path) as folder:
        yield folder


def rename_to_new(name: str, new_name: str, source: int, target: int) -> None:
    """Rename between two open directories unless there is something already, an empty directory included.

    Where kernel or file system cannot do that in one step, it is looked for just before.
    """
    done = _libc.renameat2(source, os.fsencode(name), target, os.fsencode(new_name), _NO_REPLACE)
    if done == 0:
        return
    number = ctypes.get_errno()
    if number not in _NO_SUCH_RENAME:
        raise OSError(number, os.strerror(number), new_name if number == errno.EEXIST else name)
    with suppress(FileNotFoundError):
        os.stat(new_name, dir_fd=target, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
