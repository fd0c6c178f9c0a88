"""The bare engine doing the same work: SQLite's backup, hard links of the uploads, then restic or borg on that tree.

`python baseline.py DATA_DIR STAGE ENGINE COMMAND…` runs COMMAND in the stage. A script that somebody would write
in an evening: it proves nothing, checks nothing and keeps nothing, and it is what our path is held against.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

DATABASES = ("webui.db", "vector_db/chroma.sqlite3")
LEFT_OUT = ("audit.log", "audio", ".owui-vault")


def main() -> int:
    data_dir, stage, *command = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    shutil.rmtree(stage, ignore_errors=True)
    tree = stage / "data"
    for folder, names, files in os.walk(data_dir):
        names[:] = [name for name in names if name not in LEFT_OUT]
        here = Path(folder)
        there = tree / here.relative_to(data_dir)
        there.mkdir(parents=True)
        for name in files:
            take(here / name, there / name, (here / name).relative_to(data_dir).as_posix())
    return subprocess.run(command, cwd=stage, check=False).returncode


def take(source: Path, target: Path, relative: str) -> None:
    if relative in DATABASES:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
    elif relative.startswith("uploads/"):
        os.link(source, target)
    elif source.name not in LEFT_OUT and not relative.endswith(("-wal", "-shm", "-journal")):
        shutil.copy2(source, target)


if __name__ == "__main__":
    sys.exit(main())
