"""What a plan does not capture, with its size: nothing is left out silently."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from owui_vault.instance.layout import component_of
from owui_vault.manifest.inventory import walk_live
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
    links = dict(plan.links)
    sums: dict[str, _Sum] = {}
    for relative, size_bytes in walk_live(plan, partial(_may_fit, plan.exclude)):
        if relative in links or takes(plan, relative):  # a component that is a link to a file is not counted here
            continue
        pattern = next((each for each in plan.exclude if matches(each, relative)), "")
        reason = reasons.get(pattern) or _REASONS.get(component_of(relative), _EXCLUDED)
        entry = sums.setdefault(pattern, _Sum(reason))
        entry.files += 1
        entry.size_bytes += size_bytes()
    return tuple(
        LeftOut(path=path, reason=found.reason, files=found.files, size_bytes=found.size_bytes)
        for path, found in sorted(sums.items())
    )


def idle_patterns(plan: CapturePlan, patterns: Sequence[str]) -> tuple[str, ...]:
    """Those patterns of an operator that fit nothing there: perhaps a slip, and then something is not as was meant."""
    left = list(dict.fromkeys(patterns))
    for relative, _size in walk_live(plan, partial(_may_fit, left)) if left else ():
        left[:] = [each for each in left if not matches(each.removeprefix("./"), relative)]
        if not left:
            break
    return tuple(left)


def idle_warnings(plan: CapturePlan, *, include: Sequence[str], exclude: Sequence[str]) -> Iterator[str]:
    """The same in words."""
    for key, patterns in (("include", include), ("exclude", exclude)):
        for pattern in idle_patterns(plan, patterns):
            yield f"the pattern {pattern!r} of instance.{key} fits nothing in {plan.data_dir}"


def _may_fit(patterns: Iterable[str], folder: str) -> bool:
    prefix = f"{folder}/"
    openings = (re.split(r"[*?\[]", pattern.removeprefix("./"), maxsplit=1)[0] for pattern in patterns)
    return any(f"{opening}/".startswith(prefix) or prefix.startswith(opening) for opening in openings)
