"""Gathers what the page shows: the status, the runs of the last months, and every snapshot that is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

from owui_vault.errors import VaultError
from owui_vault.model.manifest import ALL, VERIFIED, LedgerEntry
from owui_vault.model.runs import PlanStep, RunOutcome, RunRecord
from owui_vault.model.snapshots import Snapshot
from owui_vault.pages.page_values import Depth, Measurement, PageFacts, PointOnPage
from owui_vault.repositories.listing import RepositoryListing, survey
from owui_vault.service.overdue import is_believed
from owui_vault.service.parts import Service
from owui_vault.service.status import status
from owui_vault.version import VERSION

_WINDOW = timedelta(days=100)  # a little more than the calendar shows


def page_facts(
    service: Service,
    max_age: timedelta | None,
    *,
    offline: bool,
    silent: Mapping[str, VaultError] | None = None,
) -> PageFacts:
    """What is known now: offline from this machine's state alone, otherwise from the repositories as well.

    `silent` are those that did not answer a moment ago.
    """
    context = service.context
    series = context.series()
    surveyed = () if offline else survey(context, context.select(None), silent=silent)
    listings = None if offline else {each.name: each for each in surveyed}
    report = status(service, max_age, offline=offline, listings=listings)
    history = service.ledger.read_all()
    since = report.at - _WINDOW
    runs = sorted(
        (each for each in history.runs if since <= each.began and is_believed(each.began, report.at)),
        key=lambda each: each.began,
    )
    checks = context.state.ledger(series)
    points = {each.id: each for each in _remembered(runs, checks)}
    listed = tuple(_listed(listings or {}, series))
    for each in listed:
        known = points.get(each.id)
        points[each.id] = replace(
            each,
            depth=max(each.depth, known.depth) if known and each.depth > Depth.INCOMPLETE else each.depth,
            size_bytes=each.size_bytes or (known.size_bytes if known else None),
            added_bytes=known.added_bytes if known else None,
        )
    there = {each.id for each in listed}
    asked_all = listings is not None and not any(each.error for each in listings.values())
    marked = [replace(each, is_gone=asked_all and each.id not in there) for each in points.values()]
    return PageFacts(
        series=series,
        version=VERSION,
        status=report,
        runs=tuple(runs),
        points=tuple(
            sorted((each for each in marked if is_believed(each.instant, report.at)), key=lambda each: each.instant)
        ),
        measurements=tuple(
            Measurement(repository=each.repository, at=each.at, size_bytes=each.size_bytes)
            for each in sorted(history.measured, key=lambda each: each.at)
            if each.size_bytes is not None and since <= each.at and is_believed(each.at, report.at)
        ),
    )


def _remembered(runs: Iterable[RunRecord], checks: Iterable[LedgerEntry]) -> Iterator[PointOnPage]:
    """What plans of this machine stored; of one in several repositories the best, and all that it added."""
    good = [each for each in checks if each.kind == VERIFIED and each.ok]
    verified = {each.snapshot for each in good}
    read = {each.snapshot for each in good if each.depth == ALL}
    for run in runs:
        step = run.step(PlanStep.SNAPSHOT)
        stored = [each for each in (step.results if step else ()) if each.snapshot and each.instant]
        for id_ in dict.fromkeys(each.snapshot for each in stored):
            results = [each for each in stored if each.snapshot == id_]
            complete = any(each.outcome is RunOutcome.SUCCESS for each in results)
            added = [each.added_bytes for each in results if each.added_bytes is not None]
            instant = results[0].instant
            assert instant  # noqa: S101  looked at above
            yield PointOnPage(
                id=id_,
                instant=instant,
                depth=_depth(complete=complete, verified=id_ in verified, all_read=id_ in read),
                size_bytes=next((each.size_bytes for each in results if each.size_bytes is not None), None),
                added_bytes=sum(added) if added else None,
            )


def _listed(listings: Mapping[str, RepositoryListing], series: str) -> Iterator[PointOnPage]:
    by_id: dict[str, list[Snapshot]] = {}
    for listing in listings.values():
        for each in listing.series(series):
            by_id.setdefault(each.id, []).append(each)
    for id_, copies in by_id.items():
        yield PointOnPage(
            id=id_,
            instant=copies[0].instant,
            depth=_depth(
                complete=any(each.is_restore_point for each in copies),
                verified=any(each.verified_at for each in copies),
                all_read=any(each.verified_all_at for each in copies),
            ),
            size_bytes=next((each.size_bytes for each in copies if each.size_bytes is not None), None),
        )


def _depth(*, complete: bool, verified: bool, all_read: bool) -> Depth:
    if not complete:
        return Depth.INCOMPLETE
    return Depth.ALL_READ if all_read else Depth.VERIFIED if verified else Depth.COMPLETE
