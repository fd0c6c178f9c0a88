"""What all commands of the command line share: the program, its global options, common arguments."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli.requests import GlobalOptions, Invocation, Request
from owui_vault.errors import ConfigError
from owui_vault.model import Component
from owui_vault.version import VERSION

_HELP = {"help_option_names": ["-h", "--help"]}

# Plain help: the decorated one takes twice the time.
app = typer.Typer(
    name="owui-vault",
    help="Backups of Open WebUI: one provable instant of a running instance, into restic or borg, and back.",
    epilog="Global options go before the command. See COMMAND --help for more.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


class _Engine(Enum):
    RESTIC = "restic"
    BORG = "borg"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"owui_vault {VERSION}")
        raise typer.Exit


@app.callback()
def _global(  # noqa: PLR0913  each is an option
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The configuration file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")] = False,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Print more; twice: everything.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print only results and errors.")] = False,
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Without a file: the data directory.")] = None,
    container: Annotated[str | None, typer.Option(metavar="NAME", help="Without a file: the container.")] = None,
    repository: Annotated[str | None, typer.Option(metavar="LOCATION", help="Without a file: the repository.")] = None,
    engine: Annotated[_Engine | None, typer.Option(help="Without a file: its engine (restic).")] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Without a file: its passphrase; otherwise $OWUI_VAULT_PASSPHRASE, or prompted for."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  its callback has done all
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    if verbose and quiet:
        raise ConfigError("-v and -q were both given", hint="Pass only one of them.")
    context.obj = GlobalOptions(
        config=config,
        json=json,
        verbosity=-1 if quiet else verbose,
        data_dir=data_dir,
        container=container,
        repository=repository,
        engine=engine.value if engine else None,
        passphrase_file=passphrase_file,
    )


PARTS = ", ".join(part.value for part in Component)
Series = Annotated[
    str | None, typer.Option("--instance", metavar="NAME", help="Another series; an exact id needs none.")
]
From = Annotated[str | None, typer.Option("--from", metavar="REPO", help="Only this repository.")]
SnapshotText = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="`latest`, an id, a prefix of one, or a date.")]
Repositories = Annotated[list[str] | None, typer.Argument(metavar="[REPO]...", help="All, if none is given.")]


def invocation(context: typer.Context, request: Request) -> Invocation:
    """What a command returns."""
    return Invocation(options=context.obj, request=request)
