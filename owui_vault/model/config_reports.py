"""What is known of a configuration without touching an instance or a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationReport:
    """A configuration without mistakes, and what deserves a second look. `instance` is empty where there is none."""

    file: Path
    instance: str
    repositories: tuple[str, ...]
    plans: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as it is in effect. `source` says where it came from; a secret's `value` says where the secret is."""

    key: str  # `repositories.nas.keep.daily`
    value: str
    source: str  # `line 7`, `line 7, environment variable NAS`, `default`, `--data-dir`


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSettings:
    """All settings in effect. `file` is None where they came from options."""

    settings: tuple[Setting, ...]
    file: Path | None = None
