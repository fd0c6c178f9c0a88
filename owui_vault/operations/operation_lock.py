"""One operation of a vault at a time, from any thread; notifiers hear of every failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from owui_vault.context.context import OperationContext
from owui_vault.errors import ConfigError
from owui_vault.model import NEVER
from owui_vault.operations.notifications import notifying_failures
from owui_vault.ports import Revealed
from owui_vault.system.lock import Patience


class _Turns:
    """Whose turn it is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        with self.lock:
            self.owner = threading.get_ident()
            try:
                yield
            finally:
                self.owner = None


class OperationLock:
    """Who may work with a vault's parts, and when."""

    def __init__(self, context: OperationContext, turns: _Turns | None = None) -> None:
        self._context = context
        self._turns = turns or _Turns()

    def with_context(self, context: OperationContext) -> OperationLock:
        """The same turns for other parts of the same vault."""
        return OperationLock(context, self._turns)

    @contextmanager
    def reading(self, *, located: bool = False) -> Iterator[OperationContext]:
        """For what only looks: also from within another operation (`hold`, a progress callback) of the same thread.

        `located`: the instance is needed, so that a container is found first.
        """
        if self._turns.owner == threading.get_ident():
            yield self._found(located)
            return
        with self._turns.taken(), self._naming_configuration():
            yield self._found(located)

    @contextmanager
    def writing(
        self, operation: str, *, located: bool = False, cancel: threading.Event = NEVER
    ) -> Iterator[OperationContext]:
        """For everything else. Raises ConfigError within another operation of the same thread.

        Until `cancel` is set it is waited for whoever has one of the files of our state.
        """
        if self._turns.owner == threading.get_ident():
            raise ConfigError(
                f"{operation} was started inside another operation of this vault",
                hint="Finish that one first; inside it you can only read. A second Vault waits for the first.",
            )
        with self._turns.taken(), notifying_failures(self._context, operation), self._naming_configuration():
            yield self._found(located, cancel)

    @contextmanager
    def _naming_configuration(self) -> Iterator[None]:
        """Whoever has several configuration files is told which one was wrong."""
        try:
            yield
        except ConfigError as error:
            file = self._context.config_file
            if file and str(file) not in f"{error.message} {error.hint}":
                error.hint = f"{error.hint} The configuration in use is {file}.".strip()
            raise

    def _found(self, located: bool, cancel: threading.Event = NEVER) -> OperationContext:
        known = self._context
        patience = Patience(
            wait_seconds=known.limits.lock_wait_seconds, clock=known.clock, cancel=cancel, notices=known.notices
        )
        context = replace(known, secrets=Revealed(), state=known.state.waiting(patience))
        return context.with_container() if located else context
