"""Patterns of include and exclude: one meaning for whoever plans, copies, adds up sizes, or misses something.

The capture's child asks here for every path at every look, so this imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owui_vault.model import CapturePlan, Manifest

#: Whether a path below the data directory is not there on purpose: its absence is no flaw, neither of a capture nor of
#: what comes back.
IsLeftOut = Callable[[str], bool]


def takes(plan: CapturePlan, relative: str) -> bool:
    """Whether a plan captures a path, given relative to the data directory. `include` wins over `exclude`."""
    return _selection(plan.exclude, plan.include).has(relative)


def matches(pattern: str, relative: str) -> bool:
    """Whether a pattern takes a path, by its own name or by that of a folder above it.

    Patterns are the shell's, relative to the data directory; a star also crosses slashes. A name that holds such signs
    is meant both ways, as itself and as a pattern.
    """
    return _patterns((pattern,)).hit(relative)


class Selection:
    """`exclude` and `include` of a plan; the latter win."""

    def __init__(self, exclude: tuple[str, ...], include: tuple[str, ...]) -> None:
        self._exclude = _patterns(exclude)
        self._include = _patterns(include)

    def has(self, name: str) -> bool:
        """Whether this path belongs to the snapshot."""
        return not self._exclude.hit(name) or self._include.hit(name)

    def may_have_below(self, name: str) -> bool:
        """Whether something below this excluded directory may be included."""
        prefix = f"{name}/"
        return any(each.startswith(prefix) or prefix.startswith(each) for each in self._include.openings)


class _Patterns:
    def __init__(self, patterns: Sequence[str]) -> None:
        texts = [text.strip("/") for text in patterns]
        parts = [part for text in texts for part in (re.escape(text), translate(text))]
        self._pattern = re.compile("|".join(f"(?:{part})" for part in parts), re.DOTALL)
        self.openings = tuple(re.split(r"[*?\[]", text, maxsplit=1)[0] for text in texts)

    def hit(self, name: str) -> bool:
        """Most names are told apart by how they begin."""
        if not name.startswith(self.openings):
            return False
        parts = name.split("/")
        return any(self._pattern.fullmatch("/".join(parts[:length])) for length in range(len(parts), 0, -1))


_patterns = lru_cache(maxsize=1024)(_Patterns)
_selection = lru_cache(maxsize=32)(Selection)


def is_chosen(path: str, chosen: Collection[str]) -> bool:
    """Whether a path is one of these, or lies below one; where nothing was chosen, everything is."""
    return not chosen or any(path == each or path.startswith(f"{each}/") for each in chosen)


def nothing(_relative: str) -> bool:
    """Nothing was left out."""
    return False


def left_out_of(manifest: Manifest) -> IsLeftOut:
    """What a snapshot does not hold, as its manifest says."""
    patterns = tuple(each.path for each in manifest.left_out if each.path)
    return lambda relative: any(matches(pattern, relative) for pattern in patterns)
