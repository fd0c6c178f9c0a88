"""What is asked of each part of an instance, whatever it is made of: one class for each that is more than files.

The others are counted, listed and compared by names and sizes, as all are. Another kind of database is one more class.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from owui_vault.components.database.facts import file_rows
from owui_vault.components.names import DATABASE, OLLAMA, OUTSIDE, UPLOADS, VECTOR_DATABASE, VECTORS
from owui_vault.components.sqlite_files import open_at_rest
from owui_vault.components.uploads import HashOf, check_uploads, names, printable
from owui_vault.components.vectors.chroma import read_store
from owui_vault.model import ApplicationRecord, Component, DatabaseRecord, FileRecord, Manifest
from owui_vault.system.patterns import left_out_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a repository gave back.

    Of the components in `fetched` the files are there. `size_of` answers for all that the engine lists: a path below
    `data/`; None: it is not there. What is known to differ: the lists of the components in `differing`, and, if
    `is_content_other`, files of which the manifest has a hash.
    """

    data_dir: Path
    manifest: Manifest
    fetched: Collection[Component]
    differing: Collection[Component]
    is_content_other: bool
    size_of: Callable[[str], int | None]
    hash_of: HashOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is wrong: `problems` differ from the manifest, `changed` was so when it was stored."""

    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class ComponentProvider:
    """One part of an instance: where it is, which version of what it is, whether what came back is right."""

    name: ClassVar[Component]
    place: ClassVar[str]  # below the data directory, or below `outside/`
    databases: ClassVar[tuple[str, ...]] = ()  # what SQLite opens of it, below the data directory

    def schema(self, application: ApplicationRecord) -> str:  # noqa: ARG002  for those that have one
        """Which version of its kind (`model.KINDS`) it is."""
        return ""

    def hashed(self, manifest: Manifest) -> tuple[DatabaseRecord | FileRecord, ...]:
        """The files of it whose SHA-256 the manifest has."""
        return tuple(each for each in manifest.databases if each.path in self.databases)

    def check(self, returned: Returned) -> Checked:  # noqa: ARG002  for those that have more to say
        """What is wrong besides names, sizes and hashes, which are compared for all alike."""
        return Checked()


class DatabaseProvider(ComponentProvider):
    """`webui.db`."""

    name, place, databases = Component.DATABASE, DATABASE, (DATABASE,)

    def schema(self, application: ApplicationRecord) -> str:
        """Alembic's head."""
        return application.alembic_head


class VectorsProvider(ComponentProvider):
    """Chroma's store."""

    name, place, databases = Component.VECTORS, VECTORS, (VECTOR_DATABASE,)

    def schema(self, application: ApplicationRecord) -> str:
        """Chroma's migration level."""
        return application.chroma_migration

    def hashed(self, manifest: Manifest) -> tuple[DatabaseRecord | FileRecord, ...]:
        """Its database, and the files of its indexes."""
        return (*super().hashed(manifest), *manifest.vector_files)

    def check(self, returned: Returned) -> Checked:
        """What a difference means for searches; asked only when some file differs."""
        if not (returned.is_content_other and self.name in returned.fetched):
            return Checked()
        manifest = returned.manifest
        try:
            store = read_store(returned.data_dir, left_out_of(manifest))
        except sqlite3.Error as error:
            return Checked(problems=(f"{VECTOR_DATABASE} cannot be read: {error}",))
        flaws = [printable(flaw) for flaw in store.flaws]
        found = {record.id for record in store.collections}
        if gone := [record.name for record in manifest.collections if record.id not in found]:
            flaws.append(f"collections of the manifest that are missing: {names(gone)}")
        recorded = {record.id: record.vectors for record in manifest.collections}
        for record in store.collections:
            expected = recorded.get(record.id, record.vectors)
            if record.vectors != expected:
                flaws.append(f"collection {printable(record.name)}: {record.vectors:,} instead of {expected:,} vectors")
        return Checked(problems=tuple(flaws))


class UploadsProvider(ComponentProvider):
    """What users gave; the database has a row of each."""

    name, place = Component.UPLOADS, UPLOADS

    def check(self, returned: Returned) -> Checked:
        """Rows against uploads; nothing where the database cannot be asked, which is told elsewhere."""
        if not (returned.data_dir / DATABASE).is_file():
            return Checked()
        try:
            with open_at_rest(returned.data_dir / DATABASE) as connection:
                found = check_uploads(
                    file_rows(connection),
                    returned.data_dir / UPLOADS,
                    size_of=lambda name: returned.size_of(f"{UPLOADS}/{name}"),
                    hash_of=returned.hash_of if self.name in returned.fetched else None,
                    is_left_out=left_out_of(returned.manifest),
                )
        except sqlite3.DatabaseError:
            return Checked()
        told = (
            (found.missing, "in the database are missing"),
            (found.wrong_size, "differ in size from what the database says"),
        )
        problems = (f"{len(those):,} uploads {what}: {names(those)}" for those, what in told if those)
        changed = (
            f"{len(found.wrong_hash):,} uploads are not what the application received (SHA-256), and were so when they"
            f" were stored: {names(found.wrong_hash)}"
        )
        return Checked(
            problems=tuple(problems) if self.name in returned.differing else (),
            changed=(changed,) if found.wrong_hash else (),
        )


class OllamaProvider(ComponentProvider):
    """Models of Ollama's."""

    name, place = Component.OLLAMA, OLLAMA

    def check(self, returned: Returned) -> Checked:
        """Its blobs are called by their SHA-256."""
        folder = returned.data_dir.parent / OUTSIDE
        blobs = (folder / OLLAMA).glob("models/blobs/sha256-*") if self.name in returned.fetched else ()
        return Checked(
            problems=tuple(
                f"{OUTSIDE}/{path.relative_to(folder)} is not what its name says (SHA-256 differs)"
                for path in sorted(blobs)
                if path.is_symlink()
                or not path.is_file()
                or returned.hash_of(path) != path.name.removeprefix("sha256-")
            )
        )


#: In the order in which they are reported.
PROVIDERS = (DatabaseProvider(), VectorsProvider(), OllamaProvider(), UploadsProvider())
