"""How a rescue is started: the same way by the guardian, by `recover` and by hand."""

from __future__ import annotations

from owui_vault.errors import ResumeError
from owui_vault.system.python import interpreter, module_environment

_MODULE = ("-m", "owui_vault.quiesce.rescue")
_OURS = "owui_vault."

GONE = 3  # the status of a rescue that finds nothing any more to bring back: to try again is of no use
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RemovedError(ResumeError):
    """What was made quiet was removed meanwhile: only a person can make it anew."""


def rescue(*arguments: str) -> tuple[str, ...]:
    """The command line of a rescue. Raises ProgramMissingError."""
    return (interpreter(), *_MODULE, *arguments)


def rescue_environment() -> dict[str, str]:
    """All that a rescue finds in its environment."""
    return {**module_environment(), "PATH": SYSTEM_PATH, "PYTHONSAFEPATH": "1"}


def today(command: tuple[str, ...]) -> tuple[str, ...]:
    """A rescue written down by an earlier run, for this run's interpreter: an upgrade may have removed the old one.

    One rescue may hold another that it hands over to; each has its interpreter. Raises ProgramMissingError.
    """
    return tuple(interpreter() if _is_ours(command[at:]) else part for at, part in enumerate(command))


def down_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """What stops again what this rescue would bring back; empty for a rescue that is not of this package."""
    return (*command[:3], "--down", *command[3:]) if _is_ours(command) else ()


def _is_ours(command: tuple[str, ...]) -> bool:
    """Whether it is an interpreter that starts one of our modules by name."""
    return command[1:2] == ("-m",) and command[2:3] != () and command[2].startswith(_OURS)
