"""What Open WebUI encrypts with its secret key, and the result of trying a key on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from owui_vault.model.basics import Secret


class Sealing(Enum):
    """The kinds, each with a key derived in a way of its own."""

    MFA = "mfa"
    OAUTH_SESSIONS = "oauth_sessions"
    OAUTH_CLIENTS = "oauth_clients"
    VALVES = "valves"
    APPS = "apps"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedValues:
    """Sealed values of one kind at one place of the database. `samples` are a few of them, the newest first."""

    kind: Sealing
    words: str  # "encrypted valves of 2 tools"
    samples: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTrial:
    """What the best of several keys was seen to open.

    `chosen` is its number among them: the first, unless another opens more. `key` is the key as it opens them: with or
    without the line's end of the file it came from. `separate` are settings that hold a key of their own for one kind;
    what such a key seals does not depend on the secret key.
    """

    key: Secret | None = None
    chosen: int = 0
    unopened: tuple[str, ...] = ()  # what no known key opens, in words
    needed_because: tuple[str, ...] = ()  # what is sealed with the secret key itself
    separate: tuple[str, ...] = ()


TryKey = Callable[[tuple[SealedValues, ...], tuple[Secret, ...], Mapping[str, str]], KeyTrial]


def untried(values: tuple[SealedValues, ...], keys: tuple[Secret, ...], _settings: Mapping[str, str]) -> KeyTrial:
    """A trial by whoever cannot open anything: the first key is believed."""
    return KeyTrial(key=keys[0] if keys else None, needed_because=tuple(each.words for each in values))
