"""`ls`: the paths of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import From, Series, SnapshotText
from owui_vault.cli.request import Answer, Request, Session

if TYPE_CHECKING:  # its grammar does without them
    from owui_vault.cli.render.screen import Screen
    from owui_vault.model import UnansweredRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class List(Request):
    """`ls`."""

    snapshot: str
    path: str = ""
    repository: str | None = None
    instance: str | None = None

    def perform(self, session: Session) -> Answer:
        """List them; nothing is fetched."""
        from owui_vault.cli.render import reports
        from owui_vault.cli.render.phrases import size

        silent: list[UnansweredRepository] = []
        found = session.vault.entries(
            self.snapshot, self.path, self.repository, instance=self.instance, on_unanswered=silent.append
        )

        def show(screen: Screen) -> None:
            for each in found:
                length = size(each.size_bytes) if each.kind == "file" else each.kind
                screen.line(f"{length:>8}  {each.path}{'/' if each.kind == 'dir' else ''}", hang=10)
            reports.unanswered(screen, silent)

        return Answer(
            more={"entries": found, **({"unanswered": silent} if silent else {})},
            show=show,
            asked_for=True,
            exit_code=exit_codes.of_unanswered(silent),
        )


def command(
    snapshot: SnapshotText,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="Only this and what is below it: data/uploads.")] = "",
    *,
    repository: From = None,
    instance: Series = None,
) -> List:
    """List the paths that a snapshot holds; they begin with data/ or outside/."""
    return List(snapshot=snapshot, path=path, repository=repository, instance=instance)
