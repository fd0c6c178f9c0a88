"""Writes the status for other eyes: Prometheus's text and the page to look at. Neither holds a secret.

Written in one step, so that nobody reads half of one; what cannot be written is a warning, and no failure of a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from owui_vault.errors import ConfigError, as_result
from owui_vault.model.pages import Page, Pages
from owui_vault.model.status import StatusReport
from owui_vault.service.parts import Service
from owui_vault.service.status import status
from owui_vault.system.durable_files import write_durably
from owui_vault.version import VERSION

_log = logging.getLogger(__name__)
_MODE = 0o644  # for a web server, and for Prometheus; who closes a file to others finds it closed ever after


def metrics(service: Service, file: Path | None, max_age: timedelta | None, *, offline: bool) -> Page:
    """The status as Prometheus's text. Raises ConfigError for a file that cannot be written."""
    report = status(service, max_age, offline=offline)
    return _page(report, _metrics_of(service, report), file)


def publish(service: Service, pages: Pages, *, offline: bool) -> tuple[str, ...]:
    """Write what is to be written after each run; what went wrong is what it returns."""
    wanted: list[tuple[Path, Callable[[Service, StatusReport], str]]] = []
    if pages.metrics:
        wanted.append((pages.metrics, _metrics_of))
    return tuple(_each_written(service, wanted, offline=offline))


def _each_written(
    service: Service, wanted: list[tuple[Path, Callable[[Service, StatusReport], str]]], *, offline: bool
) -> Iterator[str]:
    report: StatusReport | None = None
    for file, text_of in wanted:
        try:
            report = report or status(service, None, offline=offline)
            _write(file, text_of(service, report))
        except Exception as raised:  # a page is no part of the run
            message = as_result(raised).message
            _log.warning("%s was not written: %s", file, message)
            yield f"{file} was not written: {message}"


def _metrics_of(service: Service, report: StatusReport) -> str:
    from owui_vault.pages.metrics import metrics_text  # noqa: PLC0415  prometheus_client is of no use to others

    return metrics_text(report, service.context.series(), VERSION)


def _page(report: StatusReport, text: str, file: Path | None) -> Page:
    if file:
        _write(file, text)
    return Page(at=report.at, verdict=report.verdict, text=text, file=file, warnings=report.warnings)


def _write(file: Path, text: str) -> None:
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else _MODE
        write_durably(file, text.encode(errors="backslashreplace"), mode=mode)
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error.strerror}", hint="Its folder must be there, and open to this user."
        ) from None
