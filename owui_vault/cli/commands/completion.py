"""`completion`: a script that completes commands and options in a shell, made of what they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from owui_vault.cli.request import Answer, Request, Session

if TYPE_CHECKING:  # its grammar does without it
    from collections.abc import Mapping, Sequence

_HELP = ("-h", "--help")


class Shell(Enum):
    """What the script is for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion(Request):
    """`completion`."""

    shell: Shell

    def perform(self, session: Session) -> Answer:
        """Print the script; no configuration is read."""
        del session
        from importlib import import_module

        from owui_vault.cli import grammar, registry

        everywhere = (*grammar.Grammar("", grammar.global_options).options(), *_HELP)
        own = {
            each.name: tuple(grammar.Grammar(each.name, import_module(each.module).command).options())
            for each in registry.COMMANDS
        }
        if self.shell is Shell.FISH:
            script = _fish(everywhere, own, {each.name: each.summary for each in registry.COMMANDS})
        else:
            script = _bash(everywhere, own, zsh=self.shell is Shell.ZSH)
        return Answer(
            more={"shell": self.shell, "script": script},
            show=lambda screen: screen.text(script),
            asked_for=True,
        )


def command(shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Which shell.")]) -> Completion:
    """Print a script for your shell: `source <(owui-vault completion bash)`, `owui-vault completion fish | source`."""
    return Completion(shell=shell)


def _bash(everywhere: Sequence[str], own: Mapping[str, Sequence[str]], *, zsh: bool) -> str:
    """Behind `--` stands another command, which is none of ours."""
    cases = "\n".join(
        f'        {name}) words="{" ".join((*options, *everywhere))}" ;;' for name, options in own.items()
    )
    begin = "autoload -U +X compinit bashcompinit && compinit && bashcompinit\n" if zsh else ""
    return f"""{begin}_owui_vault() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" name="" words="" number each
    for ((number = 1; number < COMP_CWORD; number++)); do
        each="${{COMP_WORDS[number]}}"
        if [ "$each" = -- ]; then COMPREPLY=(); return; fi
        case "$each" in {"|".join(own)}) if [ -z "$name" ]; then name="$each"; fi ;; esac
    done
    case "$name" in
{cases}
        *) words="{" ".join((*own, *everywhere))}" ;;
    esac
    COMPREPLY=()
    for each in $words; do
        case "$each" in "$word"*) COMPREPLY+=("$each") ;; esac
    done
}}
complete -o default -F _owui_vault owui-vault
"""


def _fish(everywhere: Sequence[str], own: Mapping[str, Sequence[str]], summaries: Mapping[str, str]) -> str:
    names = " ".join(own)
    lines = [
        f"complete -c owui-vault -n 'not __fish_seen_subcommand_from {names}' -a {name} -d '{summaries[name]}'"
        for name in own
    ]
    lines += [f"complete -c owui-vault {_fish_option(each)}" for each in everywhere]
    lines += [
        f"complete -c owui-vault -n '__fish_seen_subcommand_from {name}' {_fish_option(each)}"
        for name, options in own.items()
        for each in options
    ]
    return "".join(f"{line}\n" for line in lines)


def _fish_option(written: str) -> str:
    return f"-l {written[2:]}" if written.startswith("--") else f"-s {written[1:]}"
