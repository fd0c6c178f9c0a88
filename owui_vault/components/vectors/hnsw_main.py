"""The ids of a large index, looked up on disk: `python -m owui_vault.components.vectors.hnsw_main PICKLE TARGET`.

A pickle has to be loaded as a whole, which takes many times its size. A short process does that, writes the ids into a
file of SQLite's, and gives the memory back by ending.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import weakref
from contextlib import closing
from pathlib import Path

from owui_vault.components.vectors.hnsw_pickle import limit_memory, read_labels
from owui_vault.errors import VaultError
from owui_vault.system.process import Command, run
from owui_vault.system.python import interpreter, module_environment

_SECONDS = 600.0


class StoredLabels:
    """Ids that are on disk, in a file without a name."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("SELECT count(*) FROM label LIMIT 1").fetchall()  # opened before its name goes
        weakref.finalize(self, self._connection.close)

    def __contains__(self, id_: object) -> bool:
        found = self._connection.execute("SELECT 1 FROM label WHERE id = ?", (_as_bytes(id_),))
        return found.fetchone() is not None


def stored_labels(pickle: Path) -> tuple[StoredLabels, object]:
    """The ids in a pickle, and how many vectors were ever added. Raises ValueError with what is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="owui-vault-") as folder:
        target = Path(folder) / "labels"
        argv = (interpreter(), "-P", "-m", __name__, os.fspath(pickle.absolute()), os.fspath(target))
        try:
            done = run(Command(argv=argv, environment=module_environment(), cwd=Path("/"), timeout_seconds=_SECONDS))
            told = json.loads(done.stdout) if done.status == 0 else {"flaw": "is too large to be read here"}
        except VaultError as error:
            raise ValueError(f"could not be read: {error.message}") from error
        if told["flaw"]:
            raise ValueError(told["flaw"])
        return StoredLabels(target), told["total"]


def main(arguments: list[str]) -> int:
    """Write the ids, and say how many were ever added, or what is wrong."""
    source, target = (Path(each) for each in arguments)
    limit_memory(source.stat().st_size)
    try:
        labels, total = read_labels(source.read_bytes())
    except ValueError as error:
        sys.stdout.write(json.dumps({"flaw": str(error)}) + "\n")
        return 0
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("CREATE TABLE label (id BLOB PRIMARY KEY) WITHOUT ROWID")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT OR IGNORE INTO label VALUES (?)", ((each,) for each in sorted(map(_as_bytes, labels)))
        )
        connection.execute("COMMIT")
    sys.stdout.write(json.dumps({"flaw": "", "total": total if isinstance(total, int) else None}) + "\n")
    return 0


def _as_bytes(id_: object) -> bytes:
    return str(id_).encode("utf-8", "surrogatepass")


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
