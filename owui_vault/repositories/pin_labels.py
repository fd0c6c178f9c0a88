"""Pins: what no retention removes. A pin is a field of the label, so that every machine and every copy knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from owui_vault.errors import CancelledError, EngineError, VaultError
from owui_vault.model import Snapshot
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.repositories.selectors import judged

_ADDED = "nothing can be deleted there: it was added a second time, pinned, and the two count as one"


def entries_of(listed: Sequence[Snapshot], wanted: Snapshot) -> tuple[Snapshot, ...]:
    """All entries of one instant of ours: more than one where a relabelling could not remove the first."""
    same = (wanted.instance, wanted.id, wanted.instant)
    return tuple(each for each in listed if each.label and (each.instance, each.id, each.instant) == same)


def set_pinned(client: RepositoryClient, entries: Sequence[Snapshot], *, pinned: bool) -> tuple[Snapshot, str]:
    """Pin one instant, or unpin it; the caller has the repository's lock. Returns it as listed now, and a warning.

    `entries` are all there are of it, as the repository says them. One that is pinned pins the others, so that this
    works where nothing can be deleted: a second entry is added there, and both count once.
    """
    one = judged(entries)[0]
    if one.pinned is pinned:
        return one, ""
    refused: VaultError | None = None
    try:
        for each in [_to_be_pinned(entries)] if pinned else [each for each in entries if each.pinned]:
            _relabel(client, each, pinned=pinned)
    except CancelledError:
        raise
    except VaultError as error:
        refused = error
    now = judged(entries_of(client.list(), one))
    if now and now[0].pinned is pinned:
        return now[0], _ADDED if refused else ""
    raise refused or EngineError(
        f"the label of snapshot {one.id} in {client.name!r} was replaced, and it is not what it was set to",
        engine=client.repository.engine.name,
    )


def _to_be_pinned(entries: Sequence[Snapshot]) -> Snapshot:
    """The entry that is believed: should the others be removed one day, this one says what is true."""
    return next((each for each in entries if not each.is_restore_point), entries[0])


def _relabel(client: RepositoryClient, entry: Snapshot, *, pinned: bool) -> None:
    if entry.label is None:
        raise TypeError("only what has a label of ours is pinned")
    made = client.relabel(entry, replace(entry.label, pinned=pinned))
    client.remember_renamed(entry, made)
