"""Stores a described stage in every repository; one that fails does not affect the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from owui_vault.capture.child.known_uploads import IN_DOUBT, KnownUpload, read_known, to_bytes
from owui_vault.capture.child.stage_listing import verify_stage
from owui_vault.capture.release import Released, release_uploads
from owui_vault.context.context import Callbacks, OperationContext, Repository
from owui_vault.context.state import LastStored, StateDirectory
from owui_vault.errors import CancelledError, VaultError
from owui_vault.model import (
    Captured,
    Label,
    Manifest,
    Outcome,
    RepositoryResult,
    Snapshot,
    Step,
    StoreReceipt,
)
from owui_vault.repositories.listing import RepositoryListing, side_by_side
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.repositories.selectors import once_each
from owui_vault.system.durable_files import write_durably
from owui_vault.version import VERSION

_log = logging.getLogger(__name__)


def store_everywhere(
    context: OperationContext,
    captured: Captured,
    manifest: Manifest,
    surveyed: Sequence[RepositoryListing],
    callbacks: Callbacks,
) -> tuple[RepositoryResult, ...]:
    """One result per repository, in their order, `limits.parallel` of them at a time; the stage lives until the last.

    Raises CancelledError, and what concerns the instance; then the other stores are ended as well.
    """

    def attempt(each: RepositoryListing, theirs: Callbacks) -> RepositoryResult:
        client = each.client.heard_by(theirs)
        try:
            if each.error:
                raise each.error
            return _store(context, captured, manifest, each, client)
        except Exception as raised:  # one repository of several
            error = client.failure(raised, "storing in")
            _log.info("could not store in %s: %s", each.name, error.message)
            return RepositoryResult(repository=each.name, error=error, excused=client.repository.excuses(error))

    return side_by_side(surveyed, attempt, callbacks, at_most=context.limits.parallel)


def _store(
    context: OperationContext,
    captured: Captured,
    manifest: Manifest,
    surveyed: RepositoryListing,
    client: RepositoryClient,
) -> RepositoryResult:
    started = context.clock.monotonic()
    client.progress(Step.STORE)
    # Before: whoever kills us while the engine works must not leave a snapshot that is believed unseen.
    context.state.remember_storing(client.folder, manifest.instance, manifest.id)
    warnings: list[str] = []
    receipt, changed = _stored(context.state, client, captured, _label(manifest, surveyed), warn=warnings.append)
    stored = receipt.snapshot
    if changed and stored.label and stored.is_restore_point:
        # A link shares its bytes with the live file: somebody changed an upload that should never change.
        stored = _demote(client, stored, stored.label)
    last = LastStored(id=manifest.id, engine_id=stored.engine_id, sequence=manifest.sequence, instant=manifest.instant)
    context.state.remember_stored(client.folder, manifest.instance, last)
    took = timedelta(seconds=context.clock.monotonic() - started)
    client.progress(Step.STORE, "stored")
    _log.info("stored %s in %s: %d bytes added", manifest.id, client.name, receipt.added_bytes)
    return RepositoryResult(
        repository=client.name,
        snapshot=replace(stored, repository=client.name),
        added_bytes=receipt.added_bytes,
        read_bytes=receipt.read_bytes,
        skipped=receipt.skipped,
        changed=changed,
        warnings=tuple(warnings),
        took=took,
    )


def _stored(
    state: StateDirectory,
    client: RepositoryClient,
    captured: Captured,
    label: Label,
    *,
    warn: Callable[[str], None],
) -> tuple[StoreReceipt, tuple[str, ...]]:
    """What the engine did, and what had changed by the time it had read the last file."""
    seen: list[tuple[str, ...]] = []  # by the last attempt; those before it found a lock and wrote nothing

    def last_look() -> tuple[str, ...]:
        """For an engine that asks before it writes down anything, what it lists is true from the first moment."""
        seen.append(verify_stage(captured))
        if not seen[-1]:
            state.forget_storing(client.folder, (label.id,))
        return seen[-1]

    try:
        receipt = client.store(captured.stage, label, reread=captured.reread, warn=warn, last_look=last_look)
        return receipt, seen[-1] if seen else verify_stage(captured)
    except VaultError:
        if not verify_stage(captured):  # should it have been stored nevertheless, then it is what it says
            state.forget_storing(client.folder, (label.id,))
        raise


def _demote(client: RepositoryClient, stored: Snapshot, label: Label) -> Snapshot:
    """Relabel what was stored as complete and is not. Where that cannot be done it is removed, and the error raised."""
    try:
        return client.relabel(stored, replace(label, outcome=Outcome.INCOMPLETE))
    except CancelledError:
        raise
    except VaultError:
        client.remove([stored])
        raise


def demote_unconfirmed(
    context: OperationContext, repositories: Sequence[Repository], callbacks: Callbacks
) -> tuple[str, ...]:
    """Make INCOMPLETE what a killed run of this series stored and could not look after; returns a warning for each.

    A repository that does not answer is skipped: its note stays, and until then nobody here believes the snapshot.
    """
    warnings = []
    for repository in repositories:
        client = RepositoryClient(context, repository, callbacks)
        try:
            warnings += _demote_unconfirmed_in(context, client)
        except Exception as raised:  # one repository of several
            error = client.failure(raised, "looking after")
            _log.warning("could not look after %s: %s", repository.name, error.message)
    return tuple(warnings)


def _demote_unconfirmed_in(context: OperationContext, client: RepositoryClient) -> list[str]:
    ids = client.memory.unverified_of(context.series())
    if not ids:
        return []
    client.require_same()  # in another one they are not, and would be forgotten
    warnings = []
    # Where nothing can be deleted, an earlier run has left both entries, and one of them says it already.
    for each in once_each(client.snapshots()):
        if each.label and each.id in ids:
            if each.is_restore_point:
                _demote(client, each, each.label)
            warnings.append(
                f"snapshot {each.id} in {client.name} is INCOMPLETE: the run that stored it was killed before it"
                " could check that its data had not changed"
            )
    context.state.forget_storing(client.folder, ids)
    return warnings


def _label(manifest: Manifest, surveyed: RepositoryListing) -> Label:
    return Label(
        id=manifest.id,
        instance=manifest.instance,
        fingerprint=manifest.fingerprint,
        instant=manifest.instant,
        sequence=manifest.sequence,
        outcome=manifest.outcome,
        mode=manifest.proof.mode,
        tags=manifest.tags,
        application_version=manifest.application.version,
        chunking=surveyed.chunking(manifest.instance),
        size_bytes=sum(each.size_bytes for each in manifest.components),
        plan=manifest.plan,
        users=manifest.users,
        chats=manifest.chats,
        uploads=manifest.uploads,
        version=VERSION,
    )


class KnownUploads:
    """The uploads of one run, from what is known before it to what is known after it."""

    def __init__(self, series: str, surveyed: Sequence[RepositoryListing]) -> None:
        self._series = series
        self._places = {
            each.name: each.client.folder / f"uploads-{self._series}" for each in surveyed if not each.error
        }
        self._parents = {each.name: each.highest(self._series) for each in surveyed}
        self._stored: frozenset[str] = frozenset()
        self._sequence = 0

    def files(self) -> tuple[tuple[Path, int], ...]:
        """For each repository what is known, and the number of the snapshot that its engine will go on from."""
        return tuple((path, self._parents[name]) for name, path in self._places.items())

    def stored(self, results: Sequence[RepositoryResult], sequence: int) -> None:
        """Note which repositories have this snapshot, and its number."""
        self._stored = frozenset(each.repository for each in results if each.snapshot)
        self._sequence = sequence

    @contextmanager
    def remembered(self, work_dir: Path) -> Iterator[None]:
        """Whatever ends the block, `remember` afterwards."""
        try:
            yield
        finally:
            self.remember(work_dir)

    def remember(self, work_dir: Path) -> None:
        """Take our links away, and note what each repository has of the uploads, as they are without them.

        Where that is not possible nothing is lost but time: the next run reads everything again.
        """
        try:
            released = release_uploads(work_dir / "stage", work_dir / "capture" / "inventory.jsonl")
        except (OSError, ValueError) as error:
            _log.warning("could not record the uploads: %s", error)
            return
        for name, path in self._places.items() if released else ():
            change = _after_storing if name in self._stored else _after_links
            try:
                write_durably(path, to_bytes(change(read_known(path), released, self._sequence)))
            except OSError as error:
                _log.warning("could not record the uploads of %s: %s", name, error)


def _after_storing(
    known: dict[int, KnownUpload], released: Sequence[Released], sequence: int
) -> dict[int, KnownUpload]:
    """The snapshot that was just stored is the newest one: nothing else counts any more."""
    found = {}
    for each in released:
        earlier = known.get(each.key)
        same = earlier is not None and (earlier.shape, earlier.identity) == (each.shape, each.before)
        found[each.key] = KnownUpload(each.shape, each.after, earlier.since if earlier and same else sequence)
    return found


def _after_links(known: dict[int, KnownUpload], released: Sequence[Released], _sequence: int) -> dict[int, KnownUpload]:
    """Nothing was stored, but our links moved the ctime of what is as it was."""
    found = dict(known)
    for each in released:
        earlier = known.get(each.key)
        if earlier is not None and each.after != IN_DOUBT and earlier.identity == each.before:
            found[each.key] = earlier._replace(identity=each.after)
    return found
