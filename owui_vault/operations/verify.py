"""Verifies a snapshot: what a repository returns, compared with the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from owui_vault.components.providers import PROVIDERS
from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.context.scratch import scratch
from owui_vault.errors import (
    ContentMismatchError,
    EngineError,
    RepositoryDamagedError,
    SnapshotMissingError,
    VaultError,
)
from owui_vault.instance.layout import component_of
from owui_vault.manifest.compare import Comparison, compare_with_manifest
from owui_vault.manifest.documents import MANIFEST_NAME
from owui_vault.model import (
    ALL,
    ENCRYPTED,
    Component,
    DatabaseRecord,
    Entry,
    FileRecord,
    FullCheck,
    LedgerEntry,
    Manifest,
    Progress,
    Snapshot,
    Step,
    UnansweredRepository,
    VerifiedPart,
    VerifyDepth,
    VerifyReport,
)
from owui_vault.model.manifest import VERIFIED
from owui_vault.operations.full_checks import check_now, warnings_of
from owui_vault.operations.notifications import notify
from owui_vault.repositories.lookup import LocatedSnapshot, SkippedRepositories, failure, manifest_in, search
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.repositories.selectors import may_name_one
from owui_vault.system.durable_files import free_bytes, require_space

_SPARE_BYTES = 64 << 20
_FETCHED = tuple(each.name for each in PROVIDERS if each.databases)
_ALWAYS_FETCHED = (MANIFEST_NAME, *(f"data/{each.place}" for each in PROVIDERS if each.databases))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What the caller asked for. `read_data`: the share of the repository that is read; 1 fetches all files as well."""

    snapshot: Snapshot | str = "latest"
    repository: str | None = None
    instance: str | None = None
    read_data: float = 0.0
    callbacks: Callbacks = field(default_factory=Callbacks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What was found in a snapshot, and what was looked at for it."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parts: tuple[VerifiedPart, ...] = ()
    full_checks: tuple[FullCheck, ...] = ()


def verify(context: OperationContext, request: VerifyRequest) -> VerifyReport:
    """Check the repository, then fetch and check what a restore would bring back.

    What is wrong is answered in words; only what prevents looking (no repository, wrong passphrase, …) is raised.
    """
    started = context.clock.monotonic()
    remarks: list[str] = []
    request = replace(request, callbacks=replace(request.callbacks, warn=remarks.append))
    found, passed = search(context, request.snapshot, request.repository, request.callbacks, instance=request.instance)
    damaged = tuple((name, error) for name, error in passed if isinstance(error, RepositoryDamagedError))
    problems = [_in_words(error, name) for name, error in damaged]
    warnings: list[str] = []
    if found is None:
        if isinstance(request.snapshot, str) and not may_name_one(request.snapshot) and not damaged:
            raise failure(passed)  # a slip, and to check a repository takes hours
        problems += _where_nothing_was_found(context, request, passed)
        if not problems:
            raise failure(passed)
        warnings += (f"{name}: {error.message}" for name, error in _but(passed, damaged))
        content = _Content()
    else:
        problems += _check_repository(found.client, request.read_data)
        content = _check_snapshot(context, request, found, is_damaged=bool(problems))
        problems += content.problems
        warnings += (*replace(found, passed_over=_but(found.passed_over, damaged)).warnings, *content.warnings)
    report = VerifyReport(
        snapshot=found.snapshot if found else None,
        repository=found.repository if found else (damaged or passed)[0][0],
        problems=tuple(problems),
        warnings=(*warnings, *dict.fromkeys(remarks)),
        read_data=request.read_data,
        took=timedelta(seconds=context.clock.monotonic() - started),
        parts=content.parts,
        full_checks=content.full_checks,
        unanswered=_unanswered(found),
    )
    return _noted(context, request, report)


def _unanswered(found: LocatedSnapshot | None) -> tuple[UnansweredRepository, ...]:
    """Those that said nothing; what is damaged has its place among the problems."""
    silent = found.unanswered if found else ()
    return tuple(each for each in silent if not isinstance(each.error, RepositoryDamagedError))


def _but(passed: SkippedRepositories, damaged: SkippedRepositories) -> SkippedRepositories:
    return tuple(each for each in passed if each not in damaged)


def _in_words(error: VaultError, repository: str) -> str:
    return f"{repository}: {error.message}. {error.hint}".rstrip()


def _where_nothing_was_found(
    context: OperationContext, request: VerifyRequest, passed: SkippedRepositories
) -> tuple[str, ...]:
    """Problems of repositories that have no such snapshot: one whose own record is damaged is not listed."""
    empty = [name for name, error in passed if isinstance(error, SnapshotMissingError)]
    repositories = context.select(empty) if empty else ()
    clients = [RepositoryClient(context, each, request.callbacks) for each in repositories]
    checked = [_check_repository(each, request.read_data) for each in clients]
    return tuple(problem for problems in checked for problem in problems)


def _check_repository(client: RepositoryClient, read_data: float) -> tuple[str, ...]:
    client.progress(Step.VERIFY, "checking the repository")
    try:
        return client.verify(read_data)
    except RepositoryDamagedError as error:
        return (_in_words(error, client.name),)


def _check_snapshot(
    context: OperationContext, request: VerifyRequest, found: LocatedSnapshot, *, is_damaged: bool
) -> _Content:
    """Fetch database, vectors and manifest (everything with read_data 1) and compare; the rest is compared by list.

    Where the repository is known to be damaged, an engine that gives up for whatever reason is part of that.
    """
    paths = () if request.read_data >= 1 else _ALWAYS_FETCHED
    with scratch(context.state, "verify") as folder:
        try:
            listing = found.contents() if paths else None  # before the fetch, which then need not look for itself
            manifest = _fetch(found, folder, paths)
            content = _compare(request, manifest, listing, folder)
        except EngineError as error:
            if not is_damaged and not isinstance(error, RepositoryDamagedError):
                raise
            return _Content(problems=(f"snapshot {found.snapshot.id} cannot be fetched: {error.message}",))
        except ContentMismatchError as error:
            return _Content(problems=(error.message,))
        identical = [each for each in manifest.databases if each.path in content.identical and each.check != ENCRYPTED]
        request.callbacks.progress(Progress(step=Step.CHECK, text="SQLite's full check"))
        checks = check_now(context, folder / "data", identical, request.callbacks)
    incomplete = tuple(f"this snapshot is INCOMPLETE: {problem}" for problem in manifest.problems)
    undone = tuple(f"{each.path} could not be checked in full: {each.not_done}" for each in checks if each.not_done)
    return _Content(
        problems=(*content.problems, *content.changed),
        warnings=(*warnings_of(checks), *incomplete, *undone, *content.doubtful),
        parts=tuple(_looked_at(manifest, content, everything=not paths)),
        full_checks=checks,
    )


def _looked_at(manifest: Manifest, content: Comparison, *, everything: bool) -> Iterator[VerifiedPart]:
    """What was compared, what was read, and what was only compared with the list."""
    for record in manifest.components:
        databases = [each for each in manifest.databases if _is_of(each, record.name, content)]
        indexes = [each for each in manifest.vector_files if _is_of(each, record.name, content)]
        compared = VerifiedPart(
            component=record.name,
            depth=VerifyDepth.CONTENT,
            files=len(databases) + len(indexes),
            size_bytes=sum(each.size_bytes for each in databases) + sum(each.size_bytes for each in indexes),
            databases=len(databases),
        )
        rest = VerifiedPart(
            component=record.name,
            depth=VerifyDepth.READ if everything or record.name in _FETCHED else VerifyDepth.LISTED,
            files=record.files - compared.files,
            size_bytes=record.size_bytes - compared.size_bytes,
        )
        yield from (each for each in (compared, rest) if each.files > 0)


def _is_of(record: DatabaseRecord | FileRecord, component: Component, content: Comparison) -> bool:
    return record.path in content.identical and component_of(record.path) is component


def _fetch(found: LocatedSnapshot, folder: Path, paths: tuple[str, ...]) -> Manifest:
    """In one call of the engine where the whole snapshot would fit, else after its manifest has told the room."""
    found.client.progress(Step.FETCH)
    whole = found.snapshot.size_bytes
    if not whole or free_bytes(folder) < whole + _SPARE_BYTES:
        found.fetch(folder, (MANIFEST_NAME,))
        manifest = manifest_in(folder, found.snapshot)
        require_space(folder, _needed_bytes(manifest, everything=not paths) + _SPARE_BYTES, "verifying")
        (folder / MANIFEST_NAME).unlink()
    found.fetch(folder, paths)
    return manifest_in(folder, found.snapshot)


def _needed_bytes(manifest: Manifest, *, everything: bool) -> int:
    return sum(record.size_bytes for record in manifest.components if everything or record.name in _FETCHED)


def _compare(request: VerifyRequest, manifest: Manifest, listing: Iterator[Entry] | None, folder: Path) -> Comparison:
    request.callbacks.progress(Progress(step=Step.CHECK, text="comparing with the manifest"))
    return compare_with_manifest(
        folder / "data",
        manifest,
        components=None if listing is None else _FETCHED,
        listing=listing,
        cancel=request.callbacks.cancel,
    )


def _noted(context: OperationContext, request: VerifyRequest, report: VerifyReport) -> VerifyReport:
    """Write it into the ledger, which later manifests carry, and notify those who want to know."""
    damage = warnings_of(report.full_checks)
    detail = "; ".join(report.problems[:3] or damage)
    asked = request.snapshot if isinstance(request.snapshot, str) else request.snapshot.id
    entry = LedgerEntry(
        snapshot=report.snapshot.id if report.snapshot else asked,
        repository=report.repository,
        kind=VERIFIED,
        at=context.clock.now(),
        ok=report.ok,
        detail=detail,
        depth=ALL if report.ok and request.read_data >= 1 else "",
    )
    series = (report.snapshot.instance if report.snapshot else "") or context.series(request.instance)
    context.state.remember_full_checks(series, report.full_checks)
    context.state.add_to_ledger(series, entry)
    if not report.ok:
        notify(context, "verify", "failure", detail)
    elif damage:
        notify(context, "verify", "warning", detail)
    return report
