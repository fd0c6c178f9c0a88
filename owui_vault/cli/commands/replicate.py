"""`replicate`: bring to other repositories what one holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import Series
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.request import Answer, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate(Request):
    """`replicate`."""

    tells_of_mistakes = True

    snapshots: tuple[str, ...] = ()
    source: str | None = None
    to: tuple[str, ...] = ()
    instance: str | None = None
    dry_run: bool = False

    def perform(self, session: Session) -> Answer:
        """What the only repository failed with, or 1 when one of several did."""
        from owui_vault.cli.render import replicas

        plan = session.vault.plan_replication(
            self.source, to=self.to, snapshots=self.snapshots or None, instance=self.instance
        )
        if self.dry_run:
            return Answer(
                value=plan,
                show=lambda screen: replicas.planned(screen, plan),
                exit_code=exit_codes.of_one_or_several([each.error for each in plan.repositories]),
                asked_for=True,
            )
        with session.callbacks() as callbacks:
            report = session.vault.replicate(plan, **callbacks)
        return Answer(
            value=report,
            show=lambda screen: replicas.replicated(screen, report),
            exit_code=exit_codes.of_one_or_several([each.error for each in report.repositories]),
        )

    def show_report(self, report: object, screen: Screen) -> None:
        """How each repository fared, where there are several."""
        from owui_vault.cli.render import replicas
        from owui_vault.model import ReplicationReport

        if isinstance(report, ReplicationReport) and len(report.repositories) > 1:
            replicas.replicated(screen, report)


def command(
    snapshots: Annotated[
        list[str] | None, typer.Argument(metavar="[SNAPSHOT]...", help="These; otherwise all that is missing.")
    ] = None,
    *,
    source: Annotated[
        str | None, typer.Option("--from", metavar="REPO", help="Where they are; otherwise the first repository.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="REPO", help="Where they are to be; repeatable; otherwise all.")
    ] = None,
    instance: Series = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be copied, and how.")] = False,
) -> Replicate:
    """Bring to other repositories what one holds, they lack and their `keep` would keep; removes nothing."""
    return Replicate(
        snapshots=tuple(snapshots or ()), source=source, to=tuple(to or ()), instance=instance, dry_run=dry_run
    )
