"""What is not there on purpose: its absence is no flaw, neither of a capture nor of what comes back."""

from __future__ import annotations

from collections.abc import Callable

from owui_vault.model import CapturePlan, Manifest
from owui_vault.system.patterns import matches, takes

IsLeftOut = Callable[[str], bool]  # of a path below the data directory


def nothing(_relative: str) -> bool:
    """Nothing was left out."""
    return False


def left_out_by(plan: CapturePlan) -> IsLeftOut:
    """What a capture leaves out because it was told to."""
    return lambda relative: not takes(plan, relative)


def left_out_of(manifest: Manifest) -> IsLeftOut:
    """What a snapshot does not hold, as its manifest says."""
    patterns = tuple(each.path for each in manifest.left_out if each.path)
    return lambda relative: any(matches(pattern, relative) for pattern in patterns)
