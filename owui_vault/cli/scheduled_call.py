"""`run`, and the words in which schedulers call it: understood without the grammar, which is a fifth of what it takes.

It is called every few minutes, and nearly always nothing is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from owui_vault.cli import exit_codes
from owui_vault.cli.options import GlobalOptions, Passphrase
from owui_vault.cli.request import Answer, Invocation, Request, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Request):
    """`run`."""

    tells_of_mistakes = True
    passphrase = Passphrase.NOT_NEEDED  # nobody is there to be asked
    called_as = "run"

    names: tuple[str, ...] = ()
    dry_run: bool = False

    def perform(self, session: Session) -> Answer:
        """The worst of its runs; 1 where it tells of a killed one, or could not record its own."""
        from owui_vault.model import RunReport  # noqa: PLC0415  `--help` does without it

        with session.callbacks() as callbacks:
            report = session.vault.run(self.names or None, dry_run=self.dry_run, **callbacks)
        if report == RunReport():  # what most calls come to: at once, and without a word
            return Answer(value=report, show=lambda _screen: None)
        from owui_vault.cli.render import unattended  # noqa: PLC0415  where there is nothing to say it is of no use

        if self.dry_run:
            return Answer(value=report, show=lambda screen: unattended.decided(screen, report), asked_for=True)
        told = [exit_codes.FAILED] if report.killed or report.unrecorded else []
        return Answer(
            value=report,
            show=lambda screen: unattended.ran(screen, report),
            exit_code=exit_codes.worst([*(each.exit_code for each in report.runs), *told]),
            asked_for=bool(report.warnings),  # nobody else will tell of a damaged ledger
        )


def scheduled_call(words: Sequence[str]) -> Invocation | None:
    """`[--config FILE] [-q] run`, as cron, timers and `daemon` call it; None for everything else."""
    if not words or words[-1] != "run":
        return None
    config: Path | None = None
    quiet = False
    before = iter(words[:-1])
    for word in before:
        if word in ("-q", "--quiet"):
            quiet = True
        elif word == "--config" and (value := next(before, "")) and not value.startswith("-"):
            config = Path(value)
        else:
            return None
    return Invocation(options=GlobalOptions(config=config, verbosity=-1 if quiet else 0), request=Run())
