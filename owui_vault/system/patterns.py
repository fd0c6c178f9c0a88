"""Patterns of include and exclude: one meaning for whoever plans, copies or adds up sizes."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from owui_vault.model import CapturePlan


def takes(plan: CapturePlan, relative: str) -> bool:
    """Whether a plan captures a path, given relative to the data directory. `include` wins over `exclude`."""
    if any(matches(pattern, relative) for pattern in plan.include):
        return True
    return not any(matches(pattern, relative) for pattern in plan.exclude)


def matches(pattern: str, relative: str) -> bool:
    """Whether a pattern takes a path, by its own name or by that of a folder above it.

    Patterns are the shell's, relative to the data directory; a star also crosses slashes. A name that holds such signs
    is meant both ways, as itself and as a pattern.
    """
    parts = relative.split("/")
    expression = _expression(pattern.strip("/"))
    return any(expression.fullmatch("/".join(parts[: end + 1])) for end in range(len(parts)))


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{re.escape(pattern)})|(?:{translate(pattern)})", re.DOTALL)
