"""Runs one command from its arguments to its exit code, whatever happens on the way."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from owui_vault.cli.parser.own_options import options_before_dashdash
from owui_vault.cli.render.screen import Screen, close_stdout, prepare_streams, print_error, print_json
from owui_vault.cli.signals import Interrupted, Interruption
from owui_vault.errors import CancelledError, UnforeseenError, VaultError


def run(words: Sequence[str]) -> int:
    """Run one command and answer its exit code. Nothing is raised."""
    prepare_streams()
    interruption = Interruption()
    with interruption.listening():
        try:
            exit_code = _run(words, interruption)
        except UnforeseenError as error:
            exit_code = error.exit_code
            _tell(_with_places(error, words), exit_code, words)
        except VaultError as error:
            cancelled = isinstance(error, CancelledError) and interruption.number is not None
            exit_code = interruption.exit_code if cancelled else error.exit_code
            _tell(error, exit_code, words)
        except Interrupted:
            exit_code = interruption.exit_code
            _tell(CancelledError("stopped on request"), exit_code, words)
        except Exception as error:  # the last stop: a traceback would show what nobody should see
            exit_code = 1
            _tell(_with_places(UnforeseenError(error), words), exit_code, words)
        close_stdout()
    return exit_code


def _run(words: Sequence[str], interruption: Interruption) -> int:
    from owui_vault.cli.parser.arguments import parse  # noqa: PLC0415  signals are listened to before anything slow

    invocation = parse(words)
    if isinstance(invocation, int):
        return invocation
    from owui_vault.cli.commands.dispatch import perform  # noqa: PLC0415  `--help` does without it

    _set_up_logging(invocation.options.verbosity)
    answer = perform(invocation, os.environ, interruption)
    with suppress(BrokenPipeError):  # `| head` has seen enough; what was asked for is done
        if invocation.options.json:
            print_json(answer.value, **answer.more)
        else:
            answer.show(Screen(sys.stdout))
    return answer.exit_code


def _tell(error: VaultError, exit_code: int, words: Sequence[str]) -> None:
    as_json = "--json" in options_before_dashdash(words)
    with suppress(BrokenPipeError):
        if error.report and not as_json:
            from owui_vault.cli.commands.dispatch import show_report_of  # noqa: PLC0415  it was imported to get here

            show_report_of(error, Screen(sys.stderr))
        print_error(error, exit_code, as_json=as_json)


def _with_places(error: UnforeseenError, words: Sequence[str]) -> VaultError:
    """The error, with the place where it happened if `-v` was given."""
    ours = options_before_dashdash(words)
    verbose = any(word == "--verbose" or (word.startswith("-v") and set(word[1:]) == {"v"}) for word in ours)
    if not verbose:
        return error
    told = VaultError("\n".join([error.message, *(f"  {place}" for place in error.places)]), hint="Please report this.")
    told.report = error.report
    return told


def _set_up_logging(verbosity: int) -> None:
    if verbosity <= 0:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("owui_vault")
    log.addHandler(handler)
    log.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
