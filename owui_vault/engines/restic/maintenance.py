"""Listing, tagging, forgetting, pruning and checking with restic."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from owui_vault.engines.common.labels import label_to_tags
from owui_vault.engines.restic import questions, unconfirmed
from owui_vault.engines.restic.errors import ENGINE, kind_of
from owui_vault.engines.restic.monitor import TextMonitor
from owui_vault.engines.restic.output import freed_bytes, problems_in, snapshots_of
from owui_vault.engines.restic.program import Restic, Sinks
from owui_vault.errors import (
    EngineError,
    RepositoryDamagedError,
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryUnreachableError,
    SnapshotMissingError,
    WrongPassphraseError,
)
from owui_vault.model import Label, Outcome, Progress, Snapshot, Step

logger = logging.getLogger(__name__)

_MOST_IDS = 1000  # of 65 bytes each: well below what one command takes
# Of a store that this user may only read from, an S3 key for one. The same words begin "already locked".
_NO_LOCK_WRITTEN = re.compile(r"unable to create lock in backend|Save\(<lock/")
_IS_LOCKED = re.compile(r"already locked")
_APPEND_ONLY = "If the server is append-only, do this from where it is not."
_KEEPS_FROM_LOOKING = (
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryUnreachableError,
    WrongPassphraseError,
)


def listed(restic: Restic) -> tuple[Snapshot, ...]:
    """Everything in the repository, oldest first. Takes no lock: a stale one must not hide what can be restored."""
    doubted = unconfirmed.unconfirmed_ids(restic.call.folder)
    return tuple(
        replace(each, label=incomplete(each.label)) if each.label and each.label.id in doubted else each
        for each in as_labelled(restic)
    )


def as_labelled(restic: Restic) -> tuple[Snapshot, ...]:
    """The same, believing what the repository says."""
    return snapshots_of(restic.ask(questions.snapshots, "--no-lock"))


def incomplete(label: Label) -> Label:
    """The label of a snapshot that lacks something."""
    return replace(label, outcome=Outcome.INCOMPLETE)


def settle_unconfirmed(restic: Restic) -> None:
    """Say in the repository what only we know so far: that some snapshots are not complete.

    Keeps nobody from working: what cannot be said now will be said by a later run.
    """
    folder = restic.call.folder
    doubts = {each for each in unconfirmed.unconfirmed_ids(folder) if not unconfirmed.is_being_stored(folder, each)}
    if not doubts:
        return
    there = [(each, each.label) for each in as_labelled(restic) if each.label and each.label.id in doubts]
    said = {label.id for _, label in there if label.outcome is Outcome.INCOMPLETE}
    for each, label in there:
        try:
            if label.id not in said:  # where nothing can be deleted, saying it again would add one more each time
                set_label(restic, each.engine_id, incomplete(label))
            unconfirmed.confirm(folder, label.id)
        except EngineError as error:
            logger.warning("snapshot %s in %s is still listed as complete: %s", label.id, restic.shown, error.message)
    for missing in doubts - {label.id for _, label in there}:
        if unconfirmed.is_abandoned(folder, missing):
            unconfirmed.confirm(folder, missing)


def _one(snapshots: Iterable[Snapshot], engine_id: str, shown: str) -> Snapshot:
    found = [each for each in snapshots if each.engine_id == engine_id]
    if not found:
        raise SnapshotMissingError(
            f"there is no snapshot {engine_id!r} in {shown}", engine=ENGINE, hint="List what it holds with `snapshots`."
        )
    return found[0]


def relabel(restic: Restic, engine_id: str, label: Label) -> Snapshot:
    """Replace the label, unless it is the same already."""
    found = _one(as_labelled(restic), engine_id, restic.shown)
    version = (found.label.engine_version if found.label else "") or label.engine_version
    wanted = replace(label, engine=ENGINE, engine_version=version)
    return found if found.label == wanted else set_label(restic, engine_id, wanted)


def set_label(restic: Restic, engine_id: str, label: Label) -> Snapshot:
    """Set the tags. An append-only server keeps the old snapshot as well, with status 0; so look afterwards."""
    before = {each.engine_id for each in as_labelled(restic)}
    tags = [word for tag in label_to_tags(label) for word in ("--set", tag)]
    restic.run_checked("tag", *tags, engine_id, short=True)
    after = {each.engine_id: each for each in as_labelled(restic)}
    made = [each for each in after.values() if each.engine_id not in before and each.label == label]
    if engine_id in after or len(made) != 1:
        raise EngineError(
            f"the label of snapshot {engine_id[:8]} in {restic.shown} could not be replaced",
            engine=ENGINE,
            hint=_APPEND_ONLY,
        )
    return made[0]


def copy_from(restic: Restic, source: Restic, engine_ids: Sequence[str]) -> None:
    """Copy these if all of them are there. Asked for an id it does not know, restic warns and says status 0.

    A doubt of what a killed run might have stored under the same id of ours is over then.
    """
    there = {each.engine_id: each for each in as_labelled(source)}
    for missing in (each for each in engine_ids if each not in there):
        raise SnapshotMissingError(
            f"there is no snapshot {missing!r} in {source.shown}", engine=ENGINE, hint="List them with `snapshots`."
        )
    for first in range(0, len(engine_ids), _MOST_IDS):
        text = TextMonitor(restic.call, Step.STORE)
        ids = engine_ids[first : first + _MOST_IDS]
        both = restic.reading_from(source)
        both.run_checked("copy", *ids, sinks=Sinks(stdout=text.stdout), monitor=text.monitor)
        for copied in (there[each].id for each in ids):
            if not unconfirmed.is_being_stored(restic.call.folder, copied):
                unconfirmed.confirm(restic.call.folder, copied)


def remove(restic: Restic, engine_ids: Sequence[str]) -> None:
    """Forget these if all of them are there, and everything that is there could be listed."""
    there = listed(restic)
    if engine_ids and restic.passed_over:
        raise RepositoryDamagedError(
            f"snapshots in {restic.shown} cannot be read, so what would be left is unknown: {restic.passed_over[0]}",
            engine=ENGINE,
            hint="Nothing was removed. Run `verify`, and restic's own `repair` commands on a copy.",
        )
    going = [_one(there, engine_id, restic.shown) for engine_id in engine_ids]
    if going:
        forget(restic, engine_ids)
    for each in going:
        unconfirmed.confirm(restic.call.folder, each.id)


def forget(restic: Restic, engine_ids: Sequence[str]) -> None:
    """Forget these, and look whether they are gone: status 0 also means "ignored", or that a server refused."""
    refused = None
    try:
        _forget(restic, engine_ids)
    except RepositoryUnreachableError as error:  # "403 Forbidden" of an append-only server
        refused = error
    left = {each.engine_id for each in listed(restic)} & set(engine_ids)
    if left:
        raise EngineError(
            f"{len(left)} of {len(engine_ids)} snapshots could not be removed from {restic.shown}",
            engine=ENGINE,
            hint=_APPEND_ONLY,
        ) from refused


def _forget(restic: Restic, engine_ids: Sequence[str]) -> None:
    if len(engine_ids) == 1:
        restic.ask(lambda base: questions.forget(base, engine_ids[0]))
        return
    for start in range(0, len(engine_ids), _MOST_IDS):
        restic.run_checked("forget", *engine_ids[start : start + _MOST_IDS])


def compact(restic: Restic) -> int | None:
    """Prune. Returns how much that freed, as far as restic's own rounded number tells."""
    restic.call.progress(Progress(step=Step.COMPACT))
    text = TextMonitor(restic.call, Step.COMPACT)
    restic.run_checked("prune", sinks=Sinks(stdout=text.stdout), monitor=text.monitor)
    return freed_bytes(text.lines)


def verify(restic: Restic, read_data: float, *, locked: bool = True) -> tuple[str, ...]:
    """Check structure, and this share of the data."""
    restic.call.progress(Progress(step=Step.VERIFY))
    text = TextMonitor(restic.call, Step.VERIFY)
    share = [] if read_data <= 0 else ["--read-data"] if read_data >= 1 else [f"--read-data-subset={read_data:.4%}"]
    flags = [] if locked else ["--no-lock"]
    result = restic.run("check", *flags, *share, sinks=Sinks(stdout=text.stdout), monitor=text.monitor)
    if result.status == 0:
        return ()
    told = "\n".join(result.stderr)
    if locked and _NO_LOCK_WRITTEN.search(told) and not _IS_LOCKED.search(told):
        logger.info("%s cannot be locked: it is checked without a lock", restic.shown)
        return verify(restic, read_data, locked=False)
    if issubclass(kind_of(result.status, told), _KEEPS_FROM_LOOKING):
        raise restic.error(result.status, result.stderr, result.argv)
    return tuple(restic.clean(problem) for problem in problems_in(result.stderr))
