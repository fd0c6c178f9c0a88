"""`status`: is everything as new as it should be?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import duration
from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Request):
    """`status`."""

    passphrase = Passphrase.ASKED

    max_age: timedelta | None = None
    offline: bool = False
    metrics: bool = False
    file: Path | None = None

    def perform(self, session: Session) -> Answer:
        """5 when something is overdue or wrong, 6 when nobody can tell."""
        from owui_vault.cli.render import status
        from owui_vault.model import Verdict

        codes = {Verdict.FINE: exit_codes.DONE, Verdict.UNKNOWN: exit_codes.NO_VERDICT}
        if self.metrics:
            file = session.folder / self.file if self.file else None
            page = session.vault.metrics(file, max_age=self.max_age, offline=self.offline)
            return Answer(
                value=page,
                show=lambda screen: status.published(screen, page),
                exit_code=codes.get(page.verdict, exit_codes.WRONG),
                asked_for=file is None,
            )
        report = session.vault.status(max_age=self.max_age, offline=self.offline)
        return Answer(
            value=report,
            show=lambda screen: status.judged(screen, report),
            exit_code=codes.get(report.verdict, exit_codes.WRONG),
        )


def command(
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="With --metrics: write them there, and not to stdout.")
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            "--max-age", metavar="DURATION", help="Older than this is overdue, whatever a plan says: 26h, 2d."
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="From this machine's state alone: no repository is asked.")
    ] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="As Prometheus's text, on stdout or in FILE.")] = False,
) -> Status:
    """Tell whether every plan is as new as it should be, in each repository; without plans every series."""
    if file and not metrics:
        raise ConfigError("status takes a FILE with --metrics only", hint="See owui-vault status --help.")
    return Status(
        max_age=duration(max_age) if max_age is not None else None, offline=offline, metrics=metrics, file=file
    )
