"""Compares a restored data directory with the manifest of its snapshot."""

from __future__ import annotations

import stat
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from owui_vault.components.names import OUTSIDE
from owui_vault.components.providers import PROVIDERS, Returned
from owui_vault.components.restored_tree import tree_problem
from owui_vault.components.uploads import HashOf, printable, sha256_of
from owui_vault.instance.layout import OUTSIDE_COMPONENTS, component_of, component_outside
from owui_vault.manifest.inventory import FileList, from_entries, from_tree
from owui_vault.model import NEVER, Component, ComponentRecord, DatabaseRecord, Entry, FileRecord, Manifest

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
        returned = Returned(
            data_dir=data_dir,
            manifest=manifest,
            fetched=fetched,
            differing={record.name for record, _here in lists},
            is_content_other=bool(content),
            size_of=files.size_of,
            hash_of=hash_of,
        )
        checks = [provider.check(returned) for provider in PROVIDERS if provider.name in listed]
    told = {component_of(path) for path, _text in content}
    return Comparison(
        problems=(
            *(text for _path, text in content),
            *(_list_text(record, here) for record, here in lists if record.name not in told),
            *_outside_problems(outside, manifest, listed),
            *(text for each in checks for text in each.problems),
        ),
        changed=tuple(text for each in checks for text in each.changed),
        doubtful=tuple(_veiled_text(record) for record in veiled),
        identical=tuple(each.path for each in _hashed(manifest, fetched) if each.path not in dict(content)),
    )


def _unrecorded(data_dir: Path, manifest: Manifest, fetched: set[Component]) -> str:
    """A database of which the manifest says nothing would be believed without having been compared."""
    recorded = {record.path for record in manifest.databases}
    for name in (name for each in PROVIDERS if each.name in fetched for name in each.databases):
        if name not in recorded and (data_dir / name).is_file():
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
    return tuple(record for each in PROVIDERS if each.name in fetched for record in each.hashed(manifest))


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
