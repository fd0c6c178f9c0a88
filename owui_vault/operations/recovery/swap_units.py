"""The parts of a data directory that are swapped one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from owui_vault.components.names import not_the_data

_CACHE = "cache"


def swap_units(data_dir: Path) -> Iterator[str]:
    """Its entries, and two levels down where the cache mixes components; names relative to it."""
    foreign = not_the_data(data_dir)
    for name in os.listdir(data_dir):
        if name in foreign:
            continue
        if name == _CACHE and (data_dir / name).is_dir():
            yield from _cache_units(data_dir)
        else:
            yield name


def _cache_units(data_dir: Path) -> Iterator[str]:
    for name in os.listdir(data_dir / _CACHE):
        if name == "image" and (data_dir / _CACHE / name).is_dir():
            yield from (f"{_CACHE}/{name}/{each}" for each in os.listdir(data_dir / _CACHE / name))
        else:
            yield f"{_CACHE}/{name}"
