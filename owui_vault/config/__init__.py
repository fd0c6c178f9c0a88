"""`vault.yaml` to typed settings. pydantic and yaml are imported only when a file is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from owui_vault.config.paths import config_candidates as config_candidates
from owui_vault.config.paths import default_state_dir as default_state_dir
from owui_vault.config.paths import expand as expand
from owui_vault.config.paths import expand_location as expand_location
from owui_vault.config.paths import find_config as find_config
from owui_vault.config.settings import EngineName as EngineName
from owui_vault.config.settings import HeartbeatSettings as HeartbeatSettings
from owui_vault.config.settings import InstanceSettings as InstanceSettings
from owui_vault.config.settings import LimitSettings as LimitSettings
from owui_vault.config.settings import LogFileSettings as LogFileSettings
from owui_vault.config.settings import NotificationSettings as NotificationSettings
from owui_vault.config.settings import RepositorySettings as RepositorySettings
from owui_vault.config.settings import Unproven as Unproven
from owui_vault.config.settings import VaultSettings as VaultSettings
from owui_vault.config.template import TemplateValues as TemplateValues
from owui_vault.config.template import first_text as first_text


def load_settings(path: Path, environ: Mapping[str, str]) -> VaultSettings:
    """Read a configuration file; nothing else is touched.

    `environ` gives `${NAME}`, `$HOME` and the place of the state. Raises ConfigError with a hint; where the file can be
    read at all, it names every mistake at once, each with its path and line.
    """
    from owui_vault.config.loading import load  # noqa: PLC0415  pydantic and yaml are slow to import

    return load(path, environ)


def load_telling(path: Path, environ: Mapping[str, str]) -> VaultSettings:
    """Who is told, of a file that may have mistakes anywhere else; see `owui_vault.config.telling`.

    Raises ConfigError where the file cannot be read or parsed at all.
    """
    from owui_vault.config import telling  # noqa: PLC0415  pydantic and yaml are slow to import

    return telling.load_telling(path, environ)
