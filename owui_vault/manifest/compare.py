"""Compares a restored data directory with the manifest of its snapshot."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from owui_vault.components.database.facts import file_rows
from owui_vault.components.names import DATABASE, OLLAMA, OUTSIDE, UPLOADS, VECTOR_DATABASE
from owui_vault.components.restored_tree import tree_problem
from owui_vault.components.sqlite_files import open_at_rest
from owui_vault.components.uploads import HashOf, UploadFindings, check_uploads, names, printable, sha256_of
from owui_vault.components.vectors.chroma import read_store
from owui_vault.instance.layout import OUTSIDE_COMPONENTS, component_of, component_outside
from owui_vault.manifest.inventory import FileList, from_entries, from_tree
from owui_vault.model import NEVER, Component, ComponentRecord, DatabaseRecord, Entry, FileRecord, Manifest
from owui_vault.system.patterns import left_out_of

_Difference: TypeAlias = tuple[ComponentRecord, ComponentRecord]  # of a list: in the manifest, and here
_HASHES_AT_ONCE = 2  # the two large ones are the databases; hashing lets other threads run


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs.

    `problems` differ from the manifest. `changed` uploads are on the list with the right size, but their SHA-256 is
    not the one the application recorded when it received them: the engine guards its data, so they were so before.
    `doubtful` is what could not be compared. `identical` are the files whose SHA-256 is the manifest's.
    """

    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    identical: tuple[str, ...] = ()


def compare_with_manifest(
    data_dir: Path,
    manifest: Manifest,
    *,
    components: Collection[Component] | None = None,
    listing: Iterable[Entry] | None = None,
    cancel: threading.Event = NEVER,
) -> Comparison:
    """Hold `data_dir` against a manifest. Reads only; the directory must be at rest, before any path is rewritten.

    `components` are those that were fetched (all of the manifest's by default). With `listing`, all paths of the
    snapshot as the engine tells them, the lists of all components are compared. `cancel` ends it with CancelledError.
    """
    hash_of = partial(sha256_of, cancel=cancel)
    fetched = {record.name for record in manifest.components} if components is None else set(components)
    if problem := tree_problem(data_dir) or _unrecorded(data_dir, manifest, fetched):
        return Comparison(problems=(problem,))  # whatever else is looked at may be somebody else's
    outside: dict[str, int] = {}
    seen = from_tree(data_dir) if listing is None else from_entries(_noting(listing, outside))
    with FileList(seen) as files:
        listed = {record.name for record in manifest.components} if listing is not None else fetched
        if listing is None:
            outside = _outside_tree(data_dir.parent / OUTSIDE)
        content = [*_contents(data_dir, manifest, fetched, hash_of)]
        lists, veiled = _told_apart(files, _lists(files, manifest, listed), is_told=listing is not None)
        vectors = _vectors(data_dir, manifest) if content and Component.VECTORS in fetched else ()
        of_uploads = hash_of if Component.UPLOADS in fetched else None
        uploads = _uploads(data_dir, manifest, files, of_uploads) if Component.UPLOADS in listed else UploadFindings()
    told = {component_of(path) for path, _text in content}
    return Comparison(
        problems=(
            *(text for _path, text in content),
            *vectors,
            *(_list_text(record, here) for record, here in lists if record.name not in told),
            *_outside_problems(outside, manifest, listed),
            *(_blob_problems(data_dir.parent / OUTSIDE / OLLAMA, hash_of) if Component.OLLAMA in fetched else ()),
            *(_upload_problems(uploads) if Component.UPLOADS in {record.name for record, _here in lists} else ()),
        ),
        changed=_changed(uploads),
        doubtful=tuple(_veiled_text(record) for record in veiled),
        identical=tuple(each.path for each in _hashed(manifest, fetched) if each.path not in dict(content)),
    )


def _unrecorded(data_dir: Path, manifest: Manifest, fetched: set[Component]) -> str:
    """A database of which the manifest says nothing would be believed without having been compared."""
    recorded = {record.path for record in manifest.databases}
    for name in (DATABASE, VECTOR_DATABASE):
        if component_of(name) in fetched and name not in recorded and (data_dir / name).is_file():
            return f"{name} was restored, but the manifest does not say what it should hold"
    return ""


def _contents(
    data_dir: Path, manifest: Manifest, fetched: set[Component], hash_of: HashOf
) -> Iterator[tuple[str, str]]:
    """What differs in the files that the manifest has hashes of, with their names."""
    records = _hashed(manifest, fetched)
    with ThreadPoolExecutor(max_workers=_HASHES_AT_ONCE, thread_name_prefix="hash") as pool:
        problems = pool.map(lambda each: _content_problem(data_dir / each.path, each, hash_of), records)
        for record, problem in zip(records, problems, strict=True):
            if problem:
                yield record.path, problem


def _hashed(manifest: Manifest, fetched: set[Component]) -> tuple[DatabaseRecord | FileRecord, ...]:
    databases = (each for each in manifest.databases if component_of(each.path) in fetched)
    return (*databases, *(manifest.vector_files if Component.VECTORS in fetched else ()))


def _content_problem(path: Path, record: DatabaseRecord | FileRecord, hash_of: HashOf) -> str:
    name = printable(record.path)
    if record.path.startswith("/") or ".." in record.path.split("/"):
        return f"{name} is not in the data directory"
    try:
        status = path.lstat()
    except OSError:
        return f"{name} is missing"
    if not stat.S_ISREG(status.st_mode):
        return f"{name} is not a file"
    if status.st_size != record.size_bytes:
        flaw = "cut short" if status.st_size < record.size_bytes else "too long"
        return f"{name} is {flaw}: {status.st_size:,} of {record.size_bytes:,} bytes"
    if hash_of(path) != record.sha256:
        return f"{name} is not what was stored: same size, other content (SHA-256 differs)"
    return ""


