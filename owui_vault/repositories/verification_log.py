"""The ledger of earlier verifications, learned again from the repositories: every manifest carries it.

The state directory may be lost, and another machine may prune. What was verified there protects a snapshot here too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from owui_vault.context.context import OperationContext
from owui_vault.context.state import StateDirectory
from owui_vault.errors import ContentMismatchError, LaterFormatError
from owui_vault.model import LedgerEntry
from owui_vault.repositories.listing import RepositoryListing
from owui_vault.repositories.lookup import LocatedSnapshot, read_manifest
from owui_vault.repositories.selectors import once_each

_MOST_TRIED = 3  # a manifest that cannot be read does not mean that the one before cannot be either
_log = logging.getLogger(__name__)


def learn_ledger(context: OperationContext, surveyed: RepositoryListing) -> bool:
    """Add what the newest manifest of the series knows to what is known here; whether there was anything new."""
    instance = context.series()
    return context.state.learn_ledger(instance, _ledger_of(context.state, surveyed, instance))


def learn_ledger_of_all(context: OperationContext, surveyed: Sequence[RepositoryListing]) -> None:
    """The same from each of these that can be read: another machine may have accepted what stops this one."""
    for each in surveyed:
        _could_learn(context, each)


def learn_lost_ledger(context: OperationContext, surveyed: Sequence[RepositoryListing]) -> None:
    """The same, where this machine has never learned one. A snapshot does not fail for it."""
    series = context.series()
    if context.state.has_learned_ledger(series):
        return
    everywhere = len(surveyed) == len(context.repositories)
    if everywhere and not any(each.error or each.series(series) for each in surveyed):
        context.state.learn_ledger(series, ())  # a series that begins here: there is nothing to be learned later either
        return
    for each in surveyed:
        if each.error or not each.series(series):
            continue
        if _could_learn(context, each):
            return


def _could_learn(context: OperationContext, surveyed: RepositoryListing) -> bool:
    try:
        learn_ledger(context, surveyed)
    except Exception as raised:  # one repository of several
        error = surveyed.client.failure(raised, "learning from")
        _log.warning("the ledger could not be updated from %s: %s", surveyed.name, error.message)
        return False
    return True


def _ledger_of(state: StateDirectory, surveyed: RepositoryListing, instance: str) -> tuple[LedgerEntry, ...]:
    """The newest ledger. Where none was learned here, one that tells nothing new may be of a run that could not learn.

    Such a run may have been this machine's, with what was verified since: that is known here already.
    """
    is_learned, known = state.has_learned_ledger(instance), set(state.ledger(instance))
    for snapshot in once_each(surveyed.series(instance))[:_MOST_TRIED]:
        try:
            ledger = read_manifest(state, LocatedSnapshot(client=surveyed.client, snapshot=snapshot)).ledger
        except (ContentMismatchError, LaterFormatError) as error:
            _log.warning("snapshot %s in %s: %s", snapshot.id, surveyed.name, error.message)
            continue
        if is_learned or not known.issuperset(ledger):
            return ledger
    return ()
