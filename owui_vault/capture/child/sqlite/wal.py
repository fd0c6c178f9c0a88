"""SQLite's write-ahead log and its index, read as bytes: what is committed, and which pages it contains.

The format is SQLite's, documented and stable since 3.7.0: sqlite.org/walformat.html for the index, section 4 of
sqlite.org/fileformat2.html for the log.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from owui_vault.capture.child.errors import AttemptFailedError

_INDEX = struct.Struct("=IIIBBHIIII8sII")
_INDEX_VERSION = 3007000
_CHECKED_BYTES = 40
_LOG_HEADER_BYTES = 32
_FRAME = struct.Struct(">II8sII")
_LARGEST_PAGE = 65536
_LOOK_UP_EVERY = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The last commit that readers see: the log's first `frames` frames, over whatever was brought in before.

    `salt` is drawn again, and the frames are counted from the start, whenever the log is restarted.
    """

    change: int
    frames: int
    pages: int
    page_bytes: int
    salt: str
    checksum: tuple[int, int]

    @property
    def log_bytes(self) -> int:
        """How much of the log's file belongs to it."""
        return _LOG_HEADER_BYTES + self.frames * (_FRAME.size + self.page_bytes) if self.frames else 0


def last_commit(index: int) -> Commit | None:
    """The last commit by the open `-shm`; None while it is being changed, or when it is not what we know.

    A writer changes the second copy first, a reader reads the first one first: equal copies were not being changed.
    """
    first, second = os.pread(index, _INDEX.size, 0), os.pread(index, _INDEX.size, _INDEX.size)
    if first != second or len(first) < _INDEX.size:
        return None
    version, _, change, ready, _, page, frames, pages, sum_1, sum_2, salt, own_1, own_2 = _INDEX.unpack(first)
    if version != _INDEX_VERSION or not ready or _checksum(first[:_CHECKED_BYTES]) != (own_1, own_2):
        return None
    return Commit(
        change=change,
        frames=frames,
        pages=pages,
        page_bytes=_LARGEST_PAGE if page == 1 else page,
        salt=salt.hex(),
        checksum=(sum_1, sum_2),
    )


def _checksum(data: bytes) -> tuple[int, int]:
    words = struct.unpack(f"={len(data) // 4}I", data)
    one = two = 0
    for first, second in zip(words[0::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def bring_in(log: int, copy: int, commit: Commit, between: Callable[[], None]) -> None:
    """Write the last version of every page that the log holds up to a commit into a copy of the database.

    The log must not have been restarted since that copy was begun: then whatever the copy has of another moment is in
    the log, and is written over. `between` is called now and then. Raises AttemptFailedError when the log is another
    one than the commit's.
    """
    if not commit.frames:
        return
    latest: dict[int, int] = {}
    frame_bytes = _FRAME.size + commit.page_bytes
    end = (0, 0, 0)
    for offset in range(_LOG_HEADER_BYTES, commit.log_bytes, frame_bytes):
        header = os.pread(log, _FRAME.size, offset)
        if len(header) < _FRAME.size:
            raise AttemptFailedError("its WAL is shorter than its index says")
        page, pages, salt, *checksum = _FRAME.unpack(header)
        if salt.hex() != commit.salt:
            raise AttemptFailedError("its WAL was restarted while it was being copied")
        latest[page] = offset + _FRAME.size
        end = (pages, *checksum)
    if end != (commit.pages, *commit.checksum):
        raise AttemptFailedError("its WAL does not end where its index says")
    for number, page in enumerate(sorted(each for each in latest if each <= commit.pages)):
        data = os.pread(log, commit.page_bytes, latest[page])
        os.pwrite(copy, data, (page - 1) * commit.page_bytes)
        if number % _LOOK_UP_EVERY == 0:
            between()
    os.ftruncate(copy, commit.pages * commit.page_bytes)
