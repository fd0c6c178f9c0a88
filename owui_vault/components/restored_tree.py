"""Checks that a restored tree is one of ours: no link where a file will be written or opened as a database.

Anyone with a repository's passphrase can store any tree. A link called `data` or `webui.db` that points to the live
data would be followed by everything that works on the restored ones.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from owui_vault.components.names import DATABASE, OUTSIDE, UPLOADS, VECTOR_DATABASE, VECTORS
from owui_vault.components.sqlite_files import strays


def tree_problem(data_dir: Path) -> str:
    """What of a fetched tree is not what it must be, in words; empty where all is. What is not there is skipped."""
    folders = (data_dir, data_dir.parent / OUTSIDE, data_dir / UPLOADS, data_dir / VECTORS)
    files = (data_dir / DATABASE, data_dir / VECTOR_DATABASE)
    for paths, is_right, word in ((folders, stat.S_ISDIR, "directory"), (files, stat.S_ISREG, "file")):
        for path in paths:
            if os.path.lexists(path) and not is_right(path.lstat().st_mode):
                link = ", but a link to somewhere else" if path.is_symlink() else ""
                return f"{path.relative_to(data_dir.parent)} is not a {word}{link}"
    for path in files:
        for stray in strays(path):  # one that is a link would be written through by whoever opens the database
            return f"{stray.name} is beside {path.name}: SQLite would mix it into the database"
    return ""
