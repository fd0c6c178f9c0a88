"""Where a secret is found: references as the configuration names them, never the secret itself.

`owui_vault.secrets.secret_source` turns one into a `ports.SecretSource`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, Union

from owui_vault.model.basics import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSecret:
    """The secret itself. `origin` says how it came here, for messages."""

    secret: Secret
    origin: str = "written in the configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSecret:
    """The content of a regular file, without its last line break."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSecret:
    """The value of a variable of the environment."""

    variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSecret:
    """What a program prints, without the last line break."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSecret:
    """A file in the folder of secrets that systemd or a container engine hands to a service."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringSecret:
    """An entry of the desktop's keyring."""

    service: str
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """One entry of a sealed file. `unlock` is where the key of that file is to be found."""

    path: Path
    name: str
    unlock: SecretReference


SecretReference: TypeAlias = Union[
    GivenSecret, FileSecret, EnvironmentSecret, CommandSecret, CredentialSecret, KeyringSecret, SealedSecret
]
