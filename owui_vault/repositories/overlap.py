"""What must lie apart: repositories and what is remembered between runs from the live data, repositories from others.

A repository among the data is stored into itself again and again, is lost along with them, and a restore in place would
replace it with the rest. The same would happen to the state directory, including the journal of that very restore.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from owui_vault.context.context import DataDirectory, OperationContext, Repository
from owui_vault.errors import ConfigError, InstanceError, SameRepositoryError
from owui_vault.instance.layout import components_elsewhere
from owui_vault.model import OllamaModels
from owui_vault.system.mounts import is_within, lies_within, read_mounts

_BORGS_BEGINNING = b"[repository]"


def live_folders(context: OperationContext) -> Iterator[Path]:
    """The data directory, what its links lead to and its mounts, where there is one that can be seen from here."""
    try:
        here = context.with_container()
    except InstanceError:  # most of what asks needs none
        return
    instance = here.instance
    yield from (place for _, place in here.container.mounted) if here.container else ()
    if isinstance(instance, DataDirectory) and instance.path.exists():
        yield instance.path
        yield from components_elsewhere(instance.path)
        if instance.ollama_dir and instance.ollama is not OllamaModels.OFF:
            yield instance.ollama_dir


def path_of(location: str) -> Path:
    """A repository's location as a path, without an engine's way to say that it is one: absolute, if it is here."""
    return Path(location.removeprefix("local:").removeprefix("file://"))


def place_of(repository: Repository) -> Path | None:
    """Where a repository is on this machine, or will; None where its location is an address."""
    place = path_of(repository.engine.location)
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
                yield f"{what} ({place}) is inside the data directory of the instance{seen}"


def require_apart(context: OperationContext, repositories: Sequence[Repository]) -> None:
    """Raise ConfigError for a repository, or a state directory, among the live data."""
    for found in among_the_data(context, repositories):
        raise ConfigError(
            found,
            hint="Choose another place, for a repository ideally on another disk: here it would be stored into itself,"
            " and lost together with the data. Or remove the mount.",
        )


def require_engine_kind(repository: Repository) -> None:
    """Raise ConfigError where the other engine's repository is. What cannot be seen is left to the engine.

    Each engine takes the other's for a broken one of its own: restic says that the passphrase is wrong, borg that the
    repository is damaged and may be repaired.
    """
    place, engine = place_of(repository), repository.engine
    found = _kind_of(place) if place else ""
    if found and engine.name in ("restic", "borg") and found != engine.name:
        raise ConfigError(
            f"the repository at {engine.location} is a {found} repository, but is used as one of {engine.name}",
            hint=f"Set `engine: {found}`, or pass --engine {found}; for a new one choose another location.",
        )


def require_own_ground(repositories: Sequence[Repository], repository: Repository) -> None:
    """Raise ConfigError where a new repository would be inside another one: pruned, compacted or removed with it."""
    place = place_of(repository)
    if place is None:
        return
    mounts = read_mounts()
    for other in repositories:
        there = place_of(other)
        if other.name == repository.name or there is None:
            continue
        inside, around = lies_within(place, there, mounts), lies_within(there, place, mounts)
        if inside and around:
            names = " and ".join(repr(each.name) for each in repositories if each in (other, repository))
            raise SameRepositoryError(
                f"the repositories {names} are at the same place ({place})",
                hint="Give each a location of its own: two copies in one place are one copy.",
            )
        if inside or around:
            raise _inside(repository, f"the repository {other.name!r}" if inside else "", other.name)
    for parent in place.resolve().parents:
        if kind := _kind_of(parent):
            raise _inside(repository, f"a repository of {kind} at {parent}", "")


def _inside(repository: Repository, around: str, inside: str) -> ConfigError:
    what = f"inside {around}" if around else f"around the repository {inside!r}"
    return ConfigError(
        f"the repository {repository.name!r} ({repository.engine.location}) would be {what}",
        hint="Choose a separate folder for it: an engine takes other files among its own as its own, or as damage.",
    )


def _kind_of(place: Path) -> str:
    try:
        with (place / "config").open("rb") as file:
            is_borgs = file.read(len(_BORGS_BEGINNING)) == _BORGS_BEGINNING
    except OSError:
        return ""
    if is_borgs:
        return "borg"
    return "restic" if (place / "keys").is_dir() and (place / "snapshots").is_dir() else ""
