"""One small function per command: from the request through `Vault` to the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from owui_vault import assembly
from owui_vault.cli import exit_codes, requests
from owui_vault.cli.commands import live
from owui_vault.cli.commands.discover import discover, show_discovered
from owui_vault.cli.commands.seal import seal
from owui_vault.cli.commands.session import Answer, Session
from owui_vault.cli.configuration import settings_for
from owui_vault.cli.render import reports, snapshots, verification
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.requests import Invocation, VaultRequest
from owui_vault.cli.signals import Interruption
from owui_vault.errors import VaultError
from owui_vault.model import InitializeReport, PruneReport, SnapshotReport
from owui_vault.system.clock import SystemClock


def perform(invocation: Invocation, environ: Mapping[str, str], interruption: Interruption) -> Answer:
    """Carry out the request. Raises VaultError."""
    folder = Path.cwd()
    request, options = invocation.request, invocation.options
    if isinstance(request, requests.Seal):
        report = seal(request, options, environ, folder)
        return Answer(value=report, show=lambda screen: reports.sealed(screen, report.file, report.names))
    if isinstance(request, requests.Initialize) and request.discover:
        found = discover(options, environ, folder)
        return Answer(value=found, show=lambda screen: show_discovered(screen, found))
    settings = settings_for(options, request, environ, folder)
    vault = assembly.vault_from_settings(settings, environ)
    with vault:
        return _perform(request, Session(vault=vault, options=options, interruption=interruption))


def _perform(asked: VaultRequest, session: Session) -> Answer:
    match asked:
        case requests.Inspect():
            answer = _inspect(session)
        case requests.Initialize() as request:
            answer = _initialize(session, request)
        case requests.TakeSnapshot() as request:
            answer = _snapshot(session, request)
        case requests.ListSnapshots() as request:
            answer = _snapshots(session, request)
        case requests.Show() as request:
            answer = _show(session, request)
        case requests.Restore() as request:
            answer = _restore(session, request)
        case requests.Prune() as request:
            answer = _prune(session, request)
        case requests.Verify() as request:
            answer = _verify(session, request)
        case requests.Recover():
            answer = _recover(session)
        case _:
            answer = live.perform(asked, session)
    return answer


def _inspect(session: Session) -> Answer:
    report = session.vault.inspect()
    return Answer(value=report, show=lambda screen: reports.instance(screen, report))


def _initialize(session: Session, request: requests.Initialize) -> Answer:
    report = session.vault.initialize(*request.names, adopt=request.adopt, again=request.again)
    return Answer(
        value=report,
        show=lambda screen: reports.initialized(screen, report),
        exit_code=exit_codes.of_initialize(report),
    )


def _snapshot(session: Session, request: requests.TakeSnapshot) -> Answer:
    with session.callbacks() as callbacks:
        report = session.vault.snapshot(
            to=request.to or None, tags=request.tags, quiesce=request.quiesce, dry_run=request.dry_run, **callbacks
        )
    return Answer(
        value=report, show=lambda screen: reports.taken(screen, report), exit_code=exit_codes.of_snapshot(report)
    )


def _snapshots(session: Session, request: requests.ListSnapshots) -> Answer:
    found = session.vault.snapshots(
        repository=request.repository, instance=request.instance, everything=request.everything
    )
    now = SystemClock().now()
    return Answer(
        more={"snapshots": found, "warnings": found.warnings},
        show=lambda screen: snapshots.listed(screen, found, now, everything=request.everything),
    )


def _show(session: Session, request: requests.Show) -> Answer:
    found = session.vault.manifest(request.snapshot, repository=request.repository, instance=request.instance)
    return Answer(more={"manifest": found}, show=lambda screen: snapshots.manifest(screen, found))


def _restore(session: Session, request: requests.Restore) -> Answer:
    with session.callbacks() as callbacks:
        report = session.vault.restore(
            request.snapshot,
            target=request.target.absolute(),
            components=request.components or None,
            repository=request.repository,
            app_data_dir=request.app_data_dir,
            instance=request.instance,
            quiet_start=request.quiet_start,
            **callbacks,
        )
    return Answer(value=report, show=lambda screen: reports.restored(screen, report))


def _prune(session: Session, request: requests.Prune) -> Answer:
    plan = session.vault.plan_prune(repository=request.names or None)
    if request.dry_run:
        return Answer(value=plan, show=lambda screen: reports.planned(screen, plan))
    with session.callbacks() as callbacks:
        report = session.vault.prune(plan, **callbacks)
    return Answer(
        value=report, show=lambda screen: reports.pruned(screen, report), exit_code=exit_codes.of_prune(report)
    )


def _verify(session: Session, request: requests.Verify) -> Answer:
    with session.callbacks() as callbacks:
        report = session.vault.verify(
            request.snapshot,
            repository=request.repository,
            read_data=request.read_data,
            instance=request.instance,
            **callbacks,
        )
    return Answer(
        value=report, show=lambda screen: verification.verified(screen, report), exit_code=exit_codes.of_verify(report)
    )


def _recover(session: Session) -> Answer:
    report = session.vault.recover()
    return Answer(value=report, show=lambda screen: reports.recovered(screen, report))


def show_report_of(error: VaultError, screen: Screen) -> None:
    """How each repository fared, when all of them failed."""
    match error.report:
        case SnapshotReport() as report:
            reports.taken(screen, report)
        case InitializeReport() as report if len(report.repositories) > 1:
            reports.initialized(screen, report)
        case PruneReport() as report if len(report.repositories) > 1:
            reports.pruned(screen, report)
