"""How a rescue is started: the same way by the guardian, by `recover` and by hand."""

from __future__ import annotations

from owui_vault.errors import ResumeError
from owui_vault.system.python import interpreter, module_environment

_OURS = "owui_vault."
_ADDRESS = ("-m", f"{_OURS}rescue")
# Journals of 0.1 before that address name the modules of then, without that prefix here. Whatever these are called by
# now, such a journal has to be understood: it may be all that knows of an instance that stands still.
_FORMERLY: dict[str, tuple[str, ...]] = {"quiesce.rescue": (), "vault.leading_back": ("rollback",)}
_CAN_STOP = ("process", "unit", "container", "fake")

GONE = 3  # the status of a rescue that finds nothing any more to bring back: to try again is of no use
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RemovedError(ResumeError):
    """What was made quiet was removed meanwhile: only a person can recreate it."""


def rescue(*arguments: str) -> tuple[str, ...]:
    """The command line of a rescue: a kind and what it needs (`owui_vault.rescue`). Raises ProgramMissingError."""
    return (interpreter(), *_ADDRESS, *arguments)


def rescue_environment() -> dict[str, str]:
    """All that a rescue finds in its environment."""
    return {**module_environment(), "PATH": SYSTEM_PATH, "PYTHONSAFEPATH": "1"}


def with_current_interpreter(command: tuple[str, ...]) -> tuple[str, ...]:
    """A rescue written down by an earlier run, for this run's interpreter and address.

    An upgrade may have removed the old interpreter, and the module that was named then. One rescue may hold another
    that it hands over to; each has its own. Raises ProgramMissingError.
    """
    renewed: list[str] = []
    at = 0
    while at < len(command):
        if _is_ours(command[at:]):
            room = command[at + 2].removeprefix(_OURS)
            renewed += rescue(*_FORMERLY[room]) if room in _FORMERLY else (interpreter(), *command[at + 1 : at + 3])
            at += 3
        else:
            renewed.append(command[at])
            at += 1
    return tuple(renewed)


def down_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """What stops again what this rescue would bring back; empty for a rescue that is not of this package."""
    can_stop = command[1:3] == _ADDRESS and command[3:4] != () and command[3] in _CAN_STOP
    return (*command[:4], "--down", *command[4:]) if can_stop else ()


def _is_ours(command: tuple[str, ...]) -> bool:
    """Whether it is an interpreter that starts one of our modules by name."""
    return command[1:2] == ("-m",) and command[2:3] != () and command[2].startswith(_OURS)
