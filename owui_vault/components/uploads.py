"""Compares the rows of `file` with the uploads on disk."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.components.database.facts import FileRow
from owui_vault.components.names import UPLOADS
from owui_vault.errors import CancelledError
from owui_vault.model import NEVER
from owui_vault.system.patterns import IsLeftOut, nothing

HashOf = Callable[[Path], str]

_BLOCK_BYTES = 1 << 20
_MOST_NAMES = 5  # in a sentence


@dataclass(slots=True, kw_only=True)
class UploadFindings:
    """Names of uploads by what is wrong with them."""

    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # on purpose
    wrong_size: list[str] = field(default_factory=list)
    wrong_hash: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)  # rows whose path names nothing below uploads/


def check_uploads(
    rows: Iterable[FileRow],
    uploads: Path,
    *,
    size_of: Callable[[str], int | None] | None = None,
    hash_of: HashOf | None = None,
    is_left_out: IsLeftOut = nothing,
) -> UploadFindings:
    """Hold each row against the directory, or against `size_of` (name to size, None for a missing one). Reads only.

    `hash_of` is asked about each upload whose SHA-256 the application recorded; without it none is read.
    """
    look = size_of or (lambda name: _size(uploads / name))
    found = UploadFindings()
    for row in rows:
        if row.is_remote:
            continue
        if not row.upload:
            found.outside.append(row.path)
            continue
        size = look(row.upload)
        if size is None:
            (found.left_out if is_left_out(f"{UPLOADS}/{row.upload}") else found.missing).append(row.upload)
        elif row.size_bytes is not None and row.size_bytes != size:
            found.wrong_size.append(row.upload)
        elif hash_of and row.sha256 and hash_of(uploads / row.upload) != row.sha256:
            found.wrong_hash.append(row.upload)
    return found


def _size(path: Path) -> int | None:
    """A file's size; a link is followed, since an upload may be one. None: there is no file."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def sha256_of(path: Path, cancel: threading.Event = NEVER) -> str:
    """SHA-256 of a file; empty where it cannot be read, which equals no hash. Raises CancelledError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                if cancel.is_set():
                    raise CancelledError("stopped while comparing with the manifest")
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def names(found: Iterable[str]) -> str:
    """Some names for a sentence, safe to print, however many and however strange they are."""
    listed = list(found)
    shown = ", ".join(printable(each) for each in listed[:_MOST_NAMES])
    more = len(listed) - _MOST_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


def printable(name: str) -> str:
    """A name on one line: control characters and undecodable bytes escaped."""
    if name.isprintable():
        return name
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in name
    )
