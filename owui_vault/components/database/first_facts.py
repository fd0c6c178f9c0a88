"""The little of `webui.db` that every run asks for: whose it is, its schema, and whether its uploads are on a disk.

Apart from all other facts, since the probe of every run is a process of its own and must start fast.
"""

from __future__ import annotations

import hashlib
import sqlite3

from owui_vault.components.sqlite_files import column_names


def has_local_uploads(connection: sqlite3.Connection) -> bool:
    """Whether the bytes of any row of `file` are on a disk: those are nowhere else, even if new ones go to a bucket."""
    if "path" not in column_names(connection, "file"):
        return False
    query = "SELECT 1 FROM file WHERE path IS NOT NULL AND path <> '' AND NOT instr(path, '://') LIMIT 1"
    return connection.execute(query).fetchone() is not None


def fingerprint(connection: sqlite3.Connection) -> str:
    """Which instance this is: a hash of its oldest user. Neither a rename of the host nor an upgrade changes it."""
    if not {"id", "created_at"} <= column_names(connection, "user"):
        return ""
    oldest = connection.execute("SELECT id, created_at FROM user ORDER BY created_at, id LIMIT 1").fetchone()
    if oldest is None:
        return ""
    text = f"{oldest[0]}\n{oldest[1]}".encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def alembic_head(connection: sqlite3.Connection) -> str:
    """The schema's revision; several, joined by commas, where there are branches."""
    if "version_num" not in column_names(connection, "alembic_version"):
        return ""
    return ",".join(str(each) for (each,) in connection.execute("SELECT version_num FROM alembic_version ORDER BY 1"))
