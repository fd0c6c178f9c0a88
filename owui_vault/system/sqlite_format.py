"""What SQLite's files look like from outside. The standard library only: the capture's child asks here too."""

from __future__ import annotations

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
#: What may be beside a database, by its name: log, shared memory, journal.
SIDE_SUFFIXES = ("-wal", "-shm", "-journal")


def journal_mode(head: bytes) -> str:
    """The mode in a database's first 100 bytes: "wal", "delete" for every rollback mode, "none" for other files."""
    if not head:
        return "delete"  # an empty file is an empty database
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        return "none"
    # The version for readers decides (lockBtree in SQLite's btree.c). That for writers, the byte before it, is the same
    # wherever SQLite has written both.
    return "wal" if head[19] == 2 else "delete"


def quoted(name: str) -> str:
    """A table or column name inside a statement."""
    return '"' + name.replace('"', '""') + '"'
