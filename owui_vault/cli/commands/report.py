"""`report`: a page to look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli.arguments import duration
from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Request):
    """`report`."""

    passphrase = Passphrase.ASKED

    file: Path | None = None
    max_age: timedelta | None = None
    offline: bool = False

    def perform(self, session: Session) -> Answer:
        """0 whatever is on the page: that is for `status` to tell."""
        from owui_vault.cli.render import status

        file = session.folder / self.file if self.file else None
        page = session.vault.report(file, max_age=self.max_age, offline=self.offline)
        return Answer(value=page, show=lambda screen: status.published(screen, page), asked_for=file is None)


def command(
    *,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Write it there, and not to stdout.")] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="DURATION", help="As for `status`: 26h, 2d.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="From this machine's state alone: no repository is asked.")
    ] = False,
) -> Report:
    """Write one HTML file: whether all is fine, what was proven and when, and what needs a hand."""
    return Report(file=file, max_age=duration(max_age) if max_age is not None else None, offline=offline)
