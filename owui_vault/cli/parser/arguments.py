"""The command line's grammar. Commands only return their request, so that `--help` imports nothing but typer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli import requests
from owui_vault.cli.parser import live
from owui_vault.cli.parser.own_options import options_before_dashdash
from owui_vault.cli.parser.shared import PARTS, From, Repositories, Series, SnapshotText, app, invocation
from owui_vault.cli.requests import Invocation
from owui_vault.errors import ConfigError
from owui_vault.model import Component, Quiesce

# click's own UsageError, or that of the copy which newer versions of typer bring along.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_GLOBAL_OPTIONS = frozenset({
    "--config", "--json", "-v", "--verbose", "-q", "--quiet", "--data-dir", "--container", "--repository", "--engine",
    "--passphrase-file", "--version",
})  # fmt: skip
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%?")


def parse(arguments: Sequence[str]) -> Invocation | int:
    """The request, or the exit code if help was printed. Raises ConfigError for an invalid command line."""
    words = _with_percent(arguments)
    try:
        answer = app(args=words or ["--help"], prog_name="owui-vault", standalone_mode=False)
    except _UsageError as error:
        raise ConfigError(_message(error), hint=_hint(options_before_dashdash(words))) from None
    if isinstance(answer, Invocation):
        return answer
    return int(answer or 0) if words else 2


@app.command(short_help="Report what the instance holds and what would be lost.")
def inspect(context: typer.Context) -> Invocation:
    """Report what the instance holds and what would be lost; nothing is touched."""
    return invocation(context, requests.Inspect())


@app.command(short_help="Create the repositories that do not exist.")
def init(
    context: typer.Context,
    repositories: Repositories = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Continue a series that another instance started.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="A known repository is gone or has changed: create it again, or accept it.")
    ] = False,
    discover: Annotated[
        bool, typer.Option("--discover", help="Find the container and write a first vault.yaml; nothing else.")
    ] = False,
) -> Invocation:
    """Create the repositories that do not exist, and print what you must keep somewhere else."""
    names = tuple(repositories or ())
    if discover and (names or adopt or again):
        raise ConfigError(
            "--discover writes a configuration and nothing else", hint="Run the rest as a second command."
        )
    return invocation(context, requests.Initialize(names=names, adopt=adopt, again=again, discover=discover))


@app.command()
def snapshot(
    context: typer.Context,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="REPO", help="Store it here only; repeatable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag it; repeatable.")] = None,
    quiesce: Annotated[Quiesce | None, typer.Option(help="How the instance is made quiet.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Capture and check, store nothing.")] = False,
) -> Invocation:
    """Take one instant and store it in each repository."""
    request = requests.TakeSnapshot(to=tuple(to or ()), tags=tuple(tag or ()), quiesce=quiesce, dry_run=dry_run)
    return invocation(context, request)


@app.command()
def snapshots(
    context: typer.Context,
    repository: From = None,
    instance: Series = None,
    everything: Annotated[bool, typer.Option("--all", help="All series, and snapshots of other tools.")] = False,
) -> Invocation:
    """List the snapshots, newest first."""
    request = requests.ListSnapshots(repository=repository, instance=instance, everything=everything)
    return invocation(context, request)


@app.command(short_help="Show what a snapshot holds.")
def show(
    context: typer.Context, snapshot: SnapshotText, repository: From = None, instance: Series = None
) -> Invocation:
    """Show what a snapshot holds, without restoring it."""
    return invocation(context, requests.Show(snapshot=snapshot, repository=repository, instance=instance))


@app.command(short_help="Write a snapshot into a new directory, or in place.")
def restore(  # noqa: PLR0913  each is an option
    context: typer.Context,
    snapshot: SnapshotText,
    *,
    target: Annotated[Path | None, typer.Option(metavar="DIR", help="A new or empty directory.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Replace the live data; the previous data are kept until `discard`.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --in-place: do not ask.")] = False,
    repository: From = None,
    instance: Series = None,
    component: Annotated[
        list[Component] | None, typer.Option(metavar="PART", help=f"Only this part; repeatable: {PARTS}.")
    ] = None,
    app_data_dir: Annotated[
        str | None, typer.Option(metavar="PATH", help="The data directory as the application will see it.")
    ] = None,
    quiet_start: Annotated[
        bool, typer.Option("--quiet-start", help="Switch off automations, timers and webhooks in the restored data.")
    ] = False,
    accept_unknown_version: Annotated[
        bool,
        typer.Option(
            "--accept-unknown-version",
            help="With --in-place --yes: restore a different schema even if Open WebUI cannot say whether it knows it.",
        ),
    ] = False,
) -> Invocation:
    """Write a snapshot into a new directory and check it (DIR/data is ready to run), or replace the live data."""
    if (target is None) is not in_place:
        raise ConfigError("give either --target or --in-place", hint="--target DIR leaves the live data alone.")
    parts = tuple(component or ())
    if target is None:
        if app_data_dir is not None:
            raise ConfigError("--app-data-dir goes with --target", hint="In place the path stays as it is.")
        if instance is not None:
            raise ConfigError("--instance goes with --target", hint="In place, the instance's own series is taken.")
        replacement = requests.Replace(
            snapshot=snapshot,
            repository=repository,
            components=parts,
            yes=yes,
            accept_unknown_version=accept_unknown_version,
            quiet_start=quiet_start,
        )
        return invocation(context, replacement)
    if accept_unknown_version:
        raise ConfigError("--accept-unknown-version goes with --in-place", hint="With --target nothing is started.")
    request = requests.Restore(
        snapshot=snapshot,
        target=target,
        repository=repository,
        instance=instance,
        components=parts,
        app_data_dir=app_data_dir,
        quiet_start=quiet_start,
    )
    return invocation(context, request)


@app.command(short_help="Remove what `keep` does not keep.")
def prune(
    context: typer.Context,
    repositories: Repositories = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
) -> Invocation:
    """Remove what `keep` does not keep, and say why the rest stays; never asks."""
    return invocation(context, requests.Prune(names=tuple(repositories or ()), dry_run=dry_run))


@app.command(short_help="Check the repository and what can be restored from it.")
def verify(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(metavar="[SNAPSHOT]", help="`latest`, if none is given.")] = "latest",
    *,
    repository: From = None,
    instance: Series = None,
    read_data: Annotated[
        str | None,
        typer.Option(
            "--read-data", metavar="[PERCENT]", help="Fetch everything, and read this share of the repository."
        ),
    ] = None,
) -> Invocation:
    """Check the repository, and compare what it returns with the manifest."""
    share = _share(read_data) if read_data is not None else 0.0
    request = requests.Verify(snapshot=snapshot, repository=repository, instance=instance, read_data=share)
    return invocation(context, request)


@app.command(short_help="Put secrets into a sealed file.")
def seal(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The secrets' names.")],
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The sealed file; otherwise the one in the configuration.")
    ] = None,
    unlock_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key; otherwise as configured, or prompted for.")
    ] = None,
) -> Invocation:
    """Put secrets into a sealed file, from a prompt or one per line from stdin."""
    return invocation(context, requests.Seal(names=tuple(names), file=file, unlock_file=unlock_file))


@app.command()
def recover(context: typer.Context) -> Invocation:
    """Finish or roll back what a killed run left behind."""
    return invocation(context, requests.Recover())


live.register(app)


def _with_percent(words: Sequence[str]) -> list[str]:
    """`--read-data` may stand alone, which typer does not know: then it means everything."""
    ours = options_before_dashdash(words)
    told = [
        "--read-data=100" if word == "--read-data" and not _PERCENT.fullmatch(following) else word
        for word, following in zip_longest(ours, ours[1:], fillvalue="")
    ]
    return [*told, *words[len(ours) :]]


def _share(text: str) -> float:
    found = _PERCENT.fullmatch(text)
    if not found or not 0 <= float(found[1]) <= 100:
        raise ConfigError(f"--read-data takes a percentage, not {text!r}", hint="Give 5%, or no value for all.")
    return float(found[1]) / 100


def _message(error: Exception) -> str:
    text = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    return f"{text[:1].lower()}{text[1:].rstrip('.')}"


def _hint(words: Sequence[str]) -> str:
    commands = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    begun = False
    for word in words:
        if begun and word.partition("=")[0] in _GLOBAL_OPTIONS:
            return f"{word.partition('=')[0]} is a global option: it goes before the command."
        begun = begun or word in commands
    command = next((word for word in words if word in commands), None)
    return f"See owui-vault {command} --help." if command else "See owui-vault --help."
