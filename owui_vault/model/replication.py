"""What brings one repository's snapshots to others: the plan, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from owui_vault.errors import VaultError
from owui_vault.model.snapshots import Snapshot


class CopyWay(Enum):
    """How a snapshot gets from one repository into another."""

    ENGINE = "engine"  # the engine copies it by itself, still encrypted in parts: `restic copy`
    STAGE = "stage"  # restored on this machine, compared with its manifest, and stored again


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryReplication:
    """What one repository would get. `error`: it could not be asked, and gets nothing.

    `pins` are there already, and would be pinned as they are at the source; what is pinned here is never unpinned.
    """

    repository: str
    copies: tuple[Snapshot, ...] = ()  # as the source lists them, newest first
    pins: tuple[Snapshot, ...] = ()  # as this repository lists them, newest first
    way: CopyWay = CopyWay.STAGE
    error: VaultError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationPlan:
    """What `Vault.replicate` would do, one entry per repository."""

    source: str
    repositories: tuple[RepositoryReplication, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationResult:
    """How one repository fared: what it has now, and what kept it from the rest."""

    repository: str
    copied: tuple[Snapshot, ...] = ()  # as this repository lists them, in the order in which they came
    pinned: tuple[Snapshot, ...] = ()  # were there before, and are pinned now
    error: VaultError | None = None
    added_bytes: int | None = None  # None: the engine does not say
    warnings: tuple[str, ...] = ()
    took: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationReport:
    """What `Vault.replicate` did."""

    plan: ReplicationPlan
    repositories: tuple[ReplicationResult, ...]
    warnings: tuple[str, ...] = ()
    took: timedelta = timedelta()
