"""Asks the person at the terminal, if there is one."""

from __future__ import annotations

import sys

from owui_vault.errors import ConfigError, SecretError
from owui_vault.model import Secret

PASSPHRASE_VARIABLE = "OWUI_VAULT_PASSPHRASE"  # noqa: S105  the name of a variable


def at_a_terminal() -> bool:
    """Whether there is a person to ask. Python has no stdin at all if it was closed (`<&-`)."""
    return bool(sys.stdin and sys.stdin.isatty())


def ask(what: str, *, twice: bool = False) -> Secret:
    """Ask a person at a terminal, without echo. Raises SecretError, also where there is no terminal."""
    if not at_a_terminal():
        raise SecretError(
            f"{what.lower()} is not known, and there is no terminal to ask at",
            hint=f"Pass --passphrase-file FILE, or set {PASSPHRASE_VARIABLE}.",
        )
    import getpass  # noqa: PLC0415  hardly ever needed

    try:
        answer = getpass.getpass(f"{what}: ")
        again = getpass.getpass(f"{what}, once more: ") if twice else answer
    except EOFError:
        raise SecretError(f"{what.lower()} was not given", hint="Try again; nothing was done.") from None
    if again != answer:
        raise SecretError("the two answers differ", hint="Try again; nothing was done.")
    if not answer:
        raise SecretError("the answer is empty", hint="An empty passphrase protects nothing.")
    return Secret(answer)


def require_consent(question: str) -> None:
    """Ask a person about what was shown above. Raises ConfigError unless the answer is yes; also where nobody is."""
    if not at_a_terminal():
        raise ConfigError(
            "confirmation is needed, but there is no terminal and --yes was not given; nothing was changed",
            hint="Review the plan above, then run the same command with --yes.",
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("not confirmed; nothing was changed")
