"""`prune`: remove what `keep` does not keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import Repositories
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError

if TYPE_CHECKING:  # `--help` does without it
    from owui_vault.model import PrunePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(Request):
    """`prune`."""

    tells_of_mistakes = True

    names: tuple[str, ...] = ()
    dry_run: bool = False
    accept_collapse: bool = False

    def perform(self, session: Session) -> Answer:
        """What the only repository failed with, or 1 when one of several did or none of it answered; 5: collapsed."""
        from owui_vault.cli.render import pruning

        if self.dry_run and self.accept_collapse:
            raise ConfigError(
                "--accept-collapse is not for a dry run", hint="Look with --dry-run first, then accept what you saw."
            )
        plan = session.vault.plan_prune(repository=self.names or None)
        if self.accept_collapse and plan.collapse:
            session.vault.accept_collapse(plan.collapse)
            plan = session.vault.plan_prune(repository=self.names or None)
        if self.dry_run:
            return Answer(
                value=plan,
                show=lambda screen: pruning.planned(screen, plan),
                asked_for=True,
                exit_code=exit_codes.worst([_of_collapse(plan), exit_codes.of_unanswered(plan.unanswered)]),
            )
        with session.callbacks() as callbacks:
            report = session.vault.prune(plan, **callbacks)
        done = exit_codes.of_one_or_several([each.error for each in report.repositories])
        return Answer(
            value=report,
            show=lambda screen: pruning.pruned(screen, report),
            exit_code=exit_codes.worst(
                [done, _of_collapse(report.plan), exit_codes.of_unanswered(report.plan.unanswered)]
            ),
        )

    def show_report(self, report: object, screen: Screen) -> None:
        """How each repository fared, where there are several."""
        from owui_vault.cli.render import pruning
        from owui_vault.model import PruneReport

        if isinstance(report, PruneReport) and len(report.repositories) > 1:
            pruning.pruned(screen, report)


def _of_collapse(plan: PrunePlan) -> int:
    return exit_codes.WRONG if plan.collapse else exit_codes.DONE


def command(
    repositories: Repositories = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
    accept_collapse: Annotated[
        bool, typer.Option("--accept-collapse", help="The newest snapshot is right, though it holds much less.")
    ] = False,
) -> Prune:
    """Remove what `keep` does not keep, and say why the rest stays; never asks."""
    return Prune(names=tuple(repositories or ()), dry_run=dry_run, accept_collapse=accept_collapse)
