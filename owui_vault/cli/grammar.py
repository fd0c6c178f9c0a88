"""The command line's grammar: global options, then a command with its own.

Only the named command is imported, and it only returns its request, so that `--help` imports nothing but typer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli import registry
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.own_options import options_before_dashdash
from owui_vault.cli.request import Request
from owui_vault.errors import ConfigError
from owui_vault.version import VERSION

# click's own UsageError, or that of the copy which newer versions of typer bring along.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_PROGRAM = "owui-vault"
_HELP = ("-h", "--help")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A whole command line."""

    options: GlobalOptions
    request: Request


class _Grammar:
    """The options and arguments of one function."""

    def __init__(self, name: str, function: Callable[..., object], *, usage: str = "[OPTIONS]") -> None:
        # Plain help: the decorated one takes twice the time.
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(options_metavar=usage, context_settings={"help_option_names": list(_HELP)})(function)
        self._name = name
        self._command = typer.main.get_command(app)

    def read(self, words: Sequence[str]) -> object:
        """What the function returns, or the exit code if help was printed. Raises click's UsageError."""
        answer: object = self._command.main(args=list(words), prog_name=self._name, standalone_mode=False)
        return answer

    def options(self) -> dict[str, bool]:
        """Each option as it can be written, and whether a value follows it."""
        return {
            written: not (getattr(each, "is_flag", False) or getattr(each, "count", False))
            for each in self._command.params
            if each.param_type_name == "option"
            for written in (*each.opts, *each.secondary_opts)
        }


class _Engine(Enum):
    RESTIC = "restic"
    BORG = "borg"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"owui_vault {VERSION}")
        raise typer.Exit


def _global(  # noqa: PLR0913  each is an option
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
) -> GlobalOptions:
    """Backups of Open WebUI: one provable instant of a running instance, into restic or borg, and back."""
    if verbose and quiet:
        raise ConfigError("-v and -q were both given", hint="Pass only one of them.")
    return GlobalOptions(
        config=config,
        json=json,
        verbosity=-1 if quiet else verbose,
        data_dir=data_dir,
        container=container,
        repository=repository,
        engine=engine.value if engine else None,
        passphrase_file=passphrase_file,
    )


def parse(words: Sequence[str]) -> Invocation | int:
    """The request, or the exit code if help was printed. Raises ConfigError for an invalid command line."""
    ours = _Grammar(_PROGRAM, _global, usage="[OPTIONS] COMMAND [ARGS]...")
    before, name, rest = _at_command(words, ours.options())
    if not words or (not name and set(before) & set(_HELP)):
        ours.read(["--help"])
        typer.echo(_overview())
        return 0 if words else 2
    try:
        options = ours.read(before)
        if not isinstance(options, GlobalOptions):
            return _exit_code(options)
        if not name:
            raise ConfigError("missing command", hint=_hint(None))
        request = _request(name, rest)
    except _UsageError as error:
        raise ConfigError(_message(error), hint=_hint(name, rest, ours)) from None
    return Invocation(options=options, request=request) if isinstance(request, Request) else _exit_code(request)


def _at_command(words: Sequence[str], options: Mapping[str, bool]) -> tuple[list[str], str, list[str]]:
    """The words before the command, its name (empty: there is none), and those behind it."""
    before: list[str] = []
    following = iter(words)
    for word in following:
        if word == "--":
            return before, next(following, ""), list(following)
        if not word.startswith("-"):
            return before, word, list(following)
        before.append(word)
        if options.get(word):
            before.extend(islice(following, 1))
    return before, "", []


def _request(name: str, words: Sequence[str]) -> object:
    entry = next((each for each in registry.COMMANDS if each.name == name), None)
    if entry is None:
        raise ConfigError(f"no such command {name!r}", hint=_hint(None))
    module = import_module(entry.module)
    prepare: Callable[[Sequence[str]], Sequence[str]] = getattr(module, "prepare", list)
    return _Grammar(f"{_PROGRAM} {name}", module.command).read(prepare(words))


def _exit_code(answer: object) -> int:
    return answer if isinstance(answer, int) else 0


def _overview() -> str:
    """The commands in their groups: what `--help` prints below the global options."""
    lines = ["", "Commands:"]
    width = max(len(each.name) for each in registry.COMMANDS)
    for group, entries in groupby(registry.COMMANDS, key=lambda each: each.group):
        lines += ["", f"  {group}", *(f"    {each.name:<{width}}  {each.summary}" for each in entries)]
    lines += ["", "Global options go before the command. See COMMAND --help for more."]
    return "\n".join(lines)


def _message(error: Exception) -> str:
    text = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    return f"{text[:1].lower()}{text[1:].rstrip('.')}"


def _hint(name: str | None, rest: Sequence[str] = (), ours: _Grammar | None = None) -> str:
    options = ours.options() if ours else {}
    for word in options_before_dashdash(rest):
        if word.partition("=")[0] in options:
            return f"{word.partition('=')[0]} is a global option: it goes before the command."
    return f"See {_PROGRAM} {name} --help." if name else f"See {_PROGRAM} --help."
