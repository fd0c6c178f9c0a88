"""Remembers linked uploads from run to run, to notice one that was rewritten with the same size and time.

Engines go by size and modification time, and a link to a live file cannot be given a different one. But its inode and
the time of its last change move with every write, whatever is reset afterwards. Our own links move them as well, so the
values are recorded after the links are gone.

One file for each repository says what its newest snapshot holds. It may be lost: then nothing is known until the next
snapshot is stored there, and only the full read (`engines.common.full_read`) finds what was rewritten meanwhile.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

_HEADER = b"owui-vault uploads 1\n"
_RECORD = struct.Struct("<QQQI")  # name, shape, identity, since
IN_DOUBT = 0
_NO_NUMBER = (1 << 32) - 1


class KnownUpload(NamedTuple):
    """One upload as a repository's newest snapshot has it; `since` is the number of the first one with these bytes."""

    shape: int
    identity: int
    since: int

    def is_doubtful(self, shape: int, identity: int, parent: int) -> bool:
        """Whether an engine that goes on from snapshot number `parent` might pass over other bytes than it has."""
        return self.shape == shape and (self.identity != identity or self.since > parent)


def key_of(name: str) -> int:
    """A name as a number; of a million names, two are the same once in forty million."""
    return _number(os.fsencode(name))


def shape_of(size: int, mtime_ns: int) -> int:
    """What engines go by."""
    return _number(b"%d %d" % (size, mtime_ns))


def identity_of(inode: int, ctime_ns: int) -> int:
    """What moves with every write; never `IN_DOUBT`."""
    return _number(b"%d %d" % (inode, ctime_ns)) or 1


def _number(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def read_known(path: str | os.PathLike[str]) -> dict[int, KnownUpload]:
    """What `to_bytes` wrote, by key; nothing where there is no such file, or not a whole one."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    body = data[len(_HEADER) :]
    if not data.startswith(_HEADER) or len(body) % _RECORD.size:
        return {}
    return {key: KnownUpload(shape, identity, since) for key, shape, identity, since in _RECORD.iter_unpack(body)}


def to_bytes(known: Mapping[int, KnownUpload]) -> bytes:
    """For a file of 28 bytes for each upload."""
    return _HEADER + b"".join(
        _RECORD.pack(key, each.shape, each.identity, min(each.since, _NO_NUMBER)) for key, each in known.items()
    )
