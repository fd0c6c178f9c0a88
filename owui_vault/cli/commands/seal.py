"""`seal`: secrets from a prompt or stdin into a sealed file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from owui_vault.cli.configuration import ask, at_a_terminal, settings_for
from owui_vault.cli.requests import GlobalOptions, Seal
from owui_vault.config import VaultSettings, expand, find_config
from owui_vault.errors import ConfigError, SecretError
from owui_vault.model import Secret
from owui_vault.model.secrets import FileSecret, SealedSecret, SecretReference
from owui_vault.secrets import secret_source
from owui_vault.secrets.sealed import seal as seal_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """The file, and the names of all secrets in it now."""

    file: Path
    names: tuple[str, ...]


def seal(request: Seal, options: GlobalOptions, environ: Mapping[str, str], folder: Path) -> SealReport:
    """Ask for each secret and put it in. Raises ConfigError or SecretError, and then the file is as it was."""
    if len(set(request.names)) < len(request.names):
        raise ConfigError("a name was given twice", hint="Give each name once.")
    known = _sealed_files(options, request, environ, folder)
    path = _choose_file(request, known, environ, folder)
    entries = dict(zip(request.names, _answers(request.names), strict=True))
    unlock = _unlock(request, path, known, environ, folder)
    return SealReport(file=path, names=seal_entries(path, entries, unlock))


def _sealed_files(
    options: GlobalOptions, request: Seal, environ: Mapping[str, str], folder: Path
) -> dict[Path, SecretReference]:
    """The sealed files a configuration names, each with the source of its key. Without a configuration, none."""
    named = options.config is not None or find_config(environ, folder) is not None
    if options.without_file or (not named and request.file):
        return {}
    return dict(_references(settings_for(options, request, environ, folder)))


def _references(settings: VaultSettings) -> Iterator[tuple[Path, SecretReference]]:
    given = [reference for each in settings.repositories for reference in (each.passphrase, *each.environment.values())]
    if settings.instance:
        given += [each for each in (settings.instance.secret_key, settings.instance.database_url) if each]
    while given:
        reference = given.pop()
        if isinstance(reference, SealedSecret):
            yield reference.path, reference.unlock
            given.append(reference.unlock)


def _choose_file(
    request: Seal, known: Mapping[Path, SecretReference], environ: Mapping[str, str], folder: Path
) -> Path:
    if request.file:
        return expand(str(request.file), folder, environ)
    if len(known) == 1:
        return next(iter(known))
    named = ", ".join(str(path) for path in sorted(known)) or "none"
    raise ConfigError(f"which sealed file is meant is not clear; configured: {named}", hint="Pass --file FILE.")


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


def _unlock(
    request: Seal, path: Path, known: Mapping[Path, SecretReference], environ: Mapping[str, str], folder: Path
) -> Secret:
    if request.unlock_file:
        reference: SecretReference | None = FileSecret(path=expand(str(request.unlock_file), folder, environ))
    else:
        reference = known.get(path)
    if reference is not None:
        return Secret(secret_source(reference, environ).reveal())
    if not at_a_terminal():
        raise SecretError("the key of the sealed file is not known", hint="Pass --unlock-file FILE.")
    return ask(f"Key of {path}", twice=not path.exists())
