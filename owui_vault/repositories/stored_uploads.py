"""What each repository's newest snapshot holds of the uploads (`known_uploads`), remembered beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from owui_vault.capture.child.known_uploads import IN_DOUBT, KnownUpload, read_known, to_bytes
from owui_vault.capture.release import Released, release_uploads
from owui_vault.context.context import OperationContext
from owui_vault.model import RepositoryResult
from owui_vault.repositories.listing import RepositoryListing
from owui_vault.system.durable_files import write_durably

_log = logging.getLogger(__name__)


class KnownUploads:
    """The uploads of one run, from what is known before it to what is known after it."""

    def __init__(self, context: OperationContext, surveyed: Sequence[RepositoryListing]) -> None:
        self._series = context.series()
        self._places = {each.repository.name: _place(context, each) for each in surveyed if not each.error}
        self._parents = {each.repository.name: _newest(each, self._series) for each in surveyed}
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
            _log.warning("could not note the uploads: %s", error)
            return
        for name, path in self._places.items() if released else ():
            change = _after_storing if name in self._stored else _after_links
            try:
                write_durably(path, to_bytes(change(read_known(path), released, self._sequence)))
            except OSError as error:
                _log.warning("could not note the uploads of %s: %s", name, error)


def _newest(surveyed: RepositoryListing, series: str) -> int:
    return max((each.label.sequence for each in surveyed.series(series) if each.label), default=0)


def _place(context: OperationContext, surveyed: RepositoryListing) -> Path:
    repository = surveyed.repository
    return context.state.repository_folder(repository.name, repository.engine.location) / f"uploads-{context.series()}"


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
