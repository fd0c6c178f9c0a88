"""Lists the restore points."""

from __future__ import annotations

from owui_vault.context.context import OperationContext
from owui_vault.model import SnapshotList
from owui_vault.repositories.identity import rolled_back
from owui_vault.repositories.listing import later_formats, require_one_answer, survey
from owui_vault.repositories.selectors import judged, newest_first, once_each


def list_snapshots(
    context: OperationContext, repository: str | None, instance: str | None, *, everything: bool
) -> SnapshotList:
    """The snapshots of a series in the named repository, or in all that answer, newest first.

    Without a configured instance and without a name, all our series are listed.
    """
    surveyed = survey(context, context.select(repository))
    silent = require_one_answer(surveyed)
    found = [each for repository_found in surveyed for each in repository_found.snapshots]
    gone = [text for each in surveyed if not each.error for text in rolled_back(each.client, each.snapshots)]
    series = None if everything else context.named_series(instance)
    gone += later_formats(found, series)
    if everything:  # also those that a relabelling left behind
        return SnapshotList(newest_first(judged(found)), gone, silent)
    ours = once_each([each for each in found if each.label and series in (None, each.instance)])
    return SnapshotList(newest_first(ours), gone, silent)
