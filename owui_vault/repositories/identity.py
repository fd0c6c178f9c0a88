"""Which repository is which: no two configured ones are the same store or copies of it, and none went back in time.

A store under two names is one copy where two were meant, and its nights count twice. A copy made with `cp` continues
the same counter with the same key (borg), or is pruned by what the other holds. Locations show neither: symbolic links,
bind mounts and addresses give one place many names. The ids in the repositories do show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.errors import RepositoryRolledBackError, SameRepositoryError, VaultError
from owui_vault.model import RepositoryInfo, Snapshot
from owui_vault.model.json_codec import local_text
from owui_vault.repositories.listing import RepositoryListing
from owui_vault.repositories.overlap import place_of
from owui_vault.repositories.repository_client import RepositoryClient


def require_distinct(
    context: OperationContext, surveyed: Sequence[RepositoryListing] = (), callbacks: Callbacks | None = None
) -> None:
    """Raise SameRepositoryError where two configured repositories are one, or one is a copy of the other.

    Goes by what is remembered of each; `surveyed` shows a copy that was put in the place of another repository since.
    Whoever is suspected is asked again, so that a memory of what lay there once refuses nothing.
    """
    clients = [RepositoryClient(context, each, callbacks) for each in context.repositories]
    remembered = {each.name: each.memory.id for each in clients}
    stored = {each.name: {one.engine_id for one in each.snapshots} for each in surveyed}
    for one, other in combinations(clients, 2):
        alike = remembered[one.name] and remembered[one.name] == remembered[other.name]
        shared = not stored.get(one.name, set()).isdisjoint(stored.get(other.name, set()))
        if one.repository.engine.name == other.repository.engine.name and (alike or shared):
            ids = [_id_now(each) for each in (one, other)]
            if ids[0] and ids[0] == ids[1]:
                raise _same(one.repository, other.repository, ids[0])


def require_new(context: OperationContext, repository: Repository, info: RepositoryInfo) -> None:
    """Raise SameRepositoryError where another configured repository has the id that answers here."""
    for other in context.repositories:
        if other.name != repository.name and other.engine.name == repository.engine.name:
            known = RepositoryClient(context, other)
            if known.memory.id == info.id and _id_now(known) == info.id:
                first, second = (each for each in context.repositories if each in (other, repository))
                raise _same(first, second, info.id)


def _id_now(client: RepositoryClient) -> str:
    try:
        return client.inspect().id
    except VaultError:  # it does not answer: it is what it was
        return client.memory.id


_COPIED = {
    "borg": " Two copies of a borg repository must never both be written to: each continues the same counter with"
    " the same key, so that different data are encrypted with the same stream.",
    "restic": " `restic copy` brings the older snapshots over.",
}


def _same(one: Repository, other: Repository, identity: str) -> SameRepositoryError:
    names = f"the repositories {one.name!r} and {other.name!r}"
    if _is_same_place(one, other):
        return SameRepositoryError(
            f"{names} are one and the same store ({identity[:10]}) under two names",
            hint="Give each a location of its own: two copies in one place are one copy. Until then remove one of"
            " them from the configuration.",
        )
    return SameRepositoryError(
        f"{names} have the same id ({identity[:10]}): they are one store under two names, or one is a copy of the"
        " other",
        hint="Remove one of them from the configuration. For a second copy make a new repository at an empty place with"
        " `init` (`init --again` where this one was)." + _COPIED.get(one.engine.name, ""),
    )


def _is_same_place(one: Repository, other: Repository) -> bool:
    places = place_of(one), place_of(other)
    try:
        return bool(places[0] and places[1] and places[0].samefile(places[1]))
    except OSError:
        return False


def rolled_back(client: RepositoryClient, snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """What is missing among `snapshots` though this machine stored it there, and nothing newer is in its series.

    Where something newer is there, it went as old ones do: by somebody's retention.
    """
    for series, last in client.memory.last:
        newest = max((each.sequence for each in snapshots if each.instance == series), default=-1)
        if last.instant and newest < last.sequence:
            yield (
                f"snapshot {last.id} of {local_text(last.instant)}, the newest that this machine stored in"
                f" {client.name!r}, is no longer there: an older state of the repository was put back, or"
                " the snapshot was removed"
            )


def require_current(client: RepositoryClient, snapshots: Sequence[Snapshot]) -> None:
    """Raise RepositoryRolledBackError rather than decide what to delete by a list that has lost its newest entries."""
    for missing in rolled_back(client, snapshots):
        raise RepositoryRolledBackError(
            f"nothing is pruned: {missing}",
            engine=client.repository.engine.name,
            hint="Find out which. Then take a snapshot, or run `init --again`, which accepts the repository as it is.",
        )
