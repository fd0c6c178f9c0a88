"""Packages whose names are imported when they are first asked for.

Rescues, probes and checks are started as modules of this package, need few of its names, and must start fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, home: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package; `home` says which module has which names."""
    modules = {name: module for module, names in home.items() for name in names.split()}

    def find(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: [*vars(sys.modules[package]), *modules]
