"""Copies and links of single files into the stage. Links are never touched afterwards: they are the live file."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from owui_vault.capture.child.errors import (
    NoRoomError,
    SourceChangedError,
    UnreadableError,
    cannot_be_read,
)
from owui_vault.capture.child.fences import wall_ns
from owui_vault.capture.child.marks import Mark, mark_of
from owui_vault.system.attributes import Attributes, give, read_extended
from owui_vault.system.filesystem import copy_bytes, is_full, reflink

_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Copied:
    """How one copy came about."""

    bytes_copied: int  # 0: the blocks are shared
    seconds: float
    lost: tuple[str, ...] = ()  # attributes that the copy could not be given


def copy_file(  # noqa: PLR0913  what is copied, whereto, and two ways in which copies differ
    descriptor: int, target: str, mark: Mark, name: str, *, whole: bool = True, private: bool = False
) -> Copied:
    """Copy an open file to the marked size, keeping mode, owner, times, access lists and extended attributes.

    Unless it must be `whole`, what there is. A `private` copy gets what the mark says, and no more.

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
        lost = keep_attributes(out, mark, {} if private else read_extended(descriptor))
    except OSError as error:
        os.unlink(target)
        if is_full(error):
            raise NoRoomError(f"not enough space for a copy of {name}") from error
        if cannot_be_read(error):
            raise UnreadableError(name) from error
        raise
    except SourceChangedError:
        os.unlink(target)  # half a copy that nobody knows of would stay in the stage
        raise
    finally:
        os.close(out)
    return Copied(0 if shared else count, time.monotonic() - began, lost)


def keep_attributes(out: int, mark: Mark, extended: Mapping[str, bytes]) -> tuple[str, ...]:
    """Give a copy its time, mode, owner and extended attributes; returns what could not be given."""
    os.utime(out, ns=(mark.mtime_ns, mark.mtime_ns))
    return give(out, Attributes(mark.mode, mark.user, mark.group, extended))


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
            raise NoRoomError(f"not enough space for a link to {name}") from error
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
