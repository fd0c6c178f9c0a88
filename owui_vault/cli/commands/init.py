"""`init`: create the repositories, or write a first configuration for a container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import Repositories
from owui_vault.cli.options import Passphrase
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialize(Request):
    """`init`."""

    passphrase = Passphrase.ASKED_TWICE

    names: tuple[str, ...] = ()
    adopt: bool = False
    again: bool = False
    discover: bool = False
    like: str | None = None

    def perform(self, session: Session) -> Answer:
        """One of several repositories failed: 1. All failed: the vault raised."""
        from owui_vault.cli.first_configuration import discover, show_discovered
        from owui_vault.cli.render import reports

        if self.discover:
            found = discover(session.options, session.environ, session.folder)
            return Answer(value=found, show=lambda screen: show_discovered(screen, found), asked_for=True)
        report = session.vault.initialize(*self.names, adopt=self.adopt, again=self.again, like=self.like)
        return Answer(
            value=report,
            show=lambda screen: reports.initialized(screen, report),
            asked_for=any(each.created for each in report.repositories),  # the sheet to be kept is there only now
            exit_code=exit_codes.of_several(each.error for each in report.repositories),
        )

    def show_report(self, report: object, screen: Screen) -> None:
        """How each repository fared, where there are several."""
        from owui_vault.cli.render import reports
        from owui_vault.model import InitializeReport

        if isinstance(report, InitializeReport) and len(report.repositories) > 1:
            reports.initialized(screen, report)


def command(
    repositories: Repositories = None,
    *,
    adopt: Annotated[bool, typer.Option("--adopt", help="Continue a series that another instance started.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="A known repository is gone or has changed: create it again, or accept it.")
    ] = False,
    like: Annotated[
        str | None, typer.Option(metavar="REPO", help="New ones cut files as this one: copies between them share data.")
    ] = None,
    discover: Annotated[
        bool, typer.Option("--discover", help="Find the container and write a first vault.yaml; nothing else.")
    ] = False,
) -> Initialize:
    """Create the repositories that do not exist, and print what you must keep somewhere else."""
    names = tuple(repositories or ())
    if discover and (names or adopt or again or like):
        raise ConfigError(
            "--discover writes a configuration and nothing else", hint="Run the rest as a second command."
        )
    return Initialize(names=names, adopt=adopt, again=again, like=like, discover=discover)
