"""Lists the restore points."""

from __future__ import annotations

from owui_vault.context.context import OperationContext
from owui_vault.errors import VaultError
from owui_vault.model import SnapshotList
from owui_vault.repositories.identity import rolled_back
from owui_vault.repositories.listing import later_formats, survey
from owui_vault.repositories.selectors import judged, newest_first, once_each


def list_snapshots(
    context: OperationContext, repository: str | None, instance: str | None, *, everything: bool
) -> SnapshotList:
    """The snapshots of a series in the named repository, or in all, newest first.

    One of several repositories that does not answer is an error: a list that leaves out some would be taken for whole.
    Without a configured instance and without a name, all our series are listed.
    """
    surveyed = survey(context, context.select(repository))
    failure: VaultError | None = next((each.error for each in surveyed if each.error), None)
    if failure:
        answered = ", ".join(each.name for each in surveyed if not each.error)
        if answered:
            failure.hint = f"{failure.hint} {answered} answered: choose one with --from.".strip()
        raise failure
    found = [each for repository_found in surveyed for each in repository_found.snapshots]
    gone = [text for each in surveyed for text in rolled_back(each.client, each.snapshots)]
    series = None if everything else instance or (context.instance.name if context.instance else context.series_name)
    gone += later_formats(found, series)
    if everything:  # also those that a relabelling left behind
        return SnapshotList(newest_first(judged(found)), gone)
    ours = once_each([each for each in found if each.label and series in (None, each.instance)])
    return SnapshotList(newest_first(ours), gone)
