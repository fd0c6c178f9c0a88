# ruff: noqa: A005  imports are absolute, so the standard library's module is never meant by this name
"""Where passphrases and keys come from."""

from __future__ import annotations

from collections.abc import Mapping

from owui_vault.model.secrets import (
    CommandSecret,
    CredentialSecret,
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
    KeyringSecret,
    SealedSecret,
    SecretReference,
)
from owui_vault.secrets.command import CommandSource
from owui_vault.secrets.sources import (
    CredentialSource,
    EnvironmentSource,
    FileSource,
    GivenSource,
    KeyringSource,
    Remembered,
    SealedSource,
    Source,
)

__all__ = ["Source", "secret_source"]


def secret_source(reference: SecretReference, environ: Mapping[str, str]) -> Source:
    """The source a reference names. Nothing is read or asked before `reveal`.

    What is slow or asks a person (programs, keyrings, sealed files) is asked once and remembered.
    """
    source: Source
    match reference:
        case GivenSecret(secret=secret, origin=origin):
            source = GivenSource(secret, origin)
        case FileSecret(path=path):
            source = FileSource(path)
        case EnvironmentSecret(variable=variable):
            source = EnvironmentSource(variable, environ)
        case CommandSecret(argv=argv):
            source = Remembered(CommandSource(argv, environ))
        case CredentialSecret(name=name):
            source = CredentialSource(name, environ)
        case KeyringSecret(service=service, username=username):
            source = Remembered(KeyringSource(service, username))
        case SealedSecret(path=path, name=name, unlock=unlock):
            source = Remembered(SealedSource(path, name, secret_source(unlock, environ)))
    return source
