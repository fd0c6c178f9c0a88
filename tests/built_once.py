"""Files that are built once, and put back as they were for each test that asks: `cp` is fifty times as fast.

At one place: an instance's database has its path in its rows, and the state directory names what it is about.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Built = TypeVar("Built")


class BuiltOnce(Generic[Built]):
    """What `build` makes of a folder that is not there yet."""

    def __init__(self, workshop: Path, build: Callable[[Path], Built]) -> None:
        self.place = workshop / "place"
        self._kept = workshop / "as-built"
        self._build = build
        self._built: list[Built] = []

    def put_back(self) -> Built:
        """What `build` answered. At `place` are its files again; what the last test did to them is gone."""
        if self._built:
            shutil.rmtree(self.place)
            self._copy(self._kept, self.place)
        else:
            self._built.append(self._build(self.place))
            self._copy(self.place, self._kept)
        return self._built[0]

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        subprocess.run(["cp", "-a", source, target], check=True)
