"""Whether the test application has begun: asked of its data, with nothing of ours."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_WRITTEN = "SELECT 1 FROM chat UNION ALL SELECT 1 FROM file WHERE done LIMIT 1"


def has_begun(data: Path) -> bool:
    """Whether all tables are there and something is in them.

    Its folders come first, then one database, then the other: on a disk with much to do, a second lies between them,
    and what is looked at or taken in that second is no instance yet.
    """
    try:
        with closing(sqlite3.connect(f"file:{data}/webui.db?mode=ro", uri=True, timeout=0.1)) as connection:
            return connection.execute(_WRITTEN).fetchone() is not None
    except sqlite3.Error:  # missing, empty, or it writes just now
        return False
