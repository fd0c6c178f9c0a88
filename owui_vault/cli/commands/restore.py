"""`restore`: a snapshot into a new directory, or in place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import PARTS, From, Series, SnapshotText
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.cli.terminal import require_consent
from owui_vault.errors import ConfigError
from owui_vault.model import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Request):
    """`restore --target`."""

    snapshot: str
    target: Path
    repository: str | None = None
    instance: str | None = None
    components: tuple[Component, ...] = ()
    app_data_dir: str | None = None
    quiet_start: bool = False

    def perform(self, session: Session) -> Answer:
        """Write it and check it. 1 when a repository that was asked first did not answer."""
        from owui_vault.cli.render import reports

        with session.callbacks() as callbacks:
            report = session.vault.restore(
                self.snapshot,
                target=self.target.absolute(),
                components=self.components or None,
                repository=self.repository,
                app_data_dir=self.app_data_dir,
                instance=self.instance,
                quiet_start=self.quiet_start,
                **callbacks,
            )
        return Answer(
            value=report,
            show=lambda screen: reports.restored(screen, report),
            exit_code=exit_codes.of_unanswered(report.unanswered),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Request):
    """`restore --in-place`."""

    snapshot: str
    repository: str | None = None
    components: tuple[Component, ...] = ()
    yes: bool = False
    dry_run: bool = False
    accept_unknown_version: bool = False
    quiet_start: bool = False

    def perform(self, session: Session) -> Answer:
        """Plan, show the plan, ask, replace."""
        from owui_vault.cli.render import live
        from owui_vault.cli.render.screen import Screen

        plan = session.vault.plan_replacement(
            self.snapshot,
            components=self.components or None,
            repository=self.repository,
            quiet_start=self.quiet_start,
        )
        if self.dry_run:
            return Answer(
                value=plan,
                show=lambda screen: live.planned(screen, plan),
                exit_code=exit_codes.of_unanswered(plan.unanswered),
                asked_for=True,
            )
        if not (self.yes and session.options.verbosity < 0):
            live.planned(Screen(sys.stderr), plan)
        accepted = self.accept_unknown_version
        if not self.yes:
            require_consent("Replace the live data as described above?")
            accepted = True  # the plan said that nobody could be asked, and a person agreed to it
        with session.callbacks() as callbacks:
            report = session.vault.replace(plan, accept_unknown_version=accepted, **callbacks)
        return Answer(
            value=report,
            show=lambda screen: live.replaced(screen, report),
            exit_code=exit_codes.of_unanswered(plan.unanswered),
        )


def command(  # noqa: PLR0913  each is an option
    snapshot: SnapshotText,
    *,
    target: Annotated[Path | None, typer.Option(metavar="DIR", help="A new or empty directory.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Replace the live data; the previous data are kept until `discard`.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --in-place: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --in-place: only show what would happen.")] = False,
    repository: From = None,
    instance: Series = None,
    component: Annotated[
        list[Component] | None, typer.Option(metavar="PART", help=f"Only this part; repeatable: {PARTS}.")
    ] = None,
    app_data_dir: Annotated[
        str | None, typer.Option(metavar="PATH", help="The data directory as the application will see it.")
    ] = None,
    quiet_start: Annotated[
        bool, typer.Option("--quiet-start", help="Switch off automations, timers and webhooks in the restored data.")
    ] = False,
    accept_unknown_version: Annotated[
        bool,
        typer.Option(
            "--accept-unknown-version",
            help="With --in-place --yes: restore a different schema even if Open WebUI cannot say whether it knows it.",
        ),
    ] = False,
) -> Restore | Replace:
    """Write a snapshot into a new directory and check it (DIR/data is ready to run), or replace the live data."""
    if (target is None) is not in_place:
        raise ConfigError("give either --target or --in-place", hint="--target DIR leaves the live data alone.")
    parts = tuple(component or ())
    if target is not None:
        if accept_unknown_version:
            raise ConfigError("--accept-unknown-version goes with --in-place", hint="With --target nothing is started.")
        if dry_run:
            raise ConfigError("--dry-run goes with --in-place", hint="With --target the live data are left alone.")
        return Restore(
            snapshot=snapshot,
            target=target,
            repository=repository,
            instance=instance,
            components=parts,
            app_data_dir=app_data_dir,
            quiet_start=quiet_start,
        )
    if app_data_dir is not None:
        raise ConfigError("--app-data-dir goes with --target", hint="In place the path stays as it is.")
    if instance is not None:
        raise ConfigError("--instance goes with --target", hint="In place, the instance's own series is taken.")
    return Replace(
        snapshot=snapshot,
        repository=repository,
        components=parts,
        yes=yes,
        dry_run=dry_run,
        accept_unknown_version=accept_unknown_version,
        quiet_start=quiet_start,
    )
