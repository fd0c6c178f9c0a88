"""Places in the stage by descriptors: a link in it, or in place of it, leads none of our writes or removals astray."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress

from owui_vault.system.filesystem import remove_file

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Inside:
    """A directory of ours. `place` answers paths through a descriptor; the folder asked for last stays open."""

    def __init__(self, root: str) -> None:
        self._root = os.open(root, _FOLDER)
        self._folder = ""
        self._descriptor = self._root

    def place(self, name: str) -> str:
        """Where a name stands. Raises FileNotFoundError or NotADirectoryError where its folder is missing or a link."""
        folder, _, last = name.rpartition("/")
        if folder != self._folder:
            self.forget()
            self._descriptor = self._open(folder)
            self._folder = folder
        return f"/proc/self/fd/{self._descriptor}/{last or '.'}"

    def forget(self) -> None:
        """Look anew the next time: a directory was removed or replaced."""
        if self._descriptor != self._root:
            os.close(self._descriptor)
        self._folder, self._descriptor = "", self._root

    def remove(self, name: str) -> None:
        """Remove whatever stands there, a directory with all that is in it."""
        with suppress(FileNotFoundError, NotADirectoryError):
            place = self.place(name)
            if stat.S_ISDIR(os.lstat(place).st_mode):
                shutil.rmtree(place)
                self.forget()
            else:
                remove_file(place)

    def has_folder(self, name: str) -> bool:
        """Whether a directory stands there, and no link to one."""
        try:
            return stat.S_ISDIR(os.lstat(self.place(name)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def make_folder(self, name: str) -> None:
        """Make a private directory, and those above it. Raises NotADirectoryError where a link is in the way."""
        parts = name.split("/") if name else []
        for end in range(1, len(parts) + 1):
            part = "/".join(parts[:end])
            with suppress(FileExistsError):
                os.mkdir(self.place(part), mode=0o700)

    def _open(self, folder: str) -> int:
        descriptor = os.dup(self._root)
        for part in folder.split("/") if folder else ():
            try:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor
