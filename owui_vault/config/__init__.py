"""`vault.yaml` to typed settings. pydantic and yaml are imported only when a file is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from owui_vault.config.paths import config_candidates, default_state_dir, expand, expand_location, find_config
from owui_vault.config.settings import (
    EngineName,
    InstanceSettings,
    LimitSettings,
    RepositorySettings,
    Unproven,
    VaultSettings,
)
from owui_vault.config.template import Beginning, first_text

__all__ = [
    "Beginning",
    "EngineName",
    "InstanceSettings",
    "LimitSettings",
    "RepositorySettings",
    "Unproven",
    "VaultSettings",
    "config_candidates",
    "default_state_dir",
    "expand",
    "expand_location",
    "find_config",
    "first_text",
    "load_settings",
]


def load_settings(path: Path, environ: Mapping[str, str]) -> VaultSettings:
    """Read a configuration file; nothing else is touched.

    `environ` gives `${NAME}`, `$HOME` and the place of the state. Raises ConfigError with a hint; where the file can be
    read at all, it names every mistake at once, each with its path and line.
    """
    from owui_vault.config.loading import load  # noqa: PLC0415  pydantic and yaml are slow to import

    return load(path, environ)
