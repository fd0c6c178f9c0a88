"""The pickle of an index: plain values, read so that nothing in it can do anything."""

from __future__ import annotations

import io
import pickle
from typing import NoReturn


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
    """Unpickle values only. Raises ValueError with the reason for anything incomplete, damaged or hostile."""
    stream = io.BytesIO(data)
    try:
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


def read_labels(data: bytes) -> tuple[dict[str, int], object]:
    """The ids of the vectors with their element numbers, and how many were ever added. Raises ValueError."""
    values = load_plain(data)
    labels = values.get("id_to_label")
    if not isinstance(labels, dict) or not all(isinstance(each, str) for each in labels):
        raise ValueError("is not what Chroma writes")
    return labels, values.get("total_elements_added")
