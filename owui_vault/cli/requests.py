"""The request of each command as a value: one class per command."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias, Union

from owui_vault.model import Component, Quiesce


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """The options before the command. `verbosity` is -1 for `-q`, 0, or the number of `-v`."""

    config: Path | None = None
    json: bool = False
    verbosity: int = 0
    data_dir: Path | None = None
    container: str | None = None
    repository: str | None = None
    engine: str | None = None
    passphrase_file: Path | None = None

    @property
    def without_file(self) -> bool:
        """Whether the options describe instance and repository themselves."""
        described = (self.data_dir, self.container, self.repository, self.engine, self.passphrase_file)
        return any(each is not None for each in described)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """`inspect`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialize:
    """`init`."""

    names: tuple[str, ...] = ()
    adopt: bool = False
    again: bool = False
    discover: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """`snapshot`."""

    to: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    quiesce: Quiesce | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSnapshots:
    """`snapshots`."""

    repository: str | None = None
    instance: str | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """`show`."""

    snapshot: str
    repository: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """`restore`."""

    snapshot: str
    target: Path
    repository: str | None = None
    instance: str | None = None
    components: tuple[Component, ...] = ()
    app_data_dir: str | None = None
    quiet_start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """`restore --in-place`."""

    snapshot: str
    repository: str | None = None
    components: tuple[Component, ...] = ()
    yes: bool = False
    accept_unknown_version: bool = False
    quiet_start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """`undo`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """`discard`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """`hold`."""

    command: tuple[str, ...]
    quiesce: Quiesce
    limit: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """`prune`."""

    names: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """`verify`. `read_data` is a share from 0 to 1."""

    snapshot: str = "latest"
    repository: str | None = None
    instance: str | None = None
    read_data: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """`seal`."""

    names: tuple[str, ...]
    file: Path | None = None
    unlock_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover:
    """`recover`."""


LiveRequest: TypeAlias = Union[Replace, Undo, Discard, Hold]
VaultRequest: TypeAlias = Union[
    Inspect, Initialize, TakeSnapshot, ListSnapshots, Show, Restore, Prune, Verify, Recover, LiveRequest
]
Request: TypeAlias = Union[VaultRequest, Seal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A whole command line."""

    options: GlobalOptions
    request: Request
