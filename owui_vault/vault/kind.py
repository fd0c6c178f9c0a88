"""Whether a repository on this machine is of the engine that it is configured for.

Each engine takes the other's for a broken one of its own: restic says that the passphrase is wrong, borg that the
repository is damaged and may be repaired.
"""

from __future__ import annotations

from pathlib import Path

from owui_vault.errors import ConfigError
from owui_vault.vault.apart import place_of
from owui_vault.vault.parts import Repository

_BORGS_BEGINNING = b"[repository]"


def demand_kind(repository: Repository) -> None:
    """Raise ConfigError where the other engine's repository lies. What cannot be seen is left to the engine."""
    place, engine = place_of(repository), repository.engine
    found = _kind_of(place) if place else ""
    if found and engine.name in ("restic", "borg") and found != engine.name:
        raise ConfigError(
            f"the repository at {engine.location} is one of {found}, and was to be used as one of {engine.name}",
            hint=f"Set `engine: {found}`, or say --engine {found}; for a new one choose another location.",
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
