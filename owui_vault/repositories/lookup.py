"""Finds a snapshot and reads its manifest: the first step of restore, verify and show."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from owui_vault.components.names import KEY_NAME, OUTSIDE
from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.context.scratch import scratch
from owui_vault.context.state import StateDirectory
from owui_vault.errors import (
    ContentMismatchError,
    SnapshotAmbiguousError,
    SnapshotMissingError,
    VaultError,
)
from owui_vault.manifest.documents import (
    LARGEST_MANIFEST_BYTES,
    MANIFEST_NAME,
    manifest_from_bytes,
)
from owui_vault.model import Entry, Manifest, Outcome, Secret, Snapshot, UnansweredRepository
from owui_vault.repositories.listing import later_format
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.repositories.selectors import choose, exactly, judged, later_instead

_log = logging.getLogger(__name__)
SkippedRepositories: TypeAlias = tuple[tuple[str, VaultError], ...]  # names of repositories, and why each gave nothing
LATE = "files changed in the stage, or could not be read, while this repository's engine stored them"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedSnapshot:
    """A snapshot and the repository that holds it. `passed_over`: repositories before it, with what they said."""

    client: RepositoryClient
    snapshot: Snapshot
    passed_over: SkippedRepositories = ()
    unanswered: tuple[UnansweredRepository, ...] = ()

    @property
    def repository(self) -> str:
        """The repository's name."""
        return self.client.name

    def fetch(self, target: Path, paths: Sequence[str] = ()) -> None:
        """Write the snapshot, or these paths of it, into an existing directory."""
        self.client.fetch(self.snapshot, target, paths)

    def contents(self) -> Iterator[Entry]:
        """All its paths."""
        return self.client.contents(self.snapshot)

    def elsewhere(self) -> Iterator[LocatedSnapshot]:
        """The same snapshot in the other repositories that answer, in their order; each is asked when it is needed."""
        for client in self.client.others():
            try:
                there = [each for each in judged(client.list()) if each.label]
            except Exception as raised:  # one repository of several
                error = client.failure(raised, "looking at")
                _log.warning("could not look for %s in %s: %s", self.snapshot.id, client.name, error.message)
                continue
            same = exactly(there, self.snapshot.id)
            if same and same.instant == self.snapshot.instant and same.outcome is self.snapshot.outcome:
                yield LocatedSnapshot(client=client, snapshot=same)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever trusts that this is the newest one must know."""
        return tuple(
            f"repository {name!r} was skipped ({error.message}); this snapshot is from {self.repository!r}"
            for name, error in self.passed_over
        )


def find(
    context: OperationContext,
    wanted: Snapshot | str,
    name: str | None,
    callbacks: Callbacks,
    *,
    instance: str | None = None,
) -> LocatedSnapshot:
    """Find the snapshot in the first repository that answers and has it.

    An exact id or name is looked for in every series; `latest`, dates and beginnings in one: `instance`, else the
    configured one, else the only one there is. Raises SnapshotAmbiguousError at once. Where none has it, what kept us
    from looking is raised before SnapshotMissingError: the snapshot may be there.
    """
    found, passed = search(context, wanted, name, callbacks, instance=instance)
    if found is None:
        raise failure(passed)
    return found


def search(
    context: OperationContext,
    wanted: Snapshot | str,
    name: str | None,
    callbacks: Callbacks,
    *,
    instance: str | None = None,
) -> tuple[LocatedSnapshot | None, SkippedRepositories]:
    """The same, but why repositories were skipped is answered also where none has it."""
    passed: list[tuple[str, VaultError]] = []
    unanswered: list[UnansweredRepository] = []
    for repository in context.select(name or (wanted.repository if isinstance(wanted, Snapshot) else None)):
        client = RepositoryClient(context, repository, callbacks)
        try:
            found = _find_in(context, client, wanted, instance=instance)
        except SnapshotAmbiguousError:
            raise
        except Exception as raised:  # one repository of several
            error = client.failure(raised, "looking at")
            passed.append((client.name, error))
            if not isinstance(error, SnapshotMissingError):
                unanswered.append(repository.unanswered(error))
            continue
        told = tuple((name, error) for name, error in passed if _matters(error, wanted))
        located = LocatedSnapshot(client=client, snapshot=found, passed_over=told, unanswered=tuple(unanswered))
        return located, tuple(passed)
    return None, tuple(passed)


def _matters(error: VaultError, wanted: Snapshot | str) -> bool:
    """An id means the same everywhere; what is `latest` in one repository need not be so in another."""
    return wanted == "latest" or not isinstance(error, SnapshotMissingError)


def failure(passed: SkippedRepositories) -> VaultError:
    """The one error to raise if no repository had the snapshot."""
    silent = [(name, error) for name, error in passed if not isinstance(error, SnapshotMissingError)]
    _, chosen = (silent or passed)[0]
    others = [f"{name}: {error.message}" for name, error in passed if error.message != chosen.message]
    if others:
        chosen.hint = f"{chosen.hint} Elsewhere: {'; '.join(others)}.".strip()
    return chosen


def _find_in(
    context: OperationContext, client: RepositoryClient, wanted: Snapshot | str, *, instance: str | None
) -> Snapshot:
    there = client.list()
    everything = [each for each in there if each.label]
    later = [each for each in there if each.later and instance in (None, "", each.instance)]
    names = {wanted.engine_id, wanted.id} if isinstance(wanted, Snapshot) else {wanted}
    for each in later:  # also where its id is one that can be read: a later version has relabelled that one
        if (error := later_format(each)) and not names.isdisjoint((each.id, each.engine_id, each.name)):
            raise error
    if isinstance(wanted, Snapshot):  # its engine's id is another one in another repository, or since a relabelling
        same = exactly(everything, wanted.engine_id) or exactly(everything, wanted.id)
        if same is None:
            raise SnapshotMissingError(
                f"there is no snapshot {wanted.id!r} in repository {client.name!r}",
                hint="List what it holds with `snapshots`.",
            )
        return same
    named = exactly([each for each in everything if instance in (None, each.instance)], wanted)
    return named or _of_a_series(context, client.name, (everything, later), wanted, instance=instance)


def _of_a_series(
    context: OperationContext,
    repository: str,
    there: tuple[Sequence[Snapshot], Sequence[Snapshot]],
    wanted: str,
    *,
    instance: str | None,
) -> Snapshot:
    everything, later = there
    names = sorted({each.instance for each in everything})
    series = context.named_series(instance) or (names[0] if len(names) == 1 else None)
    if series is None and names:
        raise SnapshotMissingError(
            f"repository {repository!r} holds {len(names)} series, and {wanted!r} could belong to any",
            hint=f"Choose one with --instance: {', '.join(names)}. An exact id needs none.",
        )
    of_the_series = [each for each in everything if each.instance == series]
    later = [each for each in later if series in (None, each.instance) or not each.instance]
    try:
        found = choose(of_the_series, wanted)
    except SnapshotMissingError as error:
        _refuse_later(later, wanted, None)
        if names and not of_the_series:
            error.hint = f"The series {series!r} is empty here; others are: {', '.join(names)} (--instance)."
        raise
    _refuse_later(later, wanted, found)
    return found


def _refuse_later(later: Sequence[Snapshot], wanted: str, found: Snapshot | None) -> None:
    """Raise LaterFormatError rather than answer with an older one what may mean one that cannot be read here."""
    instead = later_instead(later, wanted, found)
    if instead and (error := later_format(instead)):
        if found:
            error.hint += f" To use the newest that this version reads, give its id: {found.id}."
        raise error


def read_manifest(state: StateDirectory, found: LocatedSnapshot) -> Manifest:
    """The manifest of a snapshot, fetched by itself. Raises ContentMismatchError where it has none that can be read."""
    with scratch(state, "manifest") as target:
        found.fetch(target, (MANIFEST_NAME,))
        return manifest_in(target, found.snapshot)


def read_key(state: StateDirectory, found: LocatedSnapshot) -> Secret | None:
    """The secret key a snapshot holds; None where it holds none."""
    with scratch(state, "key") as target:
        found.fetch(target, (f"{OUTSIDE}/{KEY_NAME}",))
        path = target / OUTSIDE / KEY_NAME
        is_plain = path.is_file() and not path.is_symlink() and not path.parent.is_symlink()
        return Secret(path.read_text(errors="surrogateescape")) if is_plain else None


def manifest_in(tree: Path, snapshot: Snapshot) -> Manifest:
    """The manifest of a fetched tree, if it belongs to the snapshot it came with.

    The label is younger: it says INCOMPLETE where something went wrong only after the manifest was written.
    """
    path = tree / MANIFEST_NAME
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_MANIFEST_BYTES:
        raise ContentMismatchError(
            f"snapshot {snapshot.id} holds no {MANIFEST_NAME}",
            hint="Choose another snapshot, or restore with restic or borg alone.",
        )
    manifest = manifest_from_bytes(path.read_bytes())
    if snapshot.label and manifest.id != snapshot.label.id:
        raise ContentMismatchError(
            f"the manifest in snapshot {snapshot.id} says it is {manifest.id}",
            hint="The repository's labels were changed by hand; choose another snapshot.",
        )
    if snapshot.label and snapshot.outcome is Outcome.INCOMPLETE and manifest.outcome is Outcome.COMPLETE:
        return replace(manifest, outcome=Outcome.INCOMPLETE, problems=(*manifest.problems, LATE))
    return manifest
