"""What a command is: its request, what it works with, and what it answers."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owui_vault.cli import exit_codes
from owui_vault.cli.options import GlobalOptions, Needs
from owui_vault.cli.signals import Interruption

if TYPE_CHECKING:  # `--help` needs none of it
    from owui_vault.cli.log_file import LogFile
    from owui_vault.cli.render.screen import Screen
    from owui_vault.cli.render.waiting import Notices
    from owui_vault.config import VaultSettings
    from owui_vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command came to: `value`'s fields and `more` with `--json`, `show` otherwise.

    With `-q` a success is silent, unless the text is what was `asked_for`.
    """

    show: Callable[[Screen], None]
    value: object = None
    more: Mapping[str, object] = field(default_factory=dict)
    exit_code: int = exit_codes.DONE
    asked_for: bool = False


class Request(Needs, ABC):
    """What was asked of one command: a frozen dataclass beside its grammar. What is rare has its default here."""

    __slots__ = ()

    @property
    def called_as(self) -> str:
        """By which name it was called."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def perform(self, session: Session) -> Answer:
        """Do it. Raises VaultError."""

    def show_report(self, report: object, screen: Screen) -> None:
        """Show the report that an error of this command carries, where it says more than the error."""
        del report, screen  # most errors carry none


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A whole command line."""

    options: GlobalOptions
    request: Request


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a command works with. Nothing is read or opened before it is asked for."""

    request: Request
    options: GlobalOptions
    environ: Mapping[str, str]
    folder: Path
    interruption: Interruption = field(default_factory=Interruption)
    logs: list[LogFile] = field(default_factory=list)

    @cached_property
    def settings(self) -> VaultSettings:
        """As the configuration file or the options say. Raises ConfigError."""
        from owui_vault.cli.configuration import settings_for  # noqa: PLC0415  `--help` does without it

        found = settings_for(self.options, self.request, self.environ, self.folder)
        if found.log_file:
            from owui_vault.cli.log_file import write_log_to  # noqa: PLC0415  only where it is asked for

            self.logs.append(write_log_to(found.log_file, self.request.called_as))
        return found

    @cached_property
    def vault(self) -> Vault:
        """The vault of these settings. Raises ConfigError."""
        from owui_vault import assembly  # noqa: PLC0415  `--help` does without it
        from owui_vault.cli.configuration import telling_of_mistakes  # noqa: PLC0415  same

        settings = self.settings
        with telling_of_mistakes(settings.path, self.request, self.environ):
            return assembly.vault_from_settings(settings, self.environ, self.notices)

    @cached_property
    def notices(self) -> Notices:
        """Who tells the person at the terminal what is waited for."""
        from owui_vault.cli.render.waiting import Notices  # noqa: PLC0415  `--help` does without it

        return Notices(sys.stderr, self.options.verbosity)

    @contextmanager
    def callbacks(self) -> Iterator[dict[str, Any]]:
        """The arguments by which long operations show progress and can be asked to stop."""
        from owui_vault.cli.render import progress  # noqa: PLC0415  `--help` does without it

        with (
            progress.shown(sys.stderr, self.options.verbosity, self.notices) as sink,
            self.interruption.cancellable() as cancel,
        ):
            yield {"progress": sink, "cancel": cancel}
