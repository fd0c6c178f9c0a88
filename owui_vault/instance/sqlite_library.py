"""Which SQLite an application has loaded, as the file that it has mapped says.

It is the application's SQLite that writes the databases, not ours. Only its version is known: a distribution may have
fixed a bug without changing it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from owui_vault.instance.processes import as_seen_by
from owui_vault.model import SqliteLibrary

_PROC = Path("/proc")
_LARGEST_BYTES = 256 << 20
_BLOCK_BYTES = 1 << 20
_OVERLAP_BYTES = 128
_MAPPED = re.compile(
    rb"^(?P<range>[0-9a-f]+-[0-9a-f]+) \S+ \S+ \S+ (?P<inode>[1-9]\d*) +(?P<path>/.*?)(?: \(deleted\))?$", re.MULTILINE
)
# Python's own module (with a library of its own in some builds), the wheels' copies, and Chroma's, which is in Rust.
_LIKELY = re.compile(r"libsqlite3\b.*\.so.*|_sqlite3\b.*\.so|libsqlcipher\b.*\.so.*|chromadb_rust_bindings\b.*\.so")
# Where Python itself is one file, or nearly so, SQLite is in there.
_PERHAPS = re.compile(r"libpython3.*\.so.*|python3(\.\d+)?")
# SQLite's name for its own source, and its number: older ones than 3.20 look like the numbers of Pythons.
_SOURCE = re.compile(rb"20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9] [0-9a-f]{40}")
_VERSION = re.compile(rb"3\.[2-9][0-9]\.[0-9]{1,2}\0")
_NUMBER = frozenset(b"0123456789.")

_MENDED = (3, 51, 3)
_MENDED_TOO = {"3.50": 7, "3.44": 6}
_FIRST = (3, 7, 0)


def loaded_libraries(pids: Iterable[int]) -> tuple[SqliteLibrary, ...]:
    """Each SQLite that one of these processes has mapped, once; nothing where that cannot be told."""
    found: dict[SqliteLibrary, None] = {}
    for pid in pids:
        mapped = list(_mapped(pid))
        likely = [each for each in mapped if _LIKELY.fullmatch(each[0].rpartition("/")[2])]
        perhaps = [each for each in mapped if _PERHAPS.fullmatch(each[0].rpartition("/")[2])]
        libraries = list(_told(pid, likely)) or list(_told(pid, perhaps))
        found.update(dict.fromkeys(libraries))
    return tuple(found)


def _mapped(pid: int) -> Iterator[tuple[str, int, str]]:
    """Path, inode and range of each mapped file, once."""
    try:
        text = (_PROC / str(pid) / "maps").read_bytes()
    except OSError:
        return
    seen = set()
    for match in _MAPPED.finditer(text):
        path = os.fsdecode(match["path"])
        if path not in seen:
            seen.add(path)
            yield path, int(match["inode"]), match["range"].decode()


def _told(pid: int, mapped: Iterable[tuple[str, int, str]]) -> Iterator[SqliteLibrary]:
    for path, inode, span in mapped:
        version = _version_in(_PROC / str(pid) / "map_files" / span, inode, follow=True)  # also of one replaced since
        version = version or _version_in(as_seen_by(pid, path), inode, follow=False)
        if version:
            yield SqliteLibrary(path=path, version=version)


def _version_in(path: Path, inode: int, *, follow: bool) -> str:
    """The version of the SQLite in a file, if it is the very file that is mapped; empty where there is none."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return ""
    try:
        status = os.fstat(descriptor)
        fits = stat.S_ISREG(status.st_mode) and status.st_ino == inode and 0 < status.st_size <= _LARGEST_BYTES
        if not fits:
            return ""
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return version_in(file)
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def version_in(library: BinaryIO | FileIO) -> str:
    """The version of the SQLite in a library; empty where there is none. Read, not mapped: it may be cut meanwhile."""
    rest, is_sqlite, version = b"", False, ""
    while block := library.read(_BLOCK_BYTES):
        text = rest + block
        is_sqlite = is_sqlite or _SOURCE.search(text) is not None
        version = version or _number_in(text, is_beginning=not rest)
        if is_sqlite and version:
            return version
        rest = text[-_OVERLAP_BYTES:]
    return ""


def _number_in(text: bytes, *, is_beginning: bool) -> str:
    for match in _VERSION.finditer(text):
        start = match.start()
        if text[start - 1] not in _NUMBER if start else is_beginning:
            return match[0][:-1].decode()
    return ""


def has_wal_reset_bug(version: str) -> bool:
    """Whether a SQLite of this number may lose committed pages when two connections write and checkpoint at once."""
    try:
        numbers = tuple(int(part) for part in version.split("."))
    except ValueError:
        return False
    mended_here = _MENDED_TOO.get(version.rpartition(".")[0])
    if mended_here is not None and numbers[2:3] >= (mended_here,):
        return False
    return _FIRST <= numbers < _MENDED


def notes_on(libraries: Iterable[SqliteLibrary]) -> tuple[str, ...]:
    """What is worth knowing of them, and no alarm."""
    known = list(dict.fromkeys(each.version for each in libraries if has_wal_reset_bug(each.version)))
    if not known:
        return ()
    return (
        f"SQLite {', '.join(known)}, which Open WebUI has loaded, may by its version have a bug of 3.7.0 to 3.51.2"
        " (fixed in 3.51.3, 3.50.7 and 3.44.6; a distribution may have fixed it under the same version):"
        " connections that write and checkpoint at the same moment can damage an index. It is rare, and SQLite's full"
        " check, run with every snapshot and in `verify`, finds the damage (docs/troubleshooting.md)",
    )
