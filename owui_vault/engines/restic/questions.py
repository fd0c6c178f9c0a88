"""The functions of resticpy that are used, each with a contract test: its internal ones, which take a command prefix.

They are private to resticpy, which is why its version is pinned; and untyped, which is why they get their types here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from restic.internal import cat as _cat
from restic.internal import forget as _forget
from restic.internal import init as _init
from restic.internal import list as _list
from restic.internal import snapshots as _snapshots
from restic.internal import unlock as _unlock
from restic.internal import version as _version

_ask_version: Callable[..., Mapping[str, Any]] = _version.run
_ask_init: Callable[..., str] = _init.run
_ask_snapshots: Callable[..., list[Mapping[str, Any]] | None] = _snapshots.run
_ask_forget: Callable[..., object] = _forget.run
_ask_unlock: Callable[..., object] = _unlock.run
_Cat: Callable[..., Any] = _cat.Cat
_List: Callable[..., Any] = _list.List


def version(base: list[str]) -> str:
    """Which restic this is: `0.18.0`."""
    return str(_ask_version(base)["restic_version"])


def init(base: list[str]) -> None:
    """Create the repository. Look at its id afterwards."""
    with suppress(AttributeError):
        # restic < 0.15 answers "created restic repository ID at " and no place when that was given in a file
        # (--repository-file), which resticpy 1.3 does not expect; a failure of restic is another exception
        _ask_init(base)


def config(base: list[str]) -> Mapping[str, Any]:
    """The repository's own settings."""
    document: Mapping[str, Any] = _Cat(lambda: base).config()
    return document


def snapshots(base: list[str]) -> list[Mapping[str, Any]]:
    """Everything it lists."""
    return _ask_snapshots(base) or []


def forget(base: list[str], engine_id: str) -> None:
    """Drop one snapshot."""
    _ask_forget(base, snapshot_id=engine_id)


def lock_ids(base: list[str]) -> list[str]:
    """The names of all locks."""
    return [line.strip() for line in _List(lambda: base).locks() if line.strip()]


def lock_details(base: list[str], lock: str) -> Mapping[str, Any]:
    """Who holds a lock since when."""
    document: Mapping[str, Any] = _Cat(lambda: base).run([*base, "cat", "lock", lock])
    return document


def unlock(base: list[str]) -> None:
    """Remove what restic takes for stale."""
    _ask_unlock(base)
