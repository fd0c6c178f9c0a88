"""The health of a captured or restored data directory: do its parts belong together?"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from owui_vault.components.database.facts import facts_of, file_rows
from owui_vault.components.names import DATABASE, UPLOADS, VECTOR_DATABASE
from owui_vault.components.sqlite_files import column_names, open_at_rest, read_header
from owui_vault.components.uploads import UploadFindings, check_uploads, names, printable
from owui_vault.components.vectors.chroma import VectorStore, read_store
from owui_vault.model import CollectionRecord, Findings
from owui_vault.system.patterns import IsLeftOut, nothing

_ENCRYPTED = (
    f"{DATABASE} is encrypted (SQLCipher), which Open WebUI could use up to 0.8: it is stored as it is, and its"
    " content is not checked. Its key is DATABASE_PASSWORD; without it the database cannot be opened"
)


def examine(
    data_dir: Path,
    *,
    is_left_out: IsLeftOut = nothing,
    vectors_elsewhere: bool = False,
    encrypted: bool = False,
) -> Findings:
    """Look at a data directory at rest, journals rolled back. Nothing is written, nothing live may be given.

    The tree is taken as the truth: a row of `file` without its upload was without it at the source. No upload is read.
    What `is_left_out` is not there on purpose: that is a warning. With `vectors_elsewhere` a vector store that is not
    there is none. An `encrypted` database is not looked into.
    """
    vectors, store = _examine_vectors(data_dir, is_left_out, vectors_elsewhere)
    if encrypted and not read_header(data_dir / DATABASE).is_sqlite:
        rows = Findings(warnings=(_ENCRYPTED,), collections=store.collections)
    else:
        rows = _examine_rows(data_dir, is_left_out, store.collections)
    return Findings(
        broken=(*rows.broken, *vectors.broken),
        problems=rows.problems,
        warnings=(*rows.warnings, *vectors.warnings),
        collections=rows.collections,
    )


def _examine_vectors(data_dir: Path, is_left_out: IsLeftOut, elsewhere: bool) -> tuple[Findings, VectorStore]:
    if not (data_dir / VECTOR_DATABASE).is_file():
        if elsewhere:
            return Findings(), VectorStore()
        why = (
            "the vector store was left out, as configured"
            if is_left_out(VECTOR_DATABASE)
            else "there is no vector store"
        )
        text = f"{why} ({VECTOR_DATABASE}): knowledge bases find nothing until they are reindexed"
        return Findings(warnings=(text,)), VectorStore()
    try:
        store = read_store(data_dir, is_left_out)
    except sqlite3.DatabaseError as error:
        return Findings(broken=(f"{VECTOR_DATABASE} cannot be read: {error}",)), VectorStore()
    without: tuple[str, ...] = ()
    if store.without_index:
        told = f"the vector index of {names(store.without_index)} was left out, as configured"
        without = (f"{told}: searches find nothing there until it is reindexed",)
    return Findings(broken=tuple(printable(flaw) for flaw in store.flaws), warnings=without), store


def _examine_rows(data_dir: Path, is_left_out: IsLeftOut, collections: tuple[CollectionRecord, ...]) -> Findings:
    try:
        with open_at_rest(data_dir / DATABASE) as connection:
            facts = facts_of(connection)
            found = check_uploads(file_rows(connection), data_dir / UPLOADS, is_left_out=is_left_out)
            empty = _empty_knowledge(connection, collections)
            collections = _with_knowledge(connection, collections)
    except sqlite3.DatabaseError as error:
        return Findings(broken=(f"{DATABASE} cannot be read: {error}",), collections=collections)
    findings = upload_findings(found)
    warnings = list(findings.warnings)
    if facts.other_data_dirs:
        warnings.append(
            f"most uploads are recorded below {printable(facts.app_data_dir)}, "
            f"some below {names(facts.other_data_dirs)}: those can be downloaded only while that directory exists"
        )
    if empty:
        warnings.append(f"knowledge bases with files but without vectors, where searches find nothing: {names(empty)}")
    if facts.remote_files:
        warnings.append(
            f"{facts.remote_files:,} uploads are in a bucket (STORAGE_PROVIDER): only their names are in the snapshot"
        )
    return replace(findings, warnings=tuple(warnings), collections=collections)


def _with_knowledge(
    connection: sqlite3.Connection, collections: tuple[CollectionRecord, ...]
) -> tuple[CollectionRecord, ...]:
    """Each with the name of its knowledge base: the collection has that one's id for a name."""
    if not collections or not {"id", "name"} <= set(column_names(connection, "knowledge")):
        return collections
    named = {str(id_): printable(str(name)) for id_, name in connection.execute("SELECT id, name FROM knowledge")}
    return tuple(replace(each, knowledge=named.get(each.name, "")) for each in collections)


def _empty_knowledge(connection: sqlite3.Connection, collections: tuple[CollectionRecord, ...]) -> list[str]:
    """Names of knowledge bases that should have vectors. The application writes them before the rows asked here."""
    if not collections or not column_names(connection, "knowledge_file"):
        return []  # vectors are elsewhere, or the schema is an old one
    filled = {record.name for record in collections if record.vectors}
    rows = connection.execute(
        "SELECT DISTINCT k.id, k.name FROM knowledge AS k JOIN knowledge_file AS kf ON kf.knowledge_id = k.id"
        " JOIN file AS f ON f.id = kf.file_id ORDER BY k.name"
    )
    return [str(name) for id_, name in rows if id_ not in filled]


def upload_findings(found: UploadFindings) -> Findings:
    """The same in words."""
    problems, warnings = [], []
    if found.wrong_size:
        problems.append(f"{_count(found.wrong_size)} not of the recorded size: {names(found.wrong_size)}")
    if found.missing:
        warnings.append(f"{_count(found.missing)} missing at the source: {names(found.missing)}")
    if found.left_out:
        warnings.append(f"{_count(found.left_out)} left out, as configured: {names(found.left_out)}")
    if found.outside:
        warnings.append(
            f"{len(found.outside):,} rows of `file` point to something outside uploads/: {names(found.outside)}"
        )
    return Findings(problems=tuple(problems), warnings=tuple(warnings))


def _count(found: list[str]) -> str:
    return f"{len(found):,} uploads are" if len(found) != 1 else "1 upload is"
