"""Copies and links of single files into the stage. Links are never touched afterwards: they are the live file."""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from contextlib import suppress
from dataclasses import dataclass

from owui_vault.capture.errors import (
    NoRoomError,
    SourceChangedError,
    UnreadableError,
    cannot_be_read,
)
from owui_vault.capture.marks import Mark, mark_of
from owui_vault.capture.settle import wall_ns
from owui_vault.system.filesystem import copy_bytes, is_full, reflink

_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Copied:
    """How one copy came about."""

    bytes_copied: int  # 0: the blocks are shared
    seconds: float


def copy_file(descriptor: int, target: str, mark: Mark, name: str, *, whole: bool = True) -> Copied:
    """Copy an open file to the marked size, keeping mode, owner and times; unless it must be `whole`, what there is.

    Raises SourceChangedError, NoRoomError, UnreadableError; then nothing is left of the copy.
    """
    with suppress(FileNotFoundError):
        os.unlink(target)
    out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    began = time.monotonic()
    try:
        shared = reflink(descriptor, out)
        count = min(mark.size, os.fstat(out).st_size) if shared else copy_bytes(descriptor, out, mark.size)
        if count != mark.size and whole:
            raise SourceChangedError(name, "became shorter")
        if shared:
            os.ftruncate(out, count)
        keep_attributes(out, mark)
    except OSError as error:
        os.unlink(target)
        if is_full(error):
            raise NoRoomError(f"no room for a copy of {name}") from error
        if cannot_be_read(error):
            raise UnreadableError(name) from error
        raise
    except SourceChangedError:
        os.unlink(target)  # half a copy that nobody knows of would stay in the stage
        raise
    finally:
        os.close(out)
    return Copied(0 if shared else count, time.monotonic() - began)


def keep_attributes(out: int, mark: Mark) -> None:
    """Modification time and mode of a copy; where we may give it away its owner, last: it may be out of reach then."""
    os.utime(out, ns=(mark.mtime_ns, mark.mtime_ns))
    os.fchmod(out, stat.S_IMODE(mark.mode))
    if os.geteuid() == 0:
        with suppress(PermissionError):  # root inside a container need not have this right
            os.fchown(out, mark.user, mark.group)
            os.fchmod(out, stat.S_IMODE(mark.mode))  # a new owner takes the set-user-ID bit away


def link_file(source: str, target: str, mark: Mark, name: str) -> Mark | None:
    """Link the marked file; the mark it has afterwards, or None where this file cannot be linked.

    Raises SourceChangedError when the name vanished or leads elsewhere by now.
    """
    with suppress(FileNotFoundError):
        os.unlink(target)
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError as error:
        raise SourceChangedError(name, "was deleted") from error
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return None
        if is_full(error):
            raise NoRoomError(f"no room for a link to {name}") from error
        raise
    linked = mark_of(target)
    if linked is None or not linked.but_for_ctime(mark):
        os.unlink(target)
        raise SourceChangedError(name)
    return linked


def unique_time_ns(coarse: bool) -> int:
    """A modification time that this file never had with other bytes.

    Where only whole seconds are kept, a second long ago is drawn: a later one could be met again by the live file.
    """
    if coarse:
        return random.SystemRandom().randrange(946_684_800, 1_546_300_800) * 1_000_000_000
    now = wall_ns()
    return now - now % 1_000_000_000 + random.SystemRandom().randrange(1_000_000_000)


def content_time_ns(sha256: str, mtime_ns: int, coarse: bool) -> int:
    """A modification time that says which bytes these are: equal bytes keep it, other bytes get another.

    Engines go by size and time. The second is the live file's; where only seconds are kept it must come from the hash.
    """
    number = int(sha256[:15], 16)
    if coarse:
        return (946_684_800 + number % 600_000_000) * 1_000_000_000
    return mtime_ns - mtime_ns % 1_000_000_000 + number % 1_000_000_000
