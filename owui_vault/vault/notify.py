"""Telling those who asked to be told. Nothing that goes wrong here changes the result of a run."""

from __future__ import annotations

import logging

from owui_vault.ports import Event
from owui_vault.vault.parts import Parts

_log = logging.getLogger(__name__)


def tell(parts: Parts, operation: str, kind: str, detail: str) -> tuple[str, ...]:
    """Hand an event to every notifier; answers a warning for each that failed."""
    event = Event(instance=parts.series(), operation=operation, kind=kind, detail=detail)
    warnings = []
    for notifier in parts.notifiers:
        try:
            notifier.notify(event)
        except Exception as error:
            _log.warning("notifier %s failed: %s", type(notifier).__name__, error)
            warnings.append(f"{type(notifier).__name__} could not be told: {error}")
    return tuple(warnings)
