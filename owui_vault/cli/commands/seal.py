"""`seal`: secrets from a prompt or stdin into a sealed file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from owui_vault.cli.request import Answer, Request, Session
from owui_vault.cli.terminal import ask, at_a_terminal
from owui_vault.errors import ConfigError, SecretError
from owui_vault.model import Secret

if TYPE_CHECKING:  # its grammar does without them
    from owui_vault.config import VaultSettings
    from owui_vault.model.secrets import SecretReference


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """The file, and the names of all secrets in it now."""

    file: Path
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal(Request):
    """`seal`."""

    names: tuple[str, ...]
    file: Path | None = None
    unlock_file: Path | None = None

    def perform(self, session: Session) -> Answer:
        """Ask for each secret and put it in. Raises ConfigError or SecretError, and then the file is as it was."""
        from owui_vault.cli.render import reports
        from owui_vault.secrets.sealed import seal

        if len(set(self.names)) < len(self.names):
            raise ConfigError("a name was given twice", hint="Give each name once.")
        known = self._sealed_files(session)
        path = self._choose_file(known, session)
        entries = dict(zip(self.names, _answers(self.names), strict=True))
        report = SealReport(file=path, names=seal(path, entries, self._unlock(path, known, session)))
        return Answer(value=report, show=lambda screen: reports.sealed(screen, report.file, report.names))

    def _sealed_files(self, session: Session) -> dict[Path, SecretReference]:
        """The sealed files a configuration names, each with the source of its key. Without a configuration, none."""
        from owui_vault.config import find_config

        options = session.options
        named = options.config is not None or find_config(session.environ, session.folder) is not None
        if options.without_file or (not named and self.file):
            return {}
        return dict(_references(session.settings))

    def _choose_file(self, known: Mapping[Path, SecretReference], session: Session) -> Path:
        from owui_vault.config import expand

        if self.file:
            return expand(str(self.file), session.folder, session.environ)
        if len(known) == 1:
            return next(iter(known))
        named = ", ".join(str(path) for path in sorted(known)) or "none"
        raise ConfigError(f"which sealed file is meant is not clear; configured: {named}", hint="Pass --file FILE.")

    def _unlock(self, path: Path, known: Mapping[Path, SecretReference], session: Session) -> Secret:
        from owui_vault.config import expand
        from owui_vault.model.secrets import FileSecret
        from owui_vault.secrets import secret_source

        if self.unlock_file:
            file = expand(str(self.unlock_file), session.folder, session.environ)
            reference: SecretReference | None = FileSecret(path=file)
        else:
            reference = known.get(path)
        if reference is not None:
            return Secret(secret_source(reference, session.environ).reveal())
        if not at_a_terminal():
            raise SecretError("the key of the sealed file is not known", hint="Pass --unlock-file FILE.")
        return ask(f"Key of {path}", twice=not path.exists())


def _references(settings: VaultSettings) -> Iterator[tuple[Path, SecretReference]]:
    from owui_vault.model.secrets import SealedSecret

    given = [reference for each in settings.repositories for reference in (each.passphrase, *each.environment.values())]
    if settings.instance:
        given += [each for each in (settings.instance.secret_key, settings.instance.database_url) if each]
    while given:
        reference = given.pop()
        if isinstance(reference, SealedSecret):
            yield reference.path, reference.unlock
            given.append(reference.unlock)


def _answers(names: tuple[str, ...]) -> list[Secret]:
    if at_a_terminal():
        return [ask(f"Secret {name}", twice=True) for name in names]
    lines = sys.stdin.read().split("\n") if sys.stdin else []
    if lines and not lines[-1]:
        lines.pop()
    if len(lines) != len(names):
        raise SecretError(
            f"stdin has {len(lines)} lines for {len(names)} names", hint="Give one line for each name, in their order."
        )
    return [Secret(line.removesuffix("\r")) for line in lines]


def command(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The secrets' names.")],
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The sealed file; otherwise the one in the configuration.")
    ] = None,
    unlock_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key; otherwise as configured, or prompted for.")
    ] = None,
) -> Seal:
    """Put secrets into a sealed file, from a prompt or one per line from stdin."""
    return Seal(names=tuple(names), file=file, unlock_file=unlock_file)
