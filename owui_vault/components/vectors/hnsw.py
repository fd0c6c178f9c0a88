"""The HNSW index of one Chroma collection on disk: whether its files belong together, and what it holds.

The formats were learned from files written by chromadb 1.3.7 and 1.5.9:

- `header.bin`, 100 bytes: version, sizes, element count, dimension by way of offsets, graph parameters;
- `data_level0.bin`: `count` records of `record_bytes`; a fresh index is allocated at its first capacity, empty;
- `length.bin`: one float32 (the vector's norm) per element, `link_lists.bin`: per element a length and that many bytes;
- `index_metadata.pickle`: dicts, strings and numbers; written first when 1000 vectors have been indexed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.vectors.hnsw_main import stored_labels
from owui_vault.components.vectors.hnsw_pickle import SMALL_BYTES, read_labels

PICKLE = "index_metadata.pickle"
BINARIES = ("header.bin", "data_level0.bin", "length.bin", "link_lists.bin")
_HEADER = struct.Struct("<i6QiI3QdQ")
_FIRST_CAPACITY = 1000  # of older versions; newer ones begin with 100
_LABEL_BYTES = 8
_PICKLE_LIMIT = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What a directory of HNSW files says about itself. `flaws` is empty when its files belong together."""

    flaws: tuple[str, ...]
    elements: int = 0
    dimension: int | None = None
    labels: Container[str] = ()  # the ids of its vectors, empty without a pickle


def read_index(folder: Path) -> Index:
    """Read one index and say what is wrong with it, in words that follow the name of its collection."""
    try:
        return _read(folder)
    except OSError as error:
        return Index(flaws=(f"its index cannot be read ({error.strerror})",))


def _read(folder: Path) -> Index:
    present = {name for name in (*BINARIES, PICKLE) if (folder / name).is_file()}
    missing = [name for name in BINARIES if name not in present]
    if missing:
        return Index(flaws=(f"its index lacks {', '.join(missing)}",))
    header = _read_header(folder / "header.bin")
    if header is None:
        return Index(flaws=("header.bin of its index is damaged or of an unknown format",))
    flaws = list(_size_flaws(folder, header))
    if not header.elements and PICKLE not in present:
        return Index(flaws=tuple(flaws), dimension=header.dimension)
    if PICKLE not in present:
        flaws.append(f"{PICKLE} of its index is missing")
        return Index(flaws=tuple(flaws), elements=header.elements, dimension=header.dimension)
    labels, found = _read_pickle(folder / PICKLE, header.elements)
    return Index(flaws=(*flaws, *found), elements=header.elements, dimension=header.dimension, labels=labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    elements: int
    record_bytes: int
    dimension: int
    list_bytes: int  # of one element's links on one upper level


def _read_header(path: Path) -> _Header | None:
    data = path.read_bytes()
    if len(data) != _HEADER.size:
        return None
    version, level0, capacity, elements, record, label_at, data_at, _top, _entry, links, *_rest = _HEADER.unpack(data)
    plausible = (
        version == 1
        and level0 == 0
        and elements <= capacity
        and data_at < label_at < record
        and record == label_at + _LABEL_BYTES
        and (label_at - data_at) % 4 == 0
    )
    if not plausible:
        return None
    return _Header(
        elements=elements,
        record_bytes=record,
        dimension=(label_at - data_at) // 4,
        list_bytes=links * 4 + 4,
    )


def _size_flaws(folder: Path, header: _Header) -> Iterator[str]:
    size = (folder / "data_level0.bin").stat().st_size
    records, rest = divmod(size, header.record_bytes)
    if records < header.elements:
        yield f"data_level0.bin of its index is cut short: {records:,} of {header.elements:,} vectors are there"
    elif rest or records > max(header.elements, _FIRST_CAPACITY):
        yield "data_level0.bin and header.bin of its index are from different moments"
    if (folder / "length.bin").stat().st_size < header.elements * 4:
        yield "length.bin of its index is cut short"
    if not _links_complete(folder / "link_lists.bin", header):
        yield "link_lists.bin of its index is cut short or from another moment"


def _links_complete(path: Path, header: _Header) -> bool:
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for _ in range(header.elements):
            head = file.read(4)
            length = int.from_bytes(head, "little")
            at += 4 + length
            if len(head) < 4 or length % header.list_bytes or at > size:
                return False
            file.seek(length, os.SEEK_CUR)
    return True


def _read_pickle(path: Path, elements: int) -> tuple[Container[str], tuple[str, ...]]:
    size = path.stat().st_size
    if size > _PICKLE_LIMIT:
        return (), (f"{PICKLE} of its index is too large to be read",)
    labels: Container[str]
    try:
        labels, total = read_labels(path.read_bytes()) if size <= SMALL_BYTES else stored_labels(path)
    except ValueError as error:
        return (), (f"{PICKLE} of its index {error}",)
    if total != elements:
        return labels, (
            f"{PICKLE} and header.bin of its index are from different moments ({total} and {elements} vectors)",
        )
    return labels, ()
