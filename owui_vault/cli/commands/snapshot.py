"""`snapshot`: one instant, stored in each repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.model import Outcome, Quiesce


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot(Request):
    """`snapshot`."""

    tells_of_mistakes = True

    to: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    quiesce: Quiesce | None = None
    dry_run: bool = False

    def perform(self, session: Session) -> Answer:
        """One of several repositories failed: 1. All failed: the vault raised."""
        from owui_vault.cli.render import reports

        with session.callbacks() as callbacks:
            report = session.vault.snapshot(
                to=self.to or None, tags=self.tags, quiesce=self.quiesce, dry_run=self.dry_run, **callbacks
            )
        stored = exit_codes.of_several(each.error for each in report.repositories if not each.excused)
        outcome = exit_codes.DONE if report.outcome is Outcome.COMPLETE else exit_codes.INCOMPLETE
        return Answer(
            value=report,
            show=lambda screen: reports.taken(screen, report),
            exit_code=exit_codes.worst((stored, outcome)),
        )

    def show_report(self, report: object, screen: Screen) -> None:
        """How each repository fared."""
        from owui_vault.cli.render import reports
        from owui_vault.model import SnapshotReport

        if isinstance(report, SnapshotReport):
            reports.taken(screen, report)


def command(
    *,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="REPO", help="Store it here only; repeatable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag it; repeatable.")] = None,
    quiesce: Annotated[Quiesce | None, typer.Option(help="How the instance is made quiet.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Capture and check, store nothing.")] = False,
) -> TakeSnapshot:
    """Take one instant and store it in each repository."""
    return TakeSnapshot(to=tuple(to or ()), tags=tuple(tag or ()), quiesce=quiesce, dry_run=dry_run)
