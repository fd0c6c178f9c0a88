"""What the child is asked to capture: the plan as plain values, and the real location of each name in it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from owui_vault.system.patterns import Selection
from owui_vault.system.sqlite_format import SIDE_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A `CapturePlan` as it travels to the child. Paths are text in which undecodable bytes are surrogates."""

    data_dir: str
    work_dir: str  # may be a path that leads to it by a descriptor of our parent's
    databases: tuple[str, ...]
    write_once: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    exclude: tuple[str, ...]
    include: tuple[str, ...]
    reserve_bytes: int
    wal_growth_bytes: int
    processes: tuple[int, ...] = ()  # the instance's own, as far as they are known
    rewritten: frozenset[str] = frozenset()  # files, or their folders, known to be changed in place
    known_uploads: tuple[tuple[str, int], ...] = ()  # files with what repositories hold, and their newest number
    mounted: tuple[str, ...] = ()  # those of `links` that are no symlinks in the data directory
    _selection: Selection = field(init=False, compare=False, repr=False)
    home: str = field(init=False, compare=False)  # what the work directory is called by everybody else

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", os.path.realpath(self.work_dir))
        object.__setattr__(self, "_selection", Selection(self.exclude, self.include))

    @property
    def selection(self) -> Selection:
        """What belongs to the snapshot."""
        return self._selection

    @property
    def tree(self) -> str:
        """Where the copy of the data directory grows."""
        return f"{self.work_dir}/stage/data"

    @property
    def desk(self) -> str:
        """Where the capture keeps what does not belong to the stage."""
        return f"{self.work_dir}/capture"

    def locate(self, name: str) -> str:
        """The real path of a name of the plan: components that are symlinks are followed."""
        for link, real in self.links:
            if name == link:
                return real
            if name.startswith(f"{link}/"):
                return real + name[len(link) :]
        return f"{self.data_dir}/{name}" if name else self.data_dir

    def is_write_once(self, name: str) -> bool:
        """Whether a file of this name never changes once it is settled."""
        return self.is_upload(name) and self.rewritten.isdisjoint((name, os.path.dirname(name)))

    def is_upload(self, name: str) -> bool:
        """Whether a name lies where files are written once."""
        return any(name.startswith(f"{each}/") for each in self.write_once)

    def is_vector_file(self, name: str) -> bool:
        """Whether a file is beside or below a database that has a directory of its own, as HNSW files do."""
        return any(name.startswith(f"{os.path.dirname(each)}/") for each in self.databases if os.path.dirname(each))

    def contains(self, path: str) -> bool:
        """Whether a real path is in the data, what is ours left out."""
        homes = [self.data_dir, *(real for _, real in self.links)]
        inside = any(path == home or path.startswith(f"{home}/") for home in homes)
        return inside and not f"{path}/".startswith(f"{self.home}/")

    def database_paths(self) -> frozenset[str]:
        """The real paths of all databases and of the files SQLite keeps beside them."""
        reals = [self.locate(name) for name in self.databases]
        return frozenset(reals) | {real + suffix for real in reals for suffix in SIDE_SUFFIXES}
