"""What `webui.db` says about an instance: its identity, its schema, what is encrypted, where its uploads are."""

from __future__ import annotations

import json
import posixpath
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.components.database.first_facts import alembic_head, fingerprint, has_local_uploads
from owui_vault.components.database.sealed_values import sealed_values
from owui_vault.components.external_state import Neighbour, read_neighbours
from owui_vault.components.names import DATABASE, UPLOADS
from owui_vault.components.sqlite_files import column_names, open_at_rest, row_counts
from owui_vault.model import SealedValues


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """Facts of one `webui.db`."""

    fingerprint: str = ""  # empty: nobody has signed up yet
    alembic_head: str = ""
    tables: Mapping[str, int] = field(default_factory=dict)
    sealed_values: tuple[SealedValues, ...] = ()  # what cannot be opened without the secret key
    app_data_dir: str = ""  # as the application saw it; empty: no upload tells
    other_data_dirs: tuple[str, ...] = ()  # where further rows point: left over from an earlier move
    remote_files: int = 0  # rows whose bytes are in a bucket
    neighbours: tuple[Neighbour, ...] = ()  # other programs that hold something of it, as its settings say
    has_local_uploads: bool = False  # whether the bytes of any row are on a disk

    @property
    def sealed(self) -> tuple[str, ...]:
        """The same in words."""
        return tuple(each.words for each in self.sealed_values)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One row of `file`."""

    id: str
    path: str
    size_bytes: int | None = None
    sha256: str = ""  # of the bytes; the application records it since 0.7 or so

    @property
    def is_remote(self) -> bool:
        """Whether the bytes are in a bucket."""
        return "://" in self.path

    @property
    def upload(self) -> str:
        """The name below `uploads/`; empty where the path does not end in `uploads/NAME`."""
        folder, name = posixpath.split(self.path)
        usable = posixpath.basename(folder) == UPLOADS and name not in ("", ".", "..") and "\0" not in name
        return name if usable and not self.is_remote else ""

    @property
    def data_dir(self) -> str:
        """The data directory this row believes in; empty where `upload` is."""
        return posixpath.dirname(posixpath.dirname(self.path)) if self.upload else ""


def read_facts(data_dir: Path) -> DatabaseFacts:
    """Facts of a database at rest. Raises sqlite3.DatabaseError when it is damaged."""
    with open_at_rest(data_dir / DATABASE) as connection:
        return facts_of(connection)


def facts_of(connection: sqlite3.Connection) -> DatabaseFacts:
    """Facts seen through an open connection."""
    places: Counter[str] = Counter()
    remote = 0
    for row in file_rows(connection):
        remote += row.is_remote
        if row.upload:
            places[row.data_dir] += 1
    ranked = [place for place, _count in places.most_common()]
    return DatabaseFacts(
        fingerprint=fingerprint(connection),
        alembic_head=alembic_head(connection),
        tables=row_counts(connection),
        sealed_values=tuple(sealed_values(connection)),
        app_data_dir=ranked[0] if ranked else "",
        other_data_dirs=tuple(ranked[1:]),
        remote_files=remote,
        neighbours=read_neighbours(connection),
        has_local_uploads=has_local_uploads(connection),
    )


def file_rows(connection: sqlite3.Connection) -> Iterator[FileRow]:
    """The rows of `file`, streamed. Whatever a row holds, it never breaks the reading."""
    columns = column_names(connection, "file")
    if not {"id", "path"} <= columns:
        return
    meta = "meta" if "meta" in columns else "NULL"
    query = f"SELECT id, path, {meta} FROM file WHERE path IS NOT NULL AND path <> ''"  # noqa: S608 - constants only
    for id_, path, raw in connection.execute(query):
        size, sha256 = _from_meta(raw)
        yield FileRow(id=_text(id_), path=_text(path), size_bytes=size, sha256=sha256)


def _text(value: object) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _from_meta(raw: object) -> tuple[int | None, str]:
    try:
        meta = json.loads(raw) if isinstance(raw, str | bytes) else {}
    except (ValueError, RecursionError):
        return None, ""
    if not isinstance(meta, dict):
        return None, ""
    size, digest = meta.get("size"), meta.get("file_hash")
    is_size = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    sha256 = digest.lower() if isinstance(digest, str) and len(digest) == 64 else ""
    return size if is_size else None, sha256
