"""The command line: arguments to Vault to text or JSON to exit code. Nothing is decided here."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code; `arguments` are those after the program's name."""
    from owui_vault.cli.run import run  # noqa: PLC0415  importing this package costs nothing

    return run(list(sys.argv[1:] if arguments is None else arguments))
