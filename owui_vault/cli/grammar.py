"""The command line's grammar: global options, then a command with its own.

Only the named command is imported, and it only returns its request, so that `--help` imports nothing but typer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli import registry
from owui_vault.cli.exit_codes import MEANINGS
from owui_vault.cli.foreign_words import OF_OTHER_TOOLS
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.request import Invocation, Request
from owui_vault.errors import ConfigError

# click's own UsageError, or that of the copy which newer versions of typer bring along.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_PROGRAM = "owui-vault"
_HELP = ("-h", "--help")


class Grammar:
    """The options and arguments of one function."""

    def __init__(self, name: str, function: Callable[..., object], *, usage: str = "[OPTIONS]") -> None:
        # Plain help: the decorated one takes twice the time.
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(options_metavar=usage, context_settings={"help_option_names": list(_HELP)})(function)
        self.name = name
        self._command = typer.main.get_command(app)

    def read(self, words: Sequence[str]) -> object:
        """What the function returns, or the exit code if help was printed. Raises click's UsageError."""
        answer: object = self._command.main(args=list(words), prog_name=self.name, standalone_mode=False)
        return answer

    @property
    def about(self) -> str:
        """What the function says of itself."""
        return str(self._command.help or "")

    def explained(self) -> list[tuple[str, str]]:
        """Each argument and option as it is written, with its help: what `--help` is made of as well."""
        rows = []
        for each in self._command.params:
            metavar = str(getattr(each, "metavar", None) or "")
            if each.param_type_name == "option":
                follows = not (getattr(each, "is_flag", False) or getattr(each, "count", False))
                written = ", ".join((*each.opts, *each.secondary_opts))
                value = metavar or (str(each.name or "VALUE").upper() if follows else "")
                rows.append((f"{written} {value}".strip(), str(getattr(each, "help", None) or "")))
            else:
                rows.append((metavar or str(each.name).upper(), str(getattr(each, "help", None) or "")))
        return rows

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


def global_options(  # noqa: PLR0913  each is an option
    *,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The configuration file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, show_default=False, help="Print more; twice: every engine command, too."
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but warnings if all went well.")] = False,
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
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Print the version, and those of the engines.")
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
        version=version,
    )


def parse(words: Sequence[str]) -> Invocation | int:
    """The request, or the exit code if help was printed. Raises ConfigError for an invalid command line."""
    ours = Grammar(_PROGRAM, global_options, usage="[OPTIONS] COMMAND [ARGS]...")
    before, name, behind = _at_command(words, ours.options())
    if not words or (not name and set(before) & set(_HELP)):
        ours.read(["--help"])
        typer.echo(_overview())
        return 0 if words else 2
    entry = next((each for each in registry.COMMANDS if each.name == name), None)
    if entry is None:
        options = _read(ours, before)  # which may be just `--version`
        if isinstance(options, GlobalOptions):
            if options.version:
                return _versions(options)
            raise _unknown(name)
        return options if isinstance(options, int) else 0
    module = import_module(entry.module)
    theirs = Grammar(f"{_PROGRAM} {name}", module.command)
    prepare: Callable[[Sequence[str]], Sequence[str]] = getattr(module, "prepare", list)
    moved, rest = _without_global(prepare(behind), ours.options(), theirs.options())
    options = _read(ours, [*before, *moved])
    if isinstance(options, GlobalOptions) and options.version:
        return _versions(options)
    request = _read(theirs, rest) if isinstance(options, GlobalOptions) else options
    if isinstance(options, GlobalOptions) and isinstance(request, Request):
        return Invocation(options=options, request=request)
    return request if isinstance(request, int) else 0


def _versions(options: GlobalOptions) -> Invocation:
    """Whatever else was asked for."""
    from owui_vault.cli.versions import ShowVersions  # noqa: PLC0415  starts programs, as nothing else here does

    return Invocation(options=options, request=ShowVersions())


def _read(grammar: Grammar, words: Sequence[str]) -> object:
    try:
        return grammar.read(words)
    except _UsageError as error:
        text = str(error.format_message()) if hasattr(error, "format_message") else str(error)
        text = " ".join(text.replace("Value error, ", "").split()).rstrip(".")
        hint = f"{_meant(text, grammar.options())}See {grammar.name} --help."
        raise ConfigError(f"{text[:1].lower()}{text[1:]}", hint=hint) from None


def _meant(text: str, options: Mapping[str, bool]) -> str:
    """What was typed and is nearly right: a choice with a slip, a target without its option."""
    if one_of := re.search(r"'([^']+)' is not one of (.*)", text):
        near = get_close_matches(one_of[1], re.findall(r"'([^']+)'", one_of[2]), n=1)
        return f"Did you mean {near[0]!r}? " if near else ""
    extra = re.search(r"extra argument.*\((\S+)\)", text)
    return f"Did you mean --target {extra[1]}? " if extra and "--target" in options else ""


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


def _without_global(
    words: Sequence[str], ours: Mapping[str, bool], theirs: Mapping[str, bool]
) -> tuple[list[str], list[str]]:
    """The global options among the words behind a command, and the other words. Behind `--` nothing is ours."""
    moved: list[str] = []
    rest: list[str] = []
    following = iter(words)
    for word in following:
        if word == "--":
            rest += [word, *following]
            break
        side = moved if word.partition("=")[0] in ours or _is_flags(word, ours) else rest
        side.append(word)
        if {**ours, **theirs}.get(word):
            side.extend(islice(following, 1))
    return moved, rest


def _is_flags(word: str, options: Mapping[str, bool]) -> bool:
    """`-vv`: each letter is an option without a value."""
    return re.fullmatch(r"-\w+", word) is not None and all(options.get(f"-{each}") is False for each in word[1:])


def _unknown(name: str) -> ConfigError:
    if not name:
        return ConfigError("missing command", hint=f"See {_PROGRAM} --help.")
    answer = OF_OTHER_TOOLS.get(name)
    if answer is None:
        # A guess may be typed without a second look.
        harmless = [each.name for each in registry.COMMANDS if not each.changes]
        near = get_close_matches(name, harmless, n=1, cutoff=0.75)
        answer = f"{f'Did you mean `{near[0]}`? ' if near else ''}See {_PROGRAM} --help."
    return ConfigError(f"no such command {name!r}", hint=answer)


def _overview() -> str:
    """The commands in their groups, and the exit codes: what `--help` prints below the global options."""
    lines = ["", "Commands:"]
    width = max(len(each.name) for each in registry.COMMANDS)
    for group in registry.GROUPS:
        entries = [each for each in registry.COMMANDS if each.group == group]
        lines += (
            ["", f"  {group}", *(f"    {each.name:<{width}}  {each.summary}" for each in entries)] if entries else []
        )
    lines += ["", "Exit codes:", "", *(f"  {codes:<8}  {meaning}" for codes, meaning in MEANINGS)]
    lines += ["", "Global options go before or after the command. See COMMAND --help for more."]
    return "\n".join(lines)
