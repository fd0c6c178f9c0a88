"""The paths of uploads in a restored database: kept or rewritten, so that downloads work where the data are now.

`file.path` holds the absolute path of each upload as the application saw it. If the application will see the data
elsewhere, every download fails, or comes from the old directory if that still exists.
"""

from __future__ import annotations

import os
import posixpath
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.database.facts import FileRow
from owui_vault.components.names import DATABASE, UPLOADS
from owui_vault.components.restored_tree import tree_problem
from owui_vault.components.sqlite_files import beside, column_names, strays
from owui_vault.errors import ConfigError, RestoreError
from owui_vault.model import ApplicationRecord
from owui_vault.system.sqlite_door import open_database

_BATCH_ROWS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PathDecision:
    """Where the application must see the data directory, and whether rows have to be changed for that."""

    app_data_dir: str
    rewrite: bool


def decide_paths(data_dir: Path, application: ApplicationRecord, app_data_dir: str | None) -> PathDecision:
    """Keep the recorded path, or take another one.

    A path that differed from the machine's (a container's) is kept: the data are mounted at the same place again.
    Where both were the same (a pip install), the new directory takes its place. What the operator says wins.
    """
    here = os.fspath(data_dir)
    recorded = application.data_dir
    if app_data_dir is not None:
        return PathDecision(app_data_dir=_absolute(app_data_dir), rewrite=_absolute(app_data_dir) != recorded)
    if not recorded:
        return PathDecision(app_data_dir=here, rewrite=False)
    if is_same_place(recorded, application.data_dir_here):
        return PathDecision(app_data_dir=here, rewrite=here != recorded)
    return PathDecision(app_data_dir=recorded, rewrite=False)


def decide_in_place(data_dir: Path, application: ApplicationRecord, *, told: str, written: str) -> PathDecision:
    """Where the application sees the directory that a snapshot is restored in place into.

    `told` is the DATA_DIR of its container or process, `written` what today's rows name. Only where neither says it, as
    with a relative DATA_DIR, the same rule holds as for a new directory.
    """
    for seen in (told, written):
        if seen.startswith("/"):
            here = posixpath.normpath(seen)
            return PathDecision(app_data_dir=here, rewrite=here != application.data_dir)
        if seen and seen == application.data_dir:
            return PathDecision(app_data_dir=seen, rewrite=False)
    return decide_paths(data_dir, application, None)


def called_here(data_dir: Path, app_data_dir: str) -> str:
    """What a manifest says the directory is called on this machine: the application's own word where that leads here.

    A pip install may know its data by a symlink; a container's path leads nowhere from outside, or elsewhere.
    """
    try:
        leads_here = app_data_dir.startswith("/") and Path(app_data_dir).samefile(data_dir)
    except (OSError, ValueError):
        leads_here = False
    return app_data_dir if leads_here else os.fspath(data_dir)


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ConfigError(
            f"{path!r} is not a path at which the application can see its data",
            hint="--app-data-dir takes an absolute path, for example /app/backend/data.",
        )
    return posixpath.normpath(path)


def is_same_place(recorded: str, here: str) -> bool:
    """Whether the application and this machine called the directory by one name; a relative one ends like it."""
    if not here:
        return False
    if recorded.startswith("/"):
        return posixpath.normpath(recorded) == posixpath.normpath(here)
    return posixpath.normpath(here).endswith("/" + posixpath.normpath(recorded))


def rewrite_paths(
    data_dir: Path, application: ApplicationRecord, *, app_data_dir: str | None = None
) -> tuple[int, str]:
    """Make downloads work from a restored directory.

    Returns how many rows were changed, and where the application must see the data. Changed are rows that named the
    recorded data directory, and rows whose upload is there; all others (buckets, paths to elsewhere) stay as they are.
    Nothing but `webui.db` is written, and no `-wal`, `-shm` or `-journal` is left.
    """
    decision = decide_paths(data_dir, application, app_data_dir)
    if not decision.rewrite:
        return 0, decision.app_data_dir
    hint = "The fetched files are left as they are. Restore another snapshot, or keep the path (--app-data-dir)."
    with changing(data_dir, "the paths of uploads could not be rewritten in", hint) as connection:
        changed = _rewrite(connection, data_dir / UPLOADS, application.data_dir, decision.app_data_dir)
    return changed, decision.app_data_dir


@contextmanager
def changing(data_dir: Path, failure: str, hint: str) -> Iterator[sqlite3.Connection]:
    """A restored `webui.db`, changed before anything else opens it; no file is left beside it.

    Raises RestoreError, which begins with `failure`.
    """
    _require_real(data_dir)
    database = data_dir / DATABASE
    try:
        with closing(open_database(database, "mode=rw")) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared memory, hence no -shm
            yield connection
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.DatabaseError as error:
        raise RestoreError(f"{failure} {database}: {error}", hint=hint) from error
    _remove_empty(database)


def _require_real(data_dir: Path) -> None:
    """SQLite follows links: one called webui.db would have the rows of whatever it leads to rewritten."""
    problem = tree_problem(data_dir)
    if problem:
        raise RestoreError(
            problem, hint="It was not written by owui_vault, or was tampered with. Restore another snapshot."
        )


def _rewrite(connection: sqlite3.Connection, uploads: Path, old: str, new: str) -> int:
    if "path" not in column_names(connection, "file"):
        return 0
    changed = 0
    connection.execute("BEGIN IMMEDIATE")
    for rowid, name in _to_change(connection, uploads, old):
        path = os.fsencode(posixpath.join(new, UPLOADS, name))
        connection.execute("UPDATE file SET path = CAST(? AS TEXT) WHERE rowid = ?", (path, rowid))
        changed += 1
    connection.execute("COMMIT")
    return changed


def _to_change(connection: sqlite3.Connection, uploads: Path, old: str) -> Iterator[tuple[int, str]]:
    last = None
    while True:
        rows = connection.execute(
            "SELECT rowid, path FROM file WHERE (? IS NULL OR rowid > ?) ORDER BY rowid LIMIT ?",
            (last, last, _BATCH_ROWS),
        ).fetchall()
        if not rows:
            return
        for rowid, path in rows:
            row = FileRow(id="", path=path if isinstance(path, str) else "")
            if row.upload and (row.data_dir == old or _exists(uploads / row.upload)):
                yield rowid, row.upload
        last = rows[-1][0]


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False


def _remove_empty(database: Path) -> None:
    """SQLite removes its side files itself; where it could not, only an empty one may go."""
    for stray in strays(database):
        if stray == beside(database, "-shm") or not stray.stat().st_size:
            stray.unlink()
    if strays(database):
        raise RestoreError(
            f"{strays(database)[0]} was left behind",
            hint="Do not start Open WebUI on this directory; restore it again.",
        )
