"""Where a container's data directory is on this machine, proven by the file itself and not by its path."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath

from owui_vault.components.names import DATABASE
from owui_vault.containers.container_inspect import ContainerInspect, parse
from owui_vault.containers.reader import Engine
from owui_vault.errors import InstanceError, InstanceNotFoundError, UnsupportedInstanceError
from owui_vault.system import procfs

_LOOKS = 5  # a busy one may be written to between the two looks


def data_dir_here(engine: Engine, inspect: ContainerInspect) -> Path:
    """The data directory as this machine calls it.

    Raises UnsupportedInstanceError when the data are in the container's own layer, InstanceError with what works when
    they cannot be reached from here.
    """
    source = inspect.source_of(inspect.data_dir)
    if source is None or inspect.data_mount is None:
        raise UnsupportedInstanceError(
            f"container {inspect.name} has its data in its own layer: nothing is mounted at {inspect.data_dir}",
            hint="An update recreates it, and they are lost. Copy them into a volume (`docker cp`) that"
            f" is mounted at {inspect.data_dir}, then take snapshots; docs/docker.md shows how.",
        )
    for place in (*_ours(engine, inspect, inspect.data_dir), source):
        if _is_reachable(place) and _is_the_same(engine, inspect, f"{inspect.data_dir}/{DATABASE}", place / DATABASE):
            return place
    raise _out_of_reach(engine, inspect, source)


def place_here(engine: Engine, inspect: ContainerInspect, path: PurePosixPath, near: Iterable[Path]) -> Path | None:
    """Where a mount of the container is here: among our own mounts or at one of the places `near`; None: nowhere."""
    for place in (*_ours(engine, inspect, str(path)), *near):
        if os.path.lexists(place) and _is_the_same(engine, inspect, str(path), place):
            return place
    return None


def _ours(engine: Engine, inspect: ContainerInspect, path: str) -> Iterator[Path]:
    """The same part of a volume among our own mounts, when we run in a container ourselves."""
    own = procfs.own_container()
    if not own:
        return
    with suppress(InstanceNotFoundError):  # another engine's container
        wanted = inspect.source_of(path)
        for mount in parse(engine.inspect(own)).mounts:
            if wanted and mount.kind != "tmpfs" and wanted.is_relative_to(mount.source):
                yield Path(mount.destination) / wanted.relative_to(mount.source)


def _is_reachable(place: Path) -> bool:
    try:
        os.listdir(place)
    except PermissionError:
        raise InstanceError(
            f"user {os.geteuid()} cannot read {place}, where the container's data are",
            hint="Run as root: nobody else can read the engine's volumes.",
        ) from None
    except OSError:
        return False
    return True


def _is_the_same(engine: Engine, inspect: ContainerInspect, path: str, place: Path) -> bool:
    """Whether `place` here is `path` inside; the same path may exist on both sides of a border."""
    root = root_of(inspect)
    if root is not None:
        with suppress(OSError):
            return os.path.samestat((root / path.lstrip("/")).stat(), place.stat())
    return any(_looks_the_same(engine, inspect, path, place) for _ in range(_LOOKS))


def root_of(inspect: ContainerInspect) -> Path | None:
    """The container's file system through its own process, where that is a process of this machine."""
    is_here = inspect.pid > 0 and procfs.in_container(inspect.pid, inspect.id)
    return Path(f"/proc/{inspect.pid}/root") if is_here else None


def _looks_the_same(engine: Engine, inspect: ContainerInspect, path: str, place: Path) -> bool:
    size, changed = engine.size_of(inspect.id, path), engine.changed(inspect.id, path)
    try:
        status = place.stat()
    except OSError:
        return not changed  # before its first start there is no database on either side
    if stat.S_ISREG(status.st_mode) and size != status.st_size:
        return False
    return _seconds(changed) == status.st_mtime_ns // 1_000_000_000


def _seconds(text: str) -> int:
    """Since the epoch, of an engine's time, which is told in the time zone of its host."""
    with suppress(ValueError):
        return int(datetime.fromisoformat(text).timestamp())
    return -1


def _out_of_reach(engine: Engine, inspect: ContainerInspect, source: Path) -> InstanceError:
    mount = inspect.data_mount
    what = f"volume {mount.volume}" if mount and mount.volume else str(source)
    inside = procfs.own_container()
    where = "this program runs in a container that does not have it mounted" if inside else "it does not exist here"
    return InstanceError(
        f"the data of container {inspect.name} are in {what} on the host of {engine.address}, but {where}",
        hint="Run owui_vault on that host, or as a container that has the data and the engine's socket mounted (`-v"
        f" {(mount and mount.volume) or source}:/data`, docs/docker.md): Docker Desktop and remote engines need that.",
    )
