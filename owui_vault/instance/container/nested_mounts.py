"""Mounts below a container's data directory: parts of the data that are somewhere else on the engine's host.

There, the directory that is mounted as the data directory holds only the empty mount point. A component is followed to
its real location; a database that is a separate mount is refused, since SQLite's own files would be elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from owui_vault.components.names import DATABASE, VECTOR_DATABASE
from owui_vault.containers.container_inspect import ContainerInspect, Mount
from owui_vault.containers.reader import Engine
from owui_vault.errors import UnsupportedInstanceError
from owui_vault.instance.container.host_path import place_here
from owui_vault.model import CapturePlan
from owui_vault.system.patterns import takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A part of the data, `name` below the data directory, that is a mount of its own."""

    name: str
    where: str  # for messages: the volume or the path on the engine's host
    here: Path | None  # as this machine calls it; None: out of reach


def refuse_mounted_databases(inspect: ContainerInspect) -> None:
    """Raise UnsupportedInstanceError for a database that is a mount by itself."""
    for mount in inspect.nested:
        name = _name(inspect, mount)
        if name in (DATABASE, VECTOR_DATABASE):
            raise UnsupportedInstanceError(
                f"{name} of container {inspect.name} is mounted separately, from {mount.where}",
                hint="SQLite keeps a journal beside each database, which would then be elsewhere: mount the directory"
                " instead.",
            )


def nested_mounts(engine: Engine, inspect: ContainerInspect, data_dir: Path) -> tuple[Nested, ...]:
    """Each mount below the data directory, which is at `data_dir` here, followed to where it is."""
    return tuple(
        Nested(name=_name(inspect, mount), where=mount.where, here=_here(engine, inspect, data_dir, mount))
        for mount in inspect.nested
    )


def _name(inspect: ContainerInspect, mount: Mount) -> str:
    return str(mount.destination.relative_to(inspect.data_dir))


def _here(engine: Engine, inspect: ContainerInspect, data_dir: Path, mount: Mount) -> Path | None:
    if mount.kind == "tmpfs":
        return None
    return place_here(engine, inspect, mount.destination, _near(inspect, data_dir, mount))


def _near(inspect: ContainerInspect, data_dir: Path, mount: Mount) -> Iterator[Path]:
    """Below our own mount of the data, where somebody gave us the nested one as well; as the engine's host calls it."""
    below = mount.destination.relative_to(PurePosixPath(inspect.data_dir))
    if data_dir != inspect.source_of(inspect.data_dir):
        yield data_dir / below
    yield mount.source


def missed_mounts(plan: CapturePlan, nested: Iterable[Nested]) -> tuple[str, ...]:
    """What the plan would take and cannot reach, one clause each. What is left out anyway is not missed."""
    return tuple(
        f"{each.name} is missing: it is in {each.where}, which cannot be reached from here"
        for each in nested
        if each.here is None and takes(plan, each.name)
    )
