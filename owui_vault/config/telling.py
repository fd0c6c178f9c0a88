"""Who is to be told, read first and by itself: so that any other mistake in the file can be told to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from owui_vault.config.errors import ConfigProblem
from owui_vault.config.notify_part import readable_heartbeat, readable_notifications
from owui_vault.config.paths import default_state_dir, expand
from owui_vault.config.settings import InstanceSettings, VaultSettings
from owui_vault.config.values import ConfigContext
from owui_vault.config.variables import replace_variables
from owui_vault.config.yaml_source import read_document
from owui_vault.errors import ConfigError
from owui_vault.model import NAME_PATTERN


def load_telling(path: Path, environ: Mapping[str, str]) -> VaultSettings:
    """Of a file that may have mistakes anywhere: who is told, the series, and where the state is kept.

    What of these has a mistake itself is left out. Raises ConfigError where the file cannot be read or parsed, or where
    others can write it: nothing in it is believed then.
    """
    path = path.absolute()
    data = read_document(path).data
    known: dict[object, object] = data if isinstance(data, dict) else {}
    around = ConfigContext(path.parent, environ)
    plans = known.get("plans")
    notifications = known.get("notifications")
    listed = [_replaced(each, environ) for each in notifications] if isinstance(notifications, list) else []
    own = {
        str(name): readable_heartbeat(_replaced(plan.get("heartbeat"), environ), around)
        for name, plan in (plans.items() if isinstance(plans, dict) else ())
        if isinstance(plan, dict)
    }
    return VaultSettings(
        path=path,
        state_dir=_state_dir(_replaced(known.get("state_dir"), environ), around),
        instance=_named(known.get("instance"), environ),
        notifications=readable_notifications(listed, around),
        heartbeat=readable_heartbeat(_replaced(known.get("heartbeat"), environ), around),
        plan_heartbeats={name: each for name, each in own.items() if each},
    )


def _replaced(value: object, environ: Mapping[str, str]) -> object:
    """With variables replaced; None where one is not set: what is half there would go astray."""
    mistakes: list[ConfigProblem] = []
    found = replace_variables(value, environ, mistakes)
    return None if mistakes else found


def _named(instance: object, environ: Mapping[str, str]) -> InstanceSettings:
    name = _replaced(instance.get("name"), environ) if isinstance(instance, dict) else None
    if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name):
        return InstanceSettings(name=name)
    return InstanceSettings()


def _state_dir(value: object, around: ConfigContext) -> Path:
    if isinstance(value, str) and value.strip():
        try:
            return expand(value, around.folder, around.environ)
        except ConfigError:
            pass
    return default_state_dir(around.environ)
