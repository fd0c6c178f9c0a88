"""`run`: what is due now, or the named plans."""

from __future__ import annotations

from typing import Annotated

import typer

from owui_vault.cli.scheduled_call import Run


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PLAN]...", help="These plans now; without names, those that are due."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due, and why.")] = False,
) -> Run:
    """Do what is due now: snapshot, prune, verify, as each plan says. With nothing due, print nothing."""
    return Run(names=tuple(names or ()), dry_run=dry_run)
