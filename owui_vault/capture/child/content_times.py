"""Modification times of copies. Engines skip a file whose size and time they know, so the time encodes the content.

An upload that is linked shares its time with the live file, and keeps it: see `uploads`.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from owui_vault.capture.child.marks import Mark
from owui_vault.capture.child.sqlite.recovery import sha256_of
from owui_vault.capture.child.stage_writer import StageWriter

_READ_AGAIN_BYTES = 64 << 20


class ContentTimes:
    """Gives each copy in the stage a time that says what is in it; of a mark that holds, bytes are hashed once."""

    def __init__(self, writer: StageWriter) -> None:
        self._writer = writer
        self._known: dict[str, tuple[Mark, str]] = {}
        self._coarse = writer.probe.is_coarse()

    def give(self, name: str, mark: Mark, *, hashed: bool) -> str:
        """Give the copy of this mark its time; returns the SHA-256 of its bytes where it must be `hashed`.

        Bytes of a large file are not read again only for this: its live inode and the time of its last change stand for
        them. The stamp of an unsettled mark does not, and such a copy has a time that no other one has.
        """
        if not hashed and mark.size > _READ_AGAIN_BYTES:
            if name not in self._writer.once:
                stands_for = f"{mark.inode} {mark.ctime_ns} {mark.mtime_ns} {mark.size}"
                self._set(name, hashlib.sha256(stands_for.encode()).hexdigest(), mark)
            return ""
        try:
            digest = self._digest(name, mark)
        except PermissionError:  # given to its owner, and we are a root with few rights
            if hashed:
                raise
            return ""
        self._set(name, digest, mark)
        return digest

    def _digest(self, name: str, mark: Mark) -> str:
        known = self._known.pop(name, None)
        holds = name not in self._writer.once
        if known is not None and known[0] == mark and holds:
            self._known[name] = known
            return known[1]
        digest = sha256_of(self._writer.inside.place(name))
        if holds:
            self._known[name] = (mark, digest)
        return digest

    def _set(self, name: str, digest: str, mark: Mark) -> None:
        when = content_time_ns(digest, mark.mtime_ns, self._coarse)
        with suppress(PermissionError):
            os.utime(self._writer.inside.place(name), ns=(when, when), follow_symlinks=False)


def content_time_ns(sha256: str, mtime_ns: int, coarse: bool) -> int:
    """A modification time that says which bytes these are: equal bytes keep it, other bytes get another.

    Engines go by size and time. The second is the live file's; where only seconds are kept it must come from the hash.
    """
    number = int(sha256[:15], 16)
    if coarse:
        return (946_684_800 + number % 600_000_000) * 1_000_000_000
    return mtime_ns - mtime_ns % 1_000_000_000 + number % 1_000_000_000
