"""`config`: a first configuration, a check that touches nothing, and the settings that are in effect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from owui_vault.cli.options import Passphrase
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.errors import ConfigError

if TYPE_CHECKING:  # its grammar does without it
    from owui_vault.model.config_reports import EffectiveSettings


class Action(Enum):
    """What is to be done."""

    GENERATE = "generate"
    VALIDATE = "validate"
    SHOW = "show"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate(Request):
    """`config generate`."""

    file: Path | None = None
    unit: str | None = None

    def perform(self, session: Session) -> Answer:
        """Print it, or write a new file."""
        from owui_vault.cli.first_configuration import Here, generate, show_generated

        here = Here(options=session.options, environ=session.environ, folder=session.folder, unit=self.unit)
        made = generate(here, self.file)
        return Answer(value=made, show=lambda screen: show_generated(screen, made), asked_for=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validate(Request):
    """`config validate`."""

    passphrase = Passphrase.NOT_NEEDED

    def perform(self, session: Session) -> Answer:
        """Read the file and look at what it names, from outside. Raises ConfigError with every mistake."""
        from owui_vault import assembly
        from owui_vault.cli.configuration import file_for
        from owui_vault.cli.render import configured

        if session.options.without_file:
            raise ConfigError("a file is checked, and options take the place of one", hint="Pass --config FILE.")
        report = assembly.check_configuration(
            file_for(session.options, session.environ, session.folder), session.environ
        )
        return Answer(value=report, show=lambda screen: configured.checked(screen, report))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowSettings(Request):
    """`config show`."""

    passphrase = Passphrase.NOT_NEEDED

    def perform(self, session: Session) -> Answer:
        """Each setting, and where it came from. Raises ConfigError."""
        from owui_vault.cli.render import configured

        found = self._settings(session)
        return Answer(value=found, show=lambda screen: configured.effective(screen, found), asked_for=True)

    def _settings(self, session: Session) -> EffectiveSettings:
        from owui_vault import assembly
        from owui_vault.cli.configuration import file_for

        if session.options.without_file:
            return assembly.settings_of_options(session.settings, session.environ)
        return assembly.effective_settings(file_for(session.options, session.environ, session.folder), session.environ)


def command(
    action: Annotated[Action, typer.Argument(metavar="generate|validate|show", help="What to do.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="For generate: the new file; otherwise stdout.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="For generate: the systemd unit that Open WebUI runs in.")
    ] = None,
) -> Request:
    """Write a commented configuration for what is here, check one and touch nothing, or show what is in effect.

    `generate` is for the container that it finds, or as --container, --data-dir or --unit say; --repository, --engine
    and --passphrase-file are written into it.
    """
    if action is Action.GENERATE:
        return Generate(file=file, unit=unit)
    if file or unit:
        raise ConfigError(
            f"{'a file' if file else '--unit'} is of `config generate`",
            hint=f"Name the configuration with --config FILE: owui-vault --config FILE config {action.value}",
        )
    return Validate() if action is Action.VALIDATE else ShowSettings()