def _vectors(data_dir: Path, manifest: Manifest) -> tuple[str, ...]:
    """What a difference in the vector store means for searches; asked only when some file of it differs."""
    try:
        store = read_store(data_dir, left_out_of(manifest))
    except sqlite3.Error as error:
        return (f"{VECTOR_DATABASE} cannot be read: {error}",)
    recorded = {record.id: record.vectors for record in manifest.collections}
    found = {record.id: record.vectors for record in store.collections}
    gone = [record.name for record in manifest.collections if record.id not in found]
    flaws = [printable(flaw) for flaw in store.flaws]
    if gone:
        flaws.append(f"collections of the manifest that are missing: {names(gone)}")
    for record in store.collections:
        expected = recorded.get(record.id, record.vectors)
        if record.vectors != expected:
            flaws.append(f"collection {printable(record.name)}: {record.vectors:,} instead of {expected:,} vectors")
    return tuple(flaws)


def _lists(files: FileList, manifest: Manifest, listed: set[Component]) -> Iterator[_Difference]:
    """What the manifest says and what is there, for each list that differs."""
    found = {record.name: record for record in files.records()}
    for record in manifest.components:
        if record.name not in listed or record.name in OUTSIDE_COMPONENTS:
            continue
        here = found.get(record.name) or replace(record, files=0, size_bytes=0, digest="")
        if here.digest != record.digest and record.files:
            yield record, here


def _told_apart(
    files: FileList, lists: Iterable[_Difference], *, is_told: bool
) -> tuple[list[_Difference], list[ComponentRecord]]:
    """What differs, and what may only be told differently: as many files and bytes, and a `?` in one of the names."""
    differ, veiled = [], []
    for record, here in lists:
        same = (record.files, record.size_bytes) == (here.files, here.size_bytes)
        if is_told and same and files.has_veiled(record.name):
            veiled.append(record)
        else:
            differ.append((record, here))
    return differ, veiled


def _veiled_text(record: ComponentRecord) -> str:
    return (
        f"{record.name.value}: number and size of the files are right, but names that are not UTF-8 cannot be compared"
        " by list; `verify --read-data` fetches and compares them"
    )


def _list_text(record: ComponentRecord, here: ComponentRecord) -> str:
    if (record.files, record.size_bytes) == (here.files, here.size_bytes):
        return f"{record.name.value}: other names or sizes than the manifest lists ({record.files:,} files)"
    return (
        f"{record.name.value}: {here.files:,} files with {here.size_bytes:,} bytes instead of "
        f"{record.files:,} with {record.size_bytes:,}"
    )


def _noting(listing: Iterable[Entry], outside: dict[str, int]) -> Iterator[Entry]:
    """The same entries; the files beside `data/` are noted on the way."""
    for entry in listing:
        if entry.kind == "file" and entry.path.startswith(f"{OUTSIDE}/"):
            outside[entry.path.removeprefix(f"{OUTSIDE}/")] = entry.size_bytes
        yield entry


def _outside_tree(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.stat().st_size for path in found}


def _outside_problems(found: Mapping[str, int], manifest: Manifest, listed: set[Component]) -> Iterator[str]:
    """What is outside the data directory: count and bytes; the digest guards names only, and few are there."""
    for record in manifest.components:
        if record.name not in OUTSIDE_COMPONENTS or record.name not in listed:
            continue
        sizes = [size for name, size in found.items() if component_outside(name) is record.name]
        if (len(sizes), sum(sizes)) != (record.files, record.size_bytes):
            here = replace(record, files=len(sizes), size_bytes=sum(sizes))
            yield f"{OUTSIDE}/: {_list_text(record, here)}"


def _blob_problems(folder: Path, hash_of: HashOf) -> Iterator[str]:
    """Ollama's blobs are called by their SHA-256."""
    for path in sorted(folder.glob("models/blobs/sha256-*")):
        if path.is_symlink() or not path.is_file() or hash_of(path) != path.name.removeprefix("sha256-"):
            yield f"{OUTSIDE}/{path.relative_to(folder.parent)} is not what its name says (SHA-256 differs)"


def _uploads(data_dir: Path, manifest: Manifest, files: FileList, hash_of: HashOf | None) -> UploadFindings:
    """Rows against uploads; nothing where the database cannot be asked, which is told elsewhere."""
    if not (data_dir / DATABASE).is_file():
        return UploadFindings()
    try:
        with open_at_rest(data_dir / DATABASE) as connection:
            return check_uploads(
                file_rows(connection),
                data_dir / UPLOADS,
                size_of=lambda name: files.size_of(f"{UPLOADS}/{name}"),
                hash_of=hash_of,
                is_left_out=left_out_of(manifest),
            )
    except sqlite3.DatabaseError:
        return UploadFindings()


def _upload_problems(found: UploadFindings) -> Iterator[str]:
    if found.missing:
        yield f"{len(found.missing):,} uploads in the database are missing: {names(found.missing)}"
    if found.wrong_size:
        yield f"{len(found.wrong_size):,} uploads differ in size from what the database says: {names(found.wrong_size)}"


def _changed(found: UploadFindings) -> tuple[str, ...]:
    if not found.wrong_hash:
        return ()
    text = (
        f"{len(found.wrong_hash):,} uploads are not what the application received (SHA-256), and were so when they were"
        f" stored: {names(found.wrong_hash)}"
    )
    return (text,)
