"""`daemon`: what is due is done, for as long as it runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from owui_vault.cli import exit_codes
from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError

if TYPE_CHECKING:  # its grammar does without it
    from owui_vault.system.child_process import Attached

_LAST_SECONDS = 60  # as the first process, we take everybody along who has not ended by then: guardians, for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon(Request):
    """`daemon`."""

    passphrase = Passphrase.NOT_NEEDED

    def perform(self, session: Session) -> Answer:
        """0 when it was asked to end between two runs; otherwise the code of the run that it broke off."""
        from owui_vault.cli.daemon import Around, loop
        from owui_vault.cli.service_manager import VARIABLES, notify, watchdog_seconds
        from owui_vault.system.child_process import reap_orphans
        from owui_vault.system.clock import SystemClock

        if session.options.without_file:
            raise ConfigError("a daemon works with a file, and options take the place of one", hint=_FILE)
        clock, watchdog = SystemClock(), watchdog_seconds(session.environ)
        with session.interruption.cancellable() as cancel:

            def wait(seconds: float) -> bool:
                if cancel.is_set():
                    clock.sleep(min(seconds, 0.2))  # for what takes its time to end
                    return True
                return cancel.wait(min(seconds, watchdog / 3) if watchdog else seconds)

            def beat(own: int) -> None:
                reap_orphans(own)
                notify(session.environ, "STOPPING=1\nWATCHDOG=1" if cancel.is_set() else "WATCHDOG=1")

            environment = {name: value for name, value in session.environ.items() if name not in VARIABLES}
            notify(session.environ, "READY=1")
            report = loop(Around(clock=clock, start=_starter(session, environment), wait=wait, beat=beat, say=_say))
            notify(session.environ, "STOPPING=1")
            for _ in range(_LAST_SECONDS):
                if not reap_orphans():
                    break
                clock.sleep(1.0)
        return Answer(value=report, show=lambda _screen: None, exit_code=_exit_code(session, report.interrupted))


def _exit_code(session: Session, broken_off: int | None) -> int:
    if broken_off is None:
        return exit_codes.DONE
    # Below zero: a call that had not come to listening to signals, and so to doing anything.
    cancelled = broken_off > exit_codes.SIGNALLED or broken_off == -signal.SIGTERM
    return session.interruption.exit_code if cancelled else broken_off if broken_off > 0 else exit_codes.FAILED


_FILE = "Name the configuration with --config FILE."


def _starter(session: Session, environment: Mapping[str, str]) -> Callable[[str], Attached]:
    from owui_vault.system import python
    from owui_vault.system.child_process import Attached

    options = session.options
    words = [python.interpreter(), "-P", "-m", "owui_vault"]
    words += ["--config", os.fspath(options.config)] if options.config else []
    words += ["--quiet"] if options.verbosity < 0 else ["--verbose"] * options.verbosity
    around = {**environment, **python.checkout()}

    def start(command: str) -> Attached:
        quiet = ["--quiet"] if command == "recover" and options.verbosity == 0 else []  # most starts recover nothing
        return Attached([*words, *quiet, command], around, stdout_to_stderr=options.json)

    return start


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def command() -> Daemon:
    """Do what is due until asked to end: `recover` at the start, then `run` in every minute, for containers.

    SIGTERM and SIGINT end a run cleanly. The configuration may change, or be wrong for a while, at any time.
    """
    return Daemon()
