"""The names Open WebUI gives its files, relative to the data directory, and ours."""

from __future__ import annotations

import stat
from pathlib import Path

DATABASE = "webui.db"
VECTOR_DATABASE = "vector_db/chroma.sqlite3"
UPLOADS = "uploads"
VECTORS = "vector_db"
WORK_DIR = ".owui-vault"

# In a snapshot's tree, beside `data/`.
OUTSIDE = "outside"
KEY_NAME = "webui_secret_key"
ENVIRONMENT_NAME = "environment"  # the settings it ran with, NAME=VALUE lines
HELD_NAME = "held.json"  # what `--quiet-start` switched off, and how it comes back
OLLAMA = "ollama"  # below OUTSIDE

_LOST_AND_FOUND = "lost+found"


def not_the_data(folder: Path) -> frozenset[str]:
    """Names at the top of a directory that belong neither to the application nor into a snapshot.

    Ours, and `lost+found` where the directory is a disk of its own: the file system needs that one there.
    """
    try:
        status = (folder / _LOST_AND_FOUND).lstat()
        # By "..", since a path that leads through a descriptor has another parent.
        is_disk = folder.stat().st_dev != Path(f"{folder}/..").stat().st_dev
    except OSError:
        return frozenset({WORK_DIR})
    is_its_own = is_disk and stat.S_ISDIR(status.st_mode) and status.st_uid == 0
    return frozenset({WORK_DIR, _LOST_AND_FOUND} if is_its_own else {WORK_DIR})
