"""Which process shares the locks of a database with us: only the application's own proves that a pin would hold.

Another program on this machine that has the database open, for example a shell, says nothing about an application in a
virtual machine, whose locks the kernel here never sees.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

_LOCK = re.compile(
    r"^\d+: +(?:-> +)?POSIX +\S+ +\S+ +(?P<process>\d+) +\S+:(?P<inode>\d+) +(?P<first>\d+) +(?P<last>\d+|EOF)$",
    re.MULTILINE,
)


def judged(holder: int | None, inode: int, byte: int, processes: Collection[int]) -> dict[str, str]:
    """The `holder` or the `obstacle` of a database.

    `holder` is whom the kernel named first for a lock on this byte of the file with this inode. `processes` are the
    instance's; where none is known, whoever holds the lock is believed.
    """
    if holder is None:
        return {"obstacle": "no process is seen sharing its locks"}
    if not processes or holder in processes:
        return {"holder": describe(holder)}
    own = next((each for each in other_holders(inode, byte) if each in processes), None)
    if own is None:
        return {"obstacle": f"its locks are shared by {describe(holder)}, but not by Open WebUI"}
    return {"holder": describe(own)}


def holders_in(locks: str, inode: int, byte: int, length: int = 1) -> list[int]:
    """All processes that hold a lock on these bytes, by the kernel's list; it does not say on which device."""
    return [
        int(match["process"])
        for match in _LOCK.finditer(locks)
        if int(match["inode"]) == inode and _overlaps(match["first"], match["last"], byte, length)
    ]


def other_holders(inode: int, byte: int, length: int = 1) -> list[int]:
    """All processes that hold a lock on these bytes of a file, as far as the kernel lists them."""
    return holders_in(_locks(), inode, byte, length)


def describe(process: int) -> str:
    """A process for a report."""
    try:
        return f"process {process} ({Path(f'/proc/{process}/comm').read_text().strip()})"
    except OSError:
        return f"process {process}" if process > 0 else "a process of another namespace"


def _overlaps(first: str, last: str, byte: int, length: int) -> bool:
    return int(first) < byte + length and (last == "EOF" or byte <= int(last))


def _locks() -> str:
    try:
        return Path("/proc/locks").read_text()
    except OSError:
        return ""
