"""The command line: arguments to Vault to text or JSON to exit code. Nothing is decided here."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code; `arguments` are those after the program's name."""
    from owui_vault.cli.run import run  # noqa: PLC0415  importing this package costs nothing

    exit_code = run(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None:
        gc.freeze()  # looking for garbage once more, as the interpreter ends, is an eighth of a tick with nothing due
    return exit_code
