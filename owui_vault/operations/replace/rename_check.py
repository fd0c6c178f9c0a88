"""Whether parts of a data directory can be swapped by renames: known before anything is stopped."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from owui_vault.errors import RestoreError
from owui_vault.instance.container.container import FoundContainer
from owui_vault.instance.layout import component_of
from owui_vault.model import Component
from owui_vault.system.filesystem import mount_points


def require_renamable(data_dir: Path, names: Iterable[str]) -> None:
    """Raise RestoreError unless each part is in the data directory's own mount, and none is a mount point."""
    mounts = frozenset(mount_points())
    for name in names:
        reason = _hindrance(data_dir, name, mounts)
        if reason:
            raise RestoreError(
                f"{name} in {data_dir} cannot be replaced by a rename: {reason}",
                hint="Restore the other parts in place (`--component`), or everything into a new directory (`--target`)"
                " and copy that part by hand while Open WebUI is stopped.",
            )


def _hindrance(data_dir: Path, name: str, mounts: Collection[Path]) -> str:
    parent = (data_dir / name).parent
    while not parent.exists():  # made when it is needed
        parent = parent.parent
    parent = parent.resolve()
    real = parent / Path(name).name
    below = sorted(each for each in mounts if each.is_relative_to(real))
    if below:
        return f"{below[0]} is a mount point"
    if parent.stat().st_dev != data_dir.stat().st_dev or _mount_of(parent, mounts) != _mount_of(data_dir, mounts):
        return f"{parent} is on another file system"
    if not parent.is_relative_to(data_dir):
        return f"{parent} is outside the data directory, and is reached by a link"
    return ""


def _mount_of(path: Path, mounts: Collection[Path]) -> Path:
    """The mount that a path is in."""
    return max(
        (each for each in mounts if path.is_relative_to(each)), key=lambda each: len(each.parts), default=Path("/")
    )


def require_not_mounted(
    container: FoundContainer | None, components: Collection[Component], names: Iterable[str]
) -> None:
    """Raise RestoreError for a part that would be exchanged and is a mount of its own."""
    taken = tuple(names)
    for each in container.nested if container else ():
        if component_of(each.name) in components or any(_overlap(each.name, name) for name in taken):
            raise RestoreError(
                f"{each.name} is a separate mount in the container ({each.where}): a rename in the data directory"
                " would not reach it",
                hint="Restore the other parts in place (`--component`), or everything into a new directory (`--target`)"
                " and copy that part by hand while Open WebUI is stopped.",
            )


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
