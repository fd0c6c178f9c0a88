"""Storing a described stage in every repository; one that fails does not keep the others from it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from owui_vault.capture.inventory import verify_stage
from owui_vault.errors import CancelledError, VaultError
from owui_vault.model import Captured, Label, Manifest, Outcome, Progress, RepositoryResult, Step
from owui_vault.vault.parts import Parts, Repository, Watch
from owui_vault.vault.survey import Surveyed, patiently

_log = logging.getLogger(__name__)


def store_everywhere(
    parts: Parts, captured: Captured, manifest: Manifest, surveyed: Sequence[Surveyed], watch: Watch
) -> tuple[RepositoryResult, ...]:
    """One result per repository, in order. Raises CancelledError only."""
    results = []
    for each in surveyed:
        try:
            if each.error:
                raise each.error
            results.append(_store(parts, captured, manifest, each, watch))
        except CancelledError:
            raise
        except VaultError as error:
            if watch.cancel.is_set():  # an engine that was interrupted may call it what it likes
                raise CancelledError(f"stopped while storing in {each.repository.name}") from error
            _log.warning("could not store in %s: %s", each.repository.name, error.message)
            results.append(RepositoryResult(repository=each.repository.name, error=error))
    return tuple(results)


def _store(parts: Parts, captured: Captured, manifest: Manifest, surveyed: Surveyed, watch: Watch) -> RepositoryResult:
    started = parts.clock.monotonic()
    repository = surveyed.repository
    call = parts.call(repository, watch)
    watch.progress(Progress(step=Step.STORE, repository=repository.name))
    label = _label(manifest, repository, surveyed)
    receipt = patiently(parts, lambda: repository.engine.store(captured.stage, label, call), watch)
    stored = receipt.snapshot
    if stored.label and stored.is_restore_point and verify_stage(captured):
        # A link shares its bytes with the live file: somebody changed an upload that should never change.
        stored = repository.engine.relabel(stored.engine_id, replace(stored.label, outcome=Outcome.INCOMPLETE), call)
    parts.state.remember_stored(call.folder, manifest.instance, manifest.id)
    took = timedelta(seconds=parts.clock.monotonic() - started)
    _log.info("stored %s in %s: %d bytes added", manifest.id, repository.name, receipt.added_bytes)
    return RepositoryResult(
        repository=repository.name,
        snapshot=replace(stored, repository=repository.name),
        added_bytes=receipt.added_bytes,
        read_bytes=receipt.read_bytes,
        took=took,
    )


def _label(manifest: Manifest, repository: Repository, surveyed: Surveyed) -> Label:
    engine = repository.engine.name
    earlier = (each.label for each in surveyed.series(manifest.instance))
    chunking = next((label.chunking for label in earlier if label and label.engine == engine), "")
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
        chunking=chunking,
    )
