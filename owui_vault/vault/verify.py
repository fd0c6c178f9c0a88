"""Verifying: what a repository gives back, held against the manifest."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from owui_vault.errors import ContentMismatchError, RepositoryDamagedError
from owui_vault.instance.compare import Comparison, compare_with_manifest
from owui_vault.model import Component, LedgerEntry, Manifest, Progress, Snapshot, Step, VerifyReport
from owui_vault.system.files import demand_space, private_directory
from owui_vault.vault.documents import MANIFEST_NAME
from owui_vault.vault.notify import tell
from owui_vault.vault.parts import Parts, Watch
from owui_vault.vault.reading import Found, find, manifest_in
from owui_vault.vault.survey import patiently

_SPARE_BYTES = 64 << 20
_ALWAYS_FETCHED = (MANIFEST_NAME, "data/webui.db", "data/vector_db")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What the caller asked for. `read_data`: the share of the repository that is read; 1 fetches all files as well."""

    snapshot: Snapshot | str = "latest"
    repository: str | None = None
    read_data: float = 0.0
    watch: Watch = field(default_factory=Watch)


def verify(parts: Parts, request: VerifyRequest) -> VerifyReport:
    """Check the repository, then fetch and check what a restore would bring back.

    What is wrong is answered in words; only what prevents looking (no repository, wrong passphrase, …) is raised.
    """
    started = parts.clock.monotonic()
    found = find(parts, request.snapshot, request.repository, request.watch)
    repository = _check_repository(parts, request, found)
    content = _check_snapshot(parts, request, found)
    report = VerifyReport(
        snapshot=found.snapshot,
        problems=(*repository, *content.problems),
        warnings=content.doubtful,
        read_data=request.read_data,
        took=timedelta(seconds=parts.clock.monotonic() - started),
    )
    _note(parts, report)
    return report


def _check_repository(parts: Parts, request: VerifyRequest, found: Found) -> tuple[str, ...]:
    request.watch.progress(Progress(step=Step.VERIFY, repository=found.repository.name, text="checking the repository"))
    call = parts.call(found.repository, request.watch)
    engine = found.repository.engine
    return patiently(parts, lambda: engine.verify(call, read_data=request.read_data), request.watch)


def _check_snapshot(parts: Parts, request: VerifyRequest, found: Found) -> Comparison:
    """Fetch database, vectors and manifest (everything with read_data 1) and compare; the rest is compared by list."""
    paths = () if request.read_data >= 1 else _ALWAYS_FETCHED
    with _scratch(parts) as scratch:
        try:
            manifest = _fetch(parts, request, found, scratch, paths)
            return _compare(parts, request, found, manifest, scratch)
        except (ContentMismatchError, RepositoryDamagedError) as error:
            return Comparison(problems=(error.message,))


@contextmanager
def _scratch(parts: Parts) -> Iterator[Path]:
    """A private place with room: beside the state, not in a /tmp that may be small."""
    base = private_directory(parts.state.root / "scratch")
    with tempfile.TemporaryDirectory(prefix="verify-", dir=base) as folder:
        yield Path(folder)


def _fetch(parts: Parts, request: VerifyRequest, found: Found, scratch: Path, paths: tuple[str, ...]) -> Manifest:
    call = parts.call(found.repository, request.watch)
    engine = found.repository.engine
    request.watch.progress(Progress(step=Step.FETCH, repository=found.repository.name))
    patiently(
        parts, lambda: engine.fetch(found.snapshot.engine_id, scratch, call, paths=(MANIFEST_NAME,)), request.watch
    )
    manifest = manifest_in(scratch, found.snapshot)
    demand_space(scratch, _needed_bytes(manifest, everything=not paths) + _SPARE_BYTES, "verifying")
    (scratch / MANIFEST_NAME).unlink()
    patiently(parts, lambda: engine.fetch(found.snapshot.engine_id, scratch, call, paths=paths), request.watch)
    return manifest


def _needed_bytes(manifest: Manifest, *, everything: bool) -> int:
    fetched = (Component.DATABASE, Component.VECTORS)
    return sum(record.size_bytes for record in manifest.components if everything or record.name in fetched)


def _compare(parts: Parts, request: VerifyRequest, found: Found, manifest: Manifest, scratch: Path) -> Comparison:
    request.watch.progress(Progress(step=Step.CHECK, text="comparing with the manifest"))
    if request.read_data >= 1:
        return compare_with_manifest(scratch / "data", manifest)
    call = parts.call(found.repository, request.watch)
    engine = found.repository.engine
    entries = patiently(parts, lambda: engine.contents(found.snapshot.engine_id, call), request.watch)
    fetched = (Component.DATABASE, Component.VECTORS)
    return compare_with_manifest(scratch / "data", manifest, components=fetched, listing=entries)


def _note(parts: Parts, report: VerifyReport) -> None:
    """Write it into the ledger, which travels in later manifests, and tell those who want to hear of failures."""
    detail = "; ".join(report.problems[:3])
    entry = LedgerEntry(
        snapshot=report.snapshot.id,
        repository=report.snapshot.repository,
        kind="verify",
        at=parts.clock.now(),
        ok=report.ok,
        detail=detail,
    )
    parts.state.add_to_ledger(report.snapshot.instance or parts.series(), entry)
    if not report.ok:
        tell(parts, "verify", "failure", detail)
