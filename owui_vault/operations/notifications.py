"""Sends notifications, in bounded time. No failure here changes the result of a run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from owui_vault.context.context import OperationContext
from owui_vault.errors import CancelledError, VaultError
from owui_vault.model import Event, EventKind
from owui_vault.system.unwinding import on_failure

_log = logging.getLogger(__name__)

TELLING_SECONDS = 10.0


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
    """Hand an event of an operation by hand to whoever hears such; returns a warning for each that failed."""
    event = Event(instance=context.series(), operation=operation, kind=EventKind(kind), detail=detail)
    warnings = []
    for each in context.notifiers:
        if not each.plans and each.hears(event.kind, ""):
            failed = in_time(partial(each.notifier.notify, event))
            if failed:
                _log.warning("notifier %s failed: %s", each.called, failed)
                warnings.append(f"{each.called} failed: {failed}")
    return tuple(warnings)


def in_time(act: Callable[[], None], seconds: float = TELLING_SECONDS) -> str:
    """Do what may hang, and wait for it no longer than that; what went wrong, empty where nothing did.

    In a thread of its own, which nobody waits for at the end either.
    """
    answers: list[str] = []

    def attempt() -> None:
        try:
            act()
        except Exception as error:  # a notifier: may raise anything, and what was done is done
            answers.append(_said(error))
        else:
            answers.append("")

    thread = threading.Thread(target=attempt, name="telling", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} s"


def _said(error: Exception) -> str:
    """What was raised, without addresses: they hold passwords and tokens."""
    from owui_vault.notify.addresses import without_addresses  # noqa: PLC0415  only where somebody could not be told

    text = error.message if isinstance(error, VaultError) else str(error)
    return without_addresses(text) or type(error).__name__


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


def is_regular(when: Collection[EventKind]) -> bool:
    """Whether somebody hears while all is well, so that its absence can be noticed."""
    return EventKind.SUCCESS in when or EventKind.SUMMARY in when


def silence_warnings(
    plans: Sequence[str],
    *,
    has_heartbeat: bool,
    with_heartbeat: Collection[str] = (),
    regularly_told: Sequence[Collection[str]] = (),
) -> Iterator[str]:
    """What to say of plans that nobody would miss: a machine that is off tells nobody.

    `regularly_told`: for each address that hears of success or gets the summary, about which plans; none named: all.
    """
    if has_heartbeat or any(not about for about in regularly_told):
        return
    missed = set(with_heartbeat).union(*regularly_told)
    silent = [each for each in plans if each not in missed]
    if silent:
        yield (
            f"nobody would notice that {', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not run any more:"
            " what does not run tells nobody. Set a `heartbeat`, or add `success` or `summary` to what is told"
        )
