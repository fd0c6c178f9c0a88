"""Names of series and repositories, and tags: they become names of folders and stand in labels, whoever gives them.

And their places: whoever names one twice has one copy where two were meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from owui_vault.context.context import Container, DataDirectory, Repository
from owui_vault.errors import ConfigError
from owui_vault.model import NAME_PATTERN, TAG_PATTERN


def require_valid_names(
    instance: DataDirectory | Container | None, series: str | None, repositories: Sequence[Repository]
) -> None:
    """Raise ConfigError for a name that could not be written down, or a name or place that two repositories share."""
    names = [repository.name for repository in repositories]
    for name in names:
        _require_valid_name(name, "a repository")
    if len(set(names)) < len(names):
        raise ConfigError("two repositories have the same name", hint="Give each a name of its own.")
    places: dict[str, str] = {}
    for repository in repositories:
        before = places.setdefault(repository.engine.location, repository.name)
        if before != repository.name:
            raise ConfigError(
                f"the repositories {before!r} and {repository.name!r} lie at the same place",
                hint="Give each a location of its own: what is stored there twice is stored once.",
            )
    for named in (instance.name if instance else None, series):
        if named is not None:
            _require_valid_name(named, "an instance")


def _require_valid_name(name: str, what: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(
            f"{name!r} cannot be the name of {what}",
            hint="Use at most 63 of a-z 0-9 . _ -, beginning with a letter or digit.",
        )


def require_valid_tags(tags: Sequence[str]) -> None:
    """Raise ConfigError for what cannot be a tag of a snapshot."""
    for tag in tags:
        if not re.fullmatch(TAG_PATTERN, tag):
            raise ConfigError(
                f"{tag!r} is not a tag", hint="A tag has 1 to 64 letters, digits, dots, underscores and dashes."
            )
