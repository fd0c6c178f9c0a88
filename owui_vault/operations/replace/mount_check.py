"""Whether a container sees an exchange by renames at all: not of a part that it has mounted from elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from owui_vault.errors import RestoreError
from owui_vault.instance.container.container import FoundContainer
from owui_vault.instance.layout import component_of
from owui_vault.model import Component


def require_not_mounted(
    container: FoundContainer | None, components: Collection[Component], names: Iterable[str]
) -> None:
    """Raise RestoreError for a part that would be exchanged and is a mount of its own."""
    taken = tuple(names)
    for each in container.nested if container else ():
        if component_of(each.name) in components or any(_overlap(each.name, name) for name in taken):
            raise RestoreError(
                f"{each.name} is a mount of its own in the container ({each.where}): a rename in the data directory"
                " would not reach it",
                hint="Restore the other parts in place (`--component`), or everything into a new directory (`--target`)"
                " and copy that part by hand while Open WebUI is stopped.",
            )


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
