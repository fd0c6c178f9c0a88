"""Pins a snapshot, or unpins it, in every repository that holds it.

Each repository's failure is its own. Whatever ends this half way, doing it again does the rest.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.model import PinReport, PinResult, Snapshot
from owui_vault.operations.notifications import notify_failures
from owui_vault.repositories.lookup import find
from owui_vault.repositories.pin_labels import entries_of, set_pinned
from owui_vault.repositories.repository_client import RepositoryClient

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRequest:
    """What the caller asked for."""

    snapshot: Snapshot | str
    pinned: bool = True
    instance: str | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)


def pin(context: OperationContext, request: PinRequest) -> PinReport:
    """Raises what `find` raises, and nothing of a single repository: that is its result."""
    wanted = find(context, request.snapshot, None, request.callbacks, instance=request.instance).snapshot
    results = tuple(_attempt(context, each.name, wanted, request) for each in context.repositories)
    failed = tuple(each for each in results if not each.excused)
    notify_failures(context, "pin" if request.pinned else "unpin", failed)
    return PinReport(
        id=wanted.id, instance=wanted.instance, instant=wanted.instant, pinned=request.pinned, repositories=results
    )


def _attempt(context: OperationContext, name: str, wanted: Snapshot, request: PinRequest) -> PinResult:
    (repository,) = context.select(name)
    client = RepositoryClient(context, repository, request.callbacks)
    try:
        with client.locked():
            entries = client.as_labelled(entries_of(client.list(), wanted))
            if not entries:
                return PinResult(repository=name)
            changed = any(each.pinned for each in entries) is not request.pinned
            now, warning = set_pinned(client, entries, pinned=request.pinned)
    except Exception as raised:  # one repository of several
        error = client.failure(raised, "pinning in" if request.pinned else "unpinning in")
        _log.warning("snapshot %s in %s: %s", wanted.id, name, error.message)
        return PinResult(repository=name, error=error, excused=repository.excuses(error))
    return PinResult(repository=name, snapshot=now, changed=changed, warnings=(warning,) if warning else ())
