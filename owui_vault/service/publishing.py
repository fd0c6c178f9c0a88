"""Writes the status for other eyes: Prometheus's text and the page to look at. Neither holds a secret.

Written in one step, so that nobody reads half of one; what cannot be written is a warning, and no failure of a run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from owui_vault.errors import ConfigError, RepositoryUnreachableError, VaultError, as_result
from owui_vault.model.runs import ErrorNote, RunOutcome, RunRecord
from owui_vault.model.status import Page, Pages, StatusReport
from owui_vault.pages.page_values import PageFacts
from owui_vault.service.page_facts import page_facts
from owui_vault.service.parts import Service
from owui_vault.service.status import status
from owui_vault.system.durable_files import write_durably
from owui_vault.version import VERSION

_log = logging.getLogger(__name__)
_MODE = 0o644  # for a web server, and for Prometheus; who closes a file to others finds it closed ever after


def metrics(service: Service, file: Path | None, max_age: timedelta | None, *, offline: bool) -> Page:
    """The status as Prometheus's text. Raises ConfigError for a file that cannot be written."""
    judged = status(service, max_age, offline=offline)
    return _page(judged, _metrics_of(service, judged), file)


def report(service: Service, file: Path | None, max_age: timedelta | None, *, offline: bool) -> Page:
    """The page to look at. Raises ConfigError for a file that cannot be written."""
    facts = page_facts(service, max_age, offline=offline)
    return _page(facts.status, _page_of(facts), file)


def publish(service: Service, pages: Pages, *, offline: bool, runs: Sequence[RunRecord] = ()) -> tuple[str, ...]:
    """Write what is to be written after these runs; what went wrong is what it returns."""
    files = [file for file in (pages.report, pages.metrics) if file]
    if not files:
        return ()
    try:
        facts = page_facts(service, None, offline=offline, silent=_silent_in(runs))
    except Exception as raised:  # a page is no part of the run
        return tuple(_unwritten(file, raised) for file in files)
    wrong = []
    for file in files:
        try:
            _write(file, _page_of(facts) if file == pages.report else _metrics_of(service, facts.status))
        except Exception as raised:  # a page is no part of the run
            wrong.append(_unwritten(file, raised))
    return tuple(wrong)


def _silent_in(runs: Sequence[RunRecord]) -> dict[str, VaultError]:
    """The repositories that did not answer in the end, and what was said of each."""
    found: dict[str, VaultError] = {}
    for result in (result for run in runs for step in run.steps for result in step.results):
        if result.silent:
            said = result.error or ErrorNote(type="", message=result.note)
            found[result.repository] = RepositoryUnreachableError(said.message, hint=said.hint)
        elif result.outcome is not RunOutcome.SKIPPED:
            found.pop(result.repository, None)
    return found


def _unwritten(file: Path, raised: Exception) -> str:
    message = as_result(raised).message
    _log.warning("%s was not written: %s", file, message)
    return f"{file} was not written: {message}"


def _metrics_of(service: Service, judged: StatusReport) -> str:
    from owui_vault.pages.metrics import metrics_text  # noqa: PLC0415  prometheus_client is of no use to others

    return metrics_text(judged, service.context.series(), VERSION)


def _page_of(facts: PageFacts) -> str:
    from owui_vault.pages.html_page import html_page  # noqa: PLC0415  jinja2 is of no use to others

    return html_page(facts)


def _page(judged: StatusReport, text: str, file: Path | None) -> Page:
    if file:
        _write(file, text)
    return Page(at=judged.at, verdict=judged.verdict, text=text, file=file, warnings=judged.warnings)


def _write(file: Path, text: str) -> None:
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else _MODE
        write_durably(file, text.encode(errors="backslashreplace"), mode=mode)
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error.strerror}", hint="Its folder must be there, and open to this user."
        ) from None
