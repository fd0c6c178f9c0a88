"""What the child is asked to capture: the plan in plain values, and where a name of the plan really lies."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from fnmatch import translate

COMPANIONS = ("-wal", "-journal", "-shm")


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
        """Whether a file lies beside or below a database that has a directory of its own, as HNSW files do."""
        return any(name.startswith(f"{os.path.dirname(each)}/") for each in self.databases if os.path.dirname(each))

    def contains(self, path: str) -> bool:
        """Whether a real path lies in the data, what is ours left out."""
        homes = [self.data_dir, *(real for _, real in self.links)]
        inside = any(path == home or path.startswith(f"{home}/") for home in homes)
        return inside and not f"{path}/".startswith(f"{self.home}/")

    def database_paths(self) -> frozenset[str]:
        """The real paths of all databases and of the files SQLite keeps beside them."""
        reals = [self.locate(name) for name in self.databases]
        return frozenset(reals) | {real + suffix for real in reals for suffix in COMPANIONS}


class Selection:
    """`exclude` and `include`: relative names, which take everything below them, or glob patterns; the latter win."""

    def __init__(self, exclude: tuple[str, ...], include: tuple[str, ...]) -> None:
        self._exclude = _Matcher(exclude)
        self._include = _Matcher(include)

    def has(self, name: str) -> bool:
        """Whether this path belongs to the snapshot."""
        return not self._exclude.hits(name) or self._include.hits(name)

    def may_have_below(self, name: str) -> bool:
        """Whether something below this excluded directory may be included."""
        prefix = f"{name}/"
        return any(each.startswith(prefix) or prefix.startswith(each) for each in self._include.openings)


class _Matcher:
    """Whether a name, or a folder above it, is taken by one of some patterns."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        texts = [text.strip("/") for text in patterns]
        # A name that holds glob characters is meant both ways: as itself and as a pattern.
        parts = [part for text in texts for part in (re.escape(text), translate(text))]
        self._pattern = re.compile("|".join(f"(?:{part})" for part in parts), re.DOTALL)
        self.openings = tuple(re.split(r"[*?\[]", text, maxsplit=1)[0] for text in texts)

    def hits(self, name: str) -> bool:
        """Asked for every path at every look: most are told apart by how they begin."""
        if not name.startswith(self.openings):
            return False
        parts = name.split("/")
        return any(self._pattern.fullmatch("/".join(parts[:length])) for length in range(len(parts), 0, -1))
