"""Write the man page, owui-vault(1), made of what `--help` is made of: `make man`.

Without a file it goes to stdout.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from owui_vault.cli import registry
from owui_vault.cli.exit_codes import MEANINGS
from owui_vault.cli.grammar import Grammar, global_options
from owui_vault.config.paths import CONFIG_VARIABLE
from owui_vault.version import VERSION

_FILES = (
    (
        "./vault.yaml, ~/.config/owui-vault/vault.yaml, /etc/owui-vault/vault.yaml",
        "the configuration: the first there is",
    ),
    (
        "/var/lib/owui-vault, or $XDG_STATE_HOME/owui-vault",
        "what is remembered between runs; losing it costs time only",
    ),
)
_VARIABLES = (
    (CONFIG_VARIABLE, "the configuration file to use"),
    ("OWUI_VAULT_PASSPHRASE", "the passphrase of the repository that options describe"),
    ("NO_COLOR", "no colours and no bold, where it is set"),
)


def escaped(text: str) -> str:
    """A text as roff takes it: no word of it is a command, and a dash is the one that can be typed."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    plain = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", plain)
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in plain.splitlines() if line.strip())


def listed(rows: Iterable[tuple[str, str]]) -> str:
    """A list of names, each with what it means."""
    return "".join(f".TP\n\\fB{escaped(name)}\\fR\n{escaped(text) or 'See above.'}\n" for name, text in rows)


def commands() -> str:
    """Each command in its group, with its arguments and options."""
    text = ""
    for group in registry.GROUPS:
        entries = [each for each in registry.COMMANDS if each.group == group]
        text += f'.SH "{group.upper()}"\n' if entries else ""
        for each in entries:
            grammar = Grammar(each.name, import_module(each.module).command)
            arguments = [name for name, _ in grammar.explained() if not name.startswith("-")]
            usage = " ".join([each.name, *arguments])
            text += f'.SS "{escaped(usage)}"\n{escaped(grammar.about)}\n{listed(grammar.explained())}'
    return text


def page() -> str:
    """The whole page."""
    ours = Grammar("owui-vault", global_options)
    return f"""\
.\\" Made by tools/write_man.py; do not edit.
.TH OWUI\\-VAULT 1 "" "owui_vault {VERSION}" "User Commands"
.SH NAME
owui\\-vault \\- {escaped(ours.about[:1].lower() + ours.about[1:].rstrip("."))}
.SH SYNOPSIS
.B owui\\-vault
[\\fIGLOBAL OPTIONS\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR]
.SH "GLOBAL OPTIONS"
They stand before or after the command.
{listed(ours.explained())}{commands()}.SH "EXIT STATUS"
{listed(MEANINGS)}.SH ENVIRONMENT
{listed(_VARIABLES)}.SH FILES
{listed(_FILES)}.SH "SEE ALSO"
.BR restic (1),
.BR borg (1)
"""


def main() -> int:
    if len(sys.argv) > 1:
        file = Path(sys.argv[1])
        file.parent.mkdir(exist_ok=True)
        file.write_text(page(), encoding="utf-8")
        print(f"wrote {file}; read it with: man -l {file}")
    else:
        sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
