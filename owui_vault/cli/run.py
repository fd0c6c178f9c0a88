"""Runs one command from its arguments to its exit code, whatever happens on the way."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from owui_vault.cli.exit_codes import DONE
from owui_vault.cli.own_options import options_before_dashdash
from owui_vault.cli.render.screen import Screen, close_stdout, prepare_streams, print_error, print_json
from owui_vault.cli.signals import Interrupted, Interruption
from owui_vault.errors import CancelledError, UnforeseenError, VaultError
from owui_vault.system.python import environ_or_own

if TYPE_CHECKING:  # signals are listened to before anything slow
    from owui_vault.cli.log_file import LogFile
    from owui_vault.cli.request import Invocation, Request


def run(words: Sequence[str]) -> int:
    """Run one command and answer its exit code. Nothing is raised."""
    prepare_streams()
    interruption = Interruption()
    with interruption.listening():
        this = _Run(words, interruption)
        try:
            exit_code = this.perform()
        except UnforeseenError as error:
            exit_code = error.exit_code
            this.tell(_with_places(error, words), exit_code)
        except VaultError as error:
            cancelled = isinstance(error, CancelledError) and interruption.number is not None
            exit_code = interruption.exit_code if cancelled else error.exit_code
            this.tell(error, exit_code)
        except Interrupted:
            exit_code = interruption.exit_code
            this.tell(CancelledError("stopped on request"), exit_code)
        except Exception as error:  # the last stop: a traceback would show what nobody should see
            exit_code = 1
            this.tell(_with_places(UnforeseenError(error), words), exit_code)
        this.end_logs(exit_code)
        close_stdout()
    return exit_code


class _Run:
    """One command line on its way."""

    def __init__(self, words: Sequence[str], interruption: Interruption) -> None:
        self._words = words
        self._interruption = interruption
        self._request: Request | None = None
        self._logs: list[LogFile] = []
        self._error = ""
        self._as_json = "--json" in options_before_dashdash(words)  # until they are understood

    def perform(self) -> int:
        """Understand it and do it; the exit code. Raises VaultError, and whatever nobody foresaw."""
        from owui_vault.cli.request import Session  # noqa: PLC0415  signals are listened to before anything slow
        from owui_vault.cli.scheduled_call import scheduled_call  # noqa: PLC0415  same

        invocation = scheduled_call(self._words) or _parsed(self._words)
        if isinstance(invocation, int):
            return invocation
        options, self._request = invocation.options, invocation.request
        self._as_json = options.json
        _set_up_logging(options.verbosity)
        session = Session(
            request=self._request,
            options=options,
            environ=environ_or_own(),
            folder=Path.cwd(),
            interruption=self._interruption,
            logs=self._logs,
        )
        answer = self._request.perform(session)
        with suppress(BrokenPipeError):  # `| head` has seen enough; what was asked for is done
            if options.json:
                print_json(answer.value, **answer.more)
            elif answer.exit_code != DONE or options.verbosity >= 0 or answer.asked_for:
                answer.show(Screen(sys.stdout))
            elif warnings := tuple(getattr(answer.value, "warnings", ())):  # it went well, and somebody has to look
                _warn(warnings)
        return answer.exit_code

    def tell(self, error: VaultError, exit_code: int) -> None:
        """The error, below the report that it carries."""
        self._error = error.message
        with suppress(BrokenPipeError):
            if error.report and self._request and not self._as_json:
                self._request.show_report(error.report, Screen(sys.stderr, told_below=error))
            as_root = ["sudo", "owui-vault", *self._words] if error.lacks_rights and os.geteuid() != 0 else []
            print_error(
                error,
                exit_code,
                as_json=self._as_json,
                verbose=_is_verbose(self._words),
                instead=shlex.join(map(str, as_root)),
            )

    def end_logs(self, exit_code: int) -> None:
        """How it ended, into the files that the log went to."""
        for each in self._logs:
            from owui_vault.cli.log_file import end_log  # noqa: PLC0415  only where there is one

            end_log(each, exit_code, self._error)


def _parsed(words: Sequence[str]) -> Invocation | int:
    from owui_vault.cli.grammar import parse  # noqa: PLC0415  what a scheduler calls does without it

    return parse(words)


def _warn(warnings: tuple[str, ...]) -> None:
    from owui_vault.cli.render import reports  # noqa: PLC0415  only where there is something to say

    reports.warnings(Screen(sys.stderr), warnings)


def _with_places(error: UnforeseenError, words: Sequence[str]) -> VaultError:
    """The error, with the place where it happened if `-v` was given."""
    if not _is_verbose(words):
        return error
    told = VaultError("\n".join([error.message, *(f"  {place}" for place in error.places)]), hint="Please report this.")
    told.report = error.report
    return told


def _is_verbose(words: Sequence[str]) -> bool:
    """Whether `-v` was given, also where the words could not be understood."""
    ours = options_before_dashdash(words)
    return any(word == "--verbose" or (word.startswith("-v") and set(word[1:]) == {"v"}) for word in ours)


def _set_up_logging(verbosity: int) -> None:
    if verbosity <= 0:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("owui_vault")
    log.addHandler(handler)
    log.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
