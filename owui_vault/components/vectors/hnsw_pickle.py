"""The pickle of an index: plain values, read so that nothing in it can execute."""

from __future__ import annotations

import io
import pickle
import pickletools
import resource
from typing import NoReturn

#: Up to here (some 19,000 vectors) it is read by whoever asks: each operation is looked at before one is carried out,
#: which takes some 50 ms. A larger one, too much for a guest in a program, has a process of its own.
SMALL_BYTES = 1 << 20
_BASE_MEMORY_BYTES = 1 << 30  # the interpreter's own address space, and SQLite's
_MEMORY_PER_BYTE = 40


class _Refused(pickle.UnpicklingError):
    """The file wants more than plain values."""


class _Bystander:
    """Takes the place of chromadb 0.x's own record class: holds the values, does nothing."""

    def __setstate__(self, state: object) -> None:
        values = state[1] if isinstance(state, tuple) and len(state) == 2 else state
        self.values = values if isinstance(values, dict) else {}


class _PlainUnpickler(pickle.Unpickler):
    """Loads dicts, lists, strings and numbers. No class of any module is ever looked up."""

    def find_class(self, module: str, name: str, /) -> type[_Bystander]:
        # chromadb before 1.0 wrote an object of this one class; it is never imported, ours stands in.
        if (module, name) == ("chromadb.segment.impl.vector.local_persistent_hnsw", "PersistentData"):
            return _Bystander
        raise _Refused(f"it asks for {module}.{name}")

    def persistent_load(self, _pid: object, /) -> NoReturn:
        raise _Refused("it refers to something outside itself")


def load_plain(data: bytes) -> dict[object, object]:
    """Unpickle values only. Raises ValueError with the reason for anything incomplete, damaged or hostile.

    For files that are not small: `limit_memory` first, in a process of its own.
    """
    stream = io.BytesIO(data)
    try:
        if len(data) <= SMALL_BYTES:
            _check_places(data)
        value = _PlainUnpickler(stream).load()
    except _Refused as error:
        raise ValueError(f"holds more than plain values: {error}") from error
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise ValueError("is cut short or damaged") from error
    if isinstance(value, _Bystander):
        value = getattr(value, "values", None)
    if not isinstance(value, dict):
        raise ValueError("is not what Chroma writes")
    return value


def _check_places(data: bytes) -> None:
    """Raise ValueError where a value is to be remembered at a place that a file of this length cannot come to.

    The unpickler of CPython fills its list of places with zeros up to there: one flipped bit, and it wants gigabytes.
    """
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(data):
            raise ValueError(f"place {argument} in {len(data)} bytes")


def limit_memory(size_bytes: int) -> None:
    """For this process: what reading a file of this length honestly takes, and no more. MemoryError is its end."""
    most = _BASE_MEMORY_BYTES + _MEMORY_PER_BYTE * size_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def read_labels(data: bytes) -> tuple[dict[str, int], object]:
    """The ids of the vectors with their element numbers, and how many were ever added. Raises ValueError."""
    values = load_plain(data)
    labels = values.get("id_to_label")
    if not isinstance(labels, dict) or not all(isinstance(each, str) for each in labels):
        raise ValueError("is not what Chroma writes")
    return labels, values.get("total_elements_added")
