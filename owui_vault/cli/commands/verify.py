"""`verify`: the repository, and what can be restored from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated

import typer

from owui_vault.cli import exit_codes
from owui_vault.cli.arguments import From, Series
from owui_vault.cli.own_options import options_before_dashdash
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify(Request):
    """`verify`. `read_data` is a share from 0 to 1."""

    tells_of_mistakes = True

    snapshot: str = "latest"
    repository: str | None = None
    instance: str | None = None
    read_data: float = 0.0

    def perform(self, session: Session) -> Answer:
        """5 when something is wrong, 1 when a repository did not answer."""
        from owui_vault.cli.render import verification

        with session.callbacks() as callbacks:
            report = session.vault.verify(
                self.snapshot,
                repository=self.repository,
                read_data=self.read_data,
                instance=self.instance,
                **callbacks,
            )
        found = exit_codes.DONE if report.ok else exit_codes.WRONG
        return Answer(
            value=report,
            show=lambda screen: verification.verified(screen, report),
            exit_code=exit_codes.worst([found, exit_codes.of_unanswered(report.unanswered)]),
        )


def prepare(words: Sequence[str]) -> list[str]:
    """`--read-data` may stand alone, which typer does not know: then it means everything."""
    ours = options_before_dashdash(words)
    told = [
        "--read-data=100" if word == "--read-data" and not _PERCENT.fullmatch(following) else word
        for word, following in zip_longest(ours, ours[1:], fillvalue="")
    ]
    return [*told, *words[len(ours) :]]


def command(
    snapshot: Annotated[str, typer.Argument(metavar="[SNAPSHOT]", help="`latest`, if none is given.")] = "latest",
    *,
    repository: From = None,
    instance: Series = None,
    read_data: Annotated[
        str | None,
        typer.Option(
            "--read-data", metavar="[PERCENT]", help="Fetch everything, and read this share of the repository."
        ),
    ] = None,
) -> Verify:
    """Check the repository, and compare what it returns with the manifest."""
    share = _share(read_data) if read_data is not None else 0.0
    return Verify(snapshot=snapshot, repository=repository, instance=instance, read_data=share)


def _share(text: str) -> float:
    found = _PERCENT.fullmatch(text)
    if not found or not 0 <= float(found[1]) <= 100:
        raise ConfigError(f"--read-data takes a percentage, not {text!r}", hint="Give 5%, or no value for all.")
    return float(found[1]) / 100
