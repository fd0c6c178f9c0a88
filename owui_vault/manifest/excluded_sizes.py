"""What a plan does not capture, with its size: nothing is left out in silence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.names import not_the_data
from owui_vault.instance.layout import component_of
from owui_vault.model import CapturePlan, Component, LeftOut
from owui_vault.system.patterns import matches, takes

_REASONS = {
    Component.CACHE: "cache: can be made or downloaded again (an offline host needs its models: include it then)",
    Component.AUDIT_LOG: "audit log: include it if it must be kept",
}
_EXCLUDED = "excluded by the configuration"


@dataclass(slots=True)
class _Sum:
    reason: str
    files: int = 0
    size_bytes: int = 0


def excluded_sizes(plan: CapturePlan) -> tuple[LeftOut, ...]:
    """One entry per pattern that leaves something out. Only folders in which something can be left out are walked."""
    reasons = dict(plan.reasons)
    sums: dict[str, _Sum] = {}
    for relative, size in _walk(plan):
        pattern = next((each for each in plan.exclude if matches(each, relative)), "")
        reason = reasons.get(pattern) or _REASONS.get(component_of(relative), _EXCLUDED)
        entry = sums.setdefault(pattern, _Sum(reason))
        entry.files += 1
        entry.size_bytes += size
    return tuple(
        LeftOut(path=path, reason=found.reason, files=found.files, size_bytes=found.size_bytes)
        for path, found in sorted(sums.items())
    )


def _walk(plan: CapturePlan) -> Iterator[tuple[str, int]]:
    """Every file that is left out, links not followed but for components."""
    links = dict(plan.links)
    foreign = not_the_data(plan.data_dir)
    waiting = [("", plan.data_dir)]  # not by calls of itself: what is excluded may be as deep as it likes
    while waiting:
        prefix, folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            name = prefix + entry.name
            if name in foreign:
                continue
            if name in links or entry.is_dir(follow_symlinks=False):
                if _may_lose(plan, name):
                    waiting.append((f"{name}/", links.get(name, Path(entry.path))))
            elif not takes(plan, name):
                yield name, _size(entry)


def _may_lose(plan: CapturePlan, folder: str) -> bool:
    """Whether something below a folder can be left out: uploads are usually not walked at all."""
    prefix = f"{folder}/"
    openings = (re.split(r"[*?\[]", pattern, maxsplit=1)[0] for pattern in plan.exclude)
    return any(f"{opening}/".startswith(prefix) or prefix.startswith(opening) for opening in openings)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
    except OSError:
        return 0
