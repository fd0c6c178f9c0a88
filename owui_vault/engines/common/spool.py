"""Rows of a listing, in an unnamed file until they are asked for.

They need not all be in memory, and no program waits, with its lock on the repository, for a caller that never asks for
the rest. Any error shows before the first row is returned.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from owui_vault.system.unwinding import undoing

Row = tuple[object, ...]
Result = TypeVar("Result")


class Spool:
    """Rows of texts and numbers, written once and read from the beginning as often as it takes."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        # whoever never asks for the rows leaves no open file either, not even held by the traceback of an error
        weakref.finalize(self, file.close)

    def write(self, *row: object) -> None:
        """Add a row. Raises OSError."""
        self._file.write(json.dumps(row) + "\n")

    def rows(self) -> Iterator[Row]:
        """All of them."""
        self._file.seek(0)
        for line in self._file:
            yield tuple(json.loads(line))

    def hand_out(self, read: Callable[[Row], Result]) -> Iterator[Result]:
        """All of them as what `read` makes of them, for the last time."""
        with self._file:
            for row in self.rows():
                yield read(row)


@contextmanager
def spooling(folder: Path) -> Iterator[Spool]:
    """A spool to be filled in the block; it is gone where that fails, and after `hand_out`."""
    file = tempfile.TemporaryFile(  # noqa: SIM115  # the spool closes it
        "w+", dir=folder, encoding="utf-8", errors="surrogateescape"
    )
    with undoing(file.close):
        yield Spool(file)
        file.flush()
