"""The real location of a path: in which file system, and under which name there, however many mounts lead to it.

`mount --bind` shows a directory at a second place, and no comparison of paths reveals it. The kernel's mount table
does: it gives the device of each mount and the directory on it that is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ESCAPED = re.compile(r"\\([0-7]{3})")  # a space, for example


@dataclass(frozen=True, slots=True)
class Mount:
    """`root`, a directory of the file system on `device`, is seen at `point`."""

    device: str
    root: PurePosixPath
    point: Path


def read_mounts() -> tuple[Mount, ...]:
    """What this process has mounted, in the order in which it was mounted."""
    return parse_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))


def parse_mounts(mountinfo: str) -> tuple[Mount, ...]:
    """The mounts in the text of `/proc/self/mountinfo`."""
    return tuple(
        Mount(device=fields[2], root=PurePosixPath(_plain(fields[3])), point=Path(_plain(fields[4])))
        for fields in (line.split() for line in mountinfo.splitlines())
    )


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def is_within(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or is below it, once every symlink is followed. No mount is looked at."""
    return path.resolve().is_relative_to(folder.resolve())


def lies_within(path: Path, folder: Path, mounts: tuple[Mount, ...]) -> bool:
    """Whether whoever walks through `folder` meets `path`, or a part of it. It need not exist yet.

    Links are followed, and so are mounts: of `folder` elsewhere, of what is above `path`, and of `path` below `folder`.
    """
    path, folder = path.resolve(), folder.resolve()
    if path.is_relative_to(folder) or _identity(folder) in map(_identity, _existing(path)):
        return True
    device, name = _really(path, mounts)
    if _is_below((device, name), _really(folder, mounts)):
        return True
    below = ((mount.device, mount.root) for mount in mounts if folder in mount.point.parents)
    return any(_is_below((device, name), each) or _is_below(each, (device, name)) for each in below)


def _existing(path: Path) -> Iterator[Path]:
    yield from (each for each in (path, *path.parents) if each.exists())


def _identity(path: Path) -> tuple[int, int]:
    """By device and inode: what the table of mounts does not tell apart (FUSE, network shares) may still be one."""
    try:
        found = path.stat()
    except OSError:
        return (-1, hash(path))
    return found.st_dev, found.st_ino


def _really(path: Path, mounts: tuple[Mount, ...]) -> tuple[str, PurePosixPath]:
    over = [mount for mount in mounts if path.is_relative_to(mount.point)]
    if not over:
        return "", PurePosixPath(path)
    # Of two at one place the later one hides the other.
    nearest = max(enumerate(over), key=lambda each: (len(each[1].point.parts), each[0]))[1]
    return nearest.device, nearest.root / path.relative_to(nearest.point)


def _is_below(one: tuple[str, PurePosixPath], other: tuple[str, PurePosixPath]) -> bool:
    return one[0] == other[0] and one[1].is_relative_to(other[1])
