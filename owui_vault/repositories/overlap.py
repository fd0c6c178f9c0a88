"""What must lie apart from the live data: the repositories, and what is remembered between runs.

A repository among the data is stored into itself again and again, is lost along with them, and a restore in place would
exchange it with the rest. So would it what is remembered, the journal of that very restore included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from owui_vault.context.container_access import with_container
from owui_vault.context.context import DataDirectory, OperationContext, Repository
from owui_vault.errors import ConfigError, InstanceError
from owui_vault.instance.layout import components_elsewhere
from owui_vault.model import OllamaModels
from owui_vault.system.durable_files import is_within
from owui_vault.system.mounts import lies_within, read_mounts


def live_folders(context: OperationContext) -> Iterator[Path]:
    """The data directory, what its links lead to and its mounts, where there is one that can be seen from here."""
    try:
        here = with_container(context)
    except InstanceError:  # most of what asks needs none
        return
    instance = here.instance
    yield from (place for _, place in here.container.mounted) if here.container else ()
    if isinstance(instance, DataDirectory) and instance.path.exists():
        yield instance.path
        yield from components_elsewhere(instance.path)
        if instance.ollama_dir and instance.ollama is not OllamaModels.OFF:
            yield instance.ollama_dir


def place_of(repository: Repository) -> Path | None:
    """Where a repository lies on this machine, or will; None where its location is an address."""
    place = Path(repository.engine.location.removeprefix("local:"))
    return place if place.is_absolute() or place.is_dir() else None


def among_the_data(context: OperationContext, repositories: Sequence[Repository]) -> Iterator[str]:
    """What lies among the live data and must not, in words; also where only a mount leads there."""
    places = [(f"the repository {each.name!r}", place_of(each)) for each in repositories]
    places.append(("the state directory", context.state.root))
    mounts = read_mounts()
    for folder in live_folders(context):
        for what, place in places:
            if place and lies_within(place, folder, mounts):
                seen = "" if is_within(place, folder) else ", where a mount shows it"
                yield f"{what} ({place}) lies inside the data directory of the instance{seen}"


def require_apart(context: OperationContext, repositories: Sequence[Repository]) -> None:
    """Raise ConfigError for a repository, or a state directory, among the live data."""
    for found in among_the_data(context, repositories):
        raise ConfigError(
            found,
            hint="Choose a place elsewhere, a repository's best on another disk: there it would be stored into itself,"
            " and lost together with the data. Or take the mount away.",
        )
