"""Sends notifications. No failure here changes the result of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from owui_vault.context.context import OperationContext
from owui_vault.errors import CancelledError, VaultError
from owui_vault.ports import Event
from owui_vault.system.unwinding import on_failure

_log = logging.getLogger(__name__)


@contextmanager
def notifying_failures(context: OperationContext, operation: str) -> Iterator[None]:
    """Tell of an operation that raises; what was cancelled on request is no news."""

    def tell_failure(error: BaseException) -> None:
        if isinstance(error, Exception) and not isinstance(error, CancelledError):
            # The text of what nobody foresaw may hold anything.
            told = error.message if isinstance(error, VaultError) else f"unexpected {type(error).__name__}"
            notify(context, operation, "failure", told)

    with on_failure(tell_failure):
        yield


def notify(context: OperationContext, operation: str, kind: str, detail: str) -> tuple[str, ...]:
    """Hand an event to every notifier; returns a warning for each that failed."""
    event = Event(instance=context.series(), operation=operation, kind=kind, detail=detail)
    warnings = []
    for notifier in context.notifiers:
        try:
            notifier.notify(event)
        except Exception as error:  # a notifier: may raise anything, and what was done is done
            _log.warning("notifier %s failed: %s", type(notifier).__name__, error)
            warnings.append(f"{type(notifier).__name__} failed: {error}")
    return tuple(warnings)


class RepositoryOutcome(Protocol):
    """How one repository fared."""

    @property
    def repository(self) -> str:
        """Its name."""

    @property
    def error(self) -> VaultError | None:
        """What went wrong there."""


def notify_failures(context: OperationContext, operation: str, results: Iterable[RepositoryOutcome]) -> tuple[str, ...]:
    """Tell of repositories that failed where others did not; returns as `notify` does, nothing where none failed."""
    failed = [f"{each.repository}: {each.error.message}" for each in results if each.error]
    return notify(context, operation, "failure", "; ".join(failed)) if failed else ()
