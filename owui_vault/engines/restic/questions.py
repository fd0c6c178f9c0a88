"""The functions of resticpy that are used, each with a contract test: its internal ones, which take a command prefix.

They are private to resticpy, which is why its version is pinned; and untyped, which is why they get their types here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any


def _asked(module: str, name: str = "run") -> Callable[..., Any]:
    """Imported when something is asked: a tick with nothing due, and whoever looks at the state, asks nothing."""
    from restic import internal  # noqa: PLC0415  25 modules

    function: Callable[..., Any] = getattr(import_module(f"{internal.__name__}.{module}"), name)
    return function


def version(base: list[str]) -> str:
    """Which restic this is: `0.18.0`."""
    return str(_asked("version")(base)["restic_version"])


def init(base: list[str]) -> None:
    """Create the repository. Look at its id afterwards."""
    with suppress(AttributeError):
        # restic < 0.15 answers "created restic repository ID at " and no place when that was given in a file
        # (--repository-file), which resticpy 1.3 does not expect; a failure of restic is another exception
        _asked("init")(base)


def config(base: list[str]) -> Mapping[str, Any]:
    """The repository's own settings."""
    document: Mapping[str, Any] = _asked("cat", "Cat")(lambda: base).config()
    return document


def snapshots(base: list[str]) -> list[Mapping[str, Any]]:
    """Everything it lists."""
    listed: list[Mapping[str, Any]] | None = _asked("snapshots")(base)
    return listed or []


def forget(base: list[str], engine_id: str) -> None:
    """Drop one snapshot."""
    _asked("forget")(base, snapshot_id=engine_id)


def lock_ids(base: list[str]) -> list[str]:
    """The names of all locks."""
    return [line.strip() for line in _asked("list", "List")(lambda: base).locks() if line.strip()]


def lock_details(base: list[str], lock: str) -> Mapping[str, Any]:
    """Who holds a lock since when."""
    document: Mapping[str, Any] = _asked("cat", "Cat")(lambda: base).run([*base, "cat", "lock", lock])
    return document


def unlock(base: list[str]) -> None:
    """Remove what restic takes for stale."""
    _asked("unlock")(base)
