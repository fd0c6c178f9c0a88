"""Whether a repository on this machine is of the engine that it is configured for.

Each engine takes the other's for a broken one of its own: restic says that the passphrase is wrong, borg that the
repository is damaged and may be repaired.
"""

from __future__ import annotations

from pathlib import Path

from owui_vault.context.context import OperationContext, Repository
from owui_vault.errors import ConfigError, SameRepositoryError
from owui_vault.repositories.overlap import place_of
from owui_vault.system.mounts import lies_within, read_mounts

_BORGS_BEGINNING = b"[repository]"


def require_engine_kind(repository: Repository) -> None:
    """Raise ConfigError where the other engine's repository lies. What cannot be seen is left to the engine."""
    place, engine = place_of(repository), repository.engine
    found = _kind_of(place) if place else ""
    if found and engine.name in ("restic", "borg") and found != engine.name:
        raise ConfigError(
            f"the repository at {engine.location} is one of {found}, and was to be used as one of {engine.name}",
            hint=f"Set `engine: {found}`, or say --engine {found}; for a new one choose another location.",
        )


def require_own_ground(context: OperationContext, repository: Repository) -> None:
    """Raise ConfigError where a new repository would lie inside another one: pruned, compacted or removed with it."""
    place = place_of(repository)
    if place is None:
        return
    mounts = read_mounts()
    for other in context.repositories:
        there = place_of(other)
        if other.name == repository.name or there is None:
            continue
        inside, around = lies_within(place, there, mounts), lies_within(there, place, mounts)
        if inside and around:
            names = " and ".join(repr(each.name) for each in context.repositories if each in (other, repository))
            raise SameRepositoryError(
                f"the repositories {names} lie at one and the same place ({place})",
                hint="Give each a location of its own: what is stored there twice is stored once.",
            )
        if inside or around:
            raise _inside(repository, f"the repository {other.name!r}" if inside else "", other.name)
    for parent in place.resolve().parents:
        if kind := _kind_of(parent):
            raise _inside(repository, f"a repository of {kind} at {parent}", "")


def _inside(repository: Repository, around: str, inside: str) -> ConfigError:
    what = f"inside {around}" if around else f"around the repository {inside!r}"
    return ConfigError(
        f"the repository {repository.name!r} ({repository.engine.location}) would lie {what}",
        hint="Choose a folder of its own for it: an engine takes what lies among its files for its own, or for damage.",
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
