"""What about a container would lose its data, its key or its backup: a pure function of what its engine says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from owui_vault.containers.container_inspect import ContainerInspect
from owui_vault.instance.container.discovery import OUR_LABEL

_AUTOHEAL = "autoheal"
_NETWORK = ("nfs", "cifs", "smb", "sshfs", "glusterfs", "ceph")


def container_warnings(
    inspect: ContainerInspect, others: Iterable[ContainerInspect], volume: Mapping[str, object]
) -> Iterator[str]:
    """One sentence each. `others` are all other containers of the engine, `volume` what it tells about the volume."""
    mount = inspect.data_mount
    if mount and mount.anonymous:
        yield (
            f"the data are in an anonymous volume ({mount.volume[:12]}): recreating the container starts with an empty"
            " one, and `docker rm -v` or a prune deletes it. Give the volume a name"
        )
    kind = _network_kind(volume)
    if kind:
        name = mount.volume if mount else ""
        yield f"the volume {name} is on a network file system ({kind}): SQLite is not safe there"
    if inspect.auto_remove:
        yield "the engine removes this container when it stops (--rm): it is paused for a snapshot, never stopped"
    others = [each for each in others if each.id != inspect.id]
    together = [each.name for each in others if writes_to_data_of(each, inspect)]
    if together:
        yield f"{', '.join(together)} can write to the same data as well: held together with it"
    around = [each.name for each in others if each.name not in together and _sees_from_above(each, inspect)]
    if around:
        yield (
            f"{', '.join(around)} has a parent folder of the data mounted for writing: it is not held, and if it"
            " changes something there, a snapshot is not proven"
        )
    healers = [each.name for each in others if each.running and _AUTOHEAL in each.image.lower()]
    if healers or _AUTOHEAL in inspect.labels:
        yield (
            f"{', '.join(healers) or 'an autoheal watcher'} restarts containers that look unhealthy, as a paused one"
            " does at once: a snapshot that it interrupts is discarded, an in-place restore may be disturbed"
        )


def writes_to_data_of(other: ContainerInspect, inspect: ContainerInspect) -> bool:
    """Whether it has the data or a part of them mounted for writing, or is an instance on the same data directory.

    Our own sidecar does not count.
    """
    sources = inspect.data_sources
    if not sources or OUR_LABEL in other.labels:
        return False
    if _works_on(other, sources[0]):
        return True
    return any(
        mount.writable and mount.source.is_relative_to(source)
        for mount in other.mounts
        for source in sources
        if mount.source.name
    )


def _works_on(other: ContainerInspect, source: Path) -> bool:
    """Whether its DATA_DIR is that directory, by a mount of a folder above it perhaps."""
    mount = other.mount_of(other.data_dir)
    return mount is not None and mount.writable and other.source_of(other.data_dir) == source


def _sees_from_above(other: ContainerInspect, inspect: ContainerInspect) -> bool:
    sources = inspect.data_sources
    if not sources or OUR_LABEL in other.labels:
        return False
    return any(
        mount.writable and mount.source in sources[0].parents for mount in other.mounts if mount.source != Path()
    )


def _network_kind(volume: Mapping[str, object]) -> str:
    options = volume.get("Options")
    given = str(options.get("type", "")) if isinstance(options, dict) else ""
    known = (given, str(volume.get("Driver", "")))
    return next((each for each in known if any(name in each.lower() for name in _NETWORK)), "")
