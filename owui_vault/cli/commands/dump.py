"""`dump`: one file of a snapshot on stdout, or a directory as a tar."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import From, Series, SnapshotText
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError

if TYPE_CHECKING:  # its grammar does without it
    from owui_vault.model import UnansweredRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump(Request):
    """`dump`."""

    snapshot: str
    path: str
    repository: str | None = None
    instance: str | None = None

    def perform(self, session: Session) -> Answer:
        """Write it. Who did not answer is told on stderr, for stdout is the content."""
        from owui_vault.cli.render import reports
        from owui_vault.cli.render.screen import Screen

        if session.options.json:
            raise ConfigError("dump writes the content itself, and no JSON", hint="Leave out --json.")
        if sys.stdout.isatty():
            raise ConfigError(
                "the content may be anything, and is not written to a terminal",
                hint="Write it to a file: add `> FILE`, or pipe it into a program.",
            )
        silent: tuple[UnansweredRepository, ...] = ()
        with session.callbacks() as callbacks, suppress(BrokenPipeError):  # `| head` has seen enough
            silent = session.vault.dump(
                self.snapshot, self.path, sys.stdout.buffer, self.repository, instance=self.instance, **callbacks
            )
            sys.stdout.buffer.flush()
        reports.unanswered(Screen(sys.stderr), silent)
        return Answer(show=lambda _screen: None, exit_code=exit_codes.of_unanswered(silent))


def command(
    snapshot: SnapshotText,
    path: Annotated[str, typer.Argument(metavar="PATH", help="As `ls` lists it: data/webui.db.")],
    *,
    repository: From = None,
    instance: Series = None,
) -> Dump:
    """Write one file of a snapshot to stdout; a directory as a tar."""
    return Dump(snapshot=snapshot, path=path, repository=repository, instance=instance)
