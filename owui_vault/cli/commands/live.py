"""The commands that touch the live instance: restore in place, undo, discard, hold."""

from __future__ import annotations

import sys

from owui_vault.cli import exit_codes, requests
from owui_vault.cli.commands.session import Answer, Session
from owui_vault.cli.configuration import at_a_terminal
from owui_vault.cli.render import live
from owui_vault.cli.render.screen import Screen
from owui_vault.cli.requests import LiveRequest
from owui_vault.errors import ConfigError
from owui_vault.model import ReplacementPlan
from owui_vault.system.process import run_attached


def perform(asked: LiveRequest, session: Session) -> Answer:
    """Do it. Raises VaultError."""
    match asked:
        case requests.Replace() as request:
            answer = _replace(session, request)
        case requests.Undo():
            with session.callbacks() as callbacks:
                undone = session.vault.undo(**callbacks)
            answer = Answer(value=undone, show=lambda screen: live.undone(screen, undone))
        case requests.Discard():
            gone = session.vault.discard()
            answer = Answer(value=gone, show=lambda screen: live.discarded(screen, gone))
        case requests.Hold() as request:
            answer = _hold(session, request)
    return answer


def _replace(session: Session, request: requests.Replace) -> Answer:
    plan = session.vault.plan_replacement(
        request.snapshot,
        components=request.components or None,
        repository=request.repository,
        quiet_start=request.quiet_start,
    )
    accepted = request.accept_unknown_version
    if not request.yes:
        _require_consent(plan)
        accepted = True  # the plan said that nobody could be asked, and a person agreed to it
    with session.callbacks() as callbacks:
        report = session.vault.replace(plan, accept_unknown_version=accepted, **callbacks)
    return Answer(value=report, show=lambda screen: live.replaced(screen, report))


def _require_consent(plan: ReplacementPlan) -> None:
    """The only question this program asks: everything else can be taken back."""
    live.planned(Screen(sys.stderr), plan)
    if not at_a_terminal():
        raise ConfigError(
            "confirmation is needed, but there is no terminal and --yes was not given; nothing was changed",
            hint="Review the plan above, then run the same command with --yes.",
        )
    sys.stderr.write("Replace the live data as described above? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("not confirmed; nothing was changed")


def _hold(session: Session, request: requests.Hold) -> Answer:
    """The command's own status, unless the hold broke (1) or the instance is not back (4): those are raised."""
    with session.vault.hold(request.quiesce, request.limit):
        status = run_attached(request.command, stdout_to_stderr=session.options.json)
    return Answer(
        more={"command": request.command, "status": status},
        show=lambda _screen: None,
        exit_code=status if status >= 0 else exit_codes.SIGNALLED - status,
    )
