"""What a caller of the library gave, as the type that is meant: text where text is natural, or a ConfigError."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TypeVar

from owui_vault.config.values import duration
from owui_vault.errors import ConfigError
from owui_vault.model import Component, Snapshot

Choice = TypeVar("Choice", bound=Enum)


def choice(kind: type[Choice], value: object, what: str) -> Choice:
    """One of a closed set, by itself or by its value, such as `pause`."""
    try:
        return kind(value)
    except ValueError:
        known = [str(each.value) for each in kind]
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
        raise ConfigError(f"{what}: {value!r} is no {kind.__name__}", hint=hint) from None


def components(value: Iterable[Component | str] | Component | str | None) -> tuple[Component, ...] | None:
    """The components that are wanted; None: all."""
    if value is None:
        return None
    wanted = [value] if isinstance(value, str | Component) else _all_of(value, "components")
    return tuple(choice(Component, each, "components") for each in wanted)


def texts(value: Iterable[str] | str, what: str) -> tuple[str, ...]:
    """Several texts; one alone is one of them, and not its letters."""
    wanted = (value,) if isinstance(value, str) else _all_of(value, what)
    for each in wanted:
        if not isinstance(each, str):
            raise ConfigError(f"{what}: {each!r} is no text", hint="Give text, or several in a list.")
    return tuple(str(each) for each in wanted)


def path(value: object, what: str) -> Path:
    """A path of this machine."""
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ConfigError(f"{what}: {value!r} is no path", hint="Give a pathlib.Path, or text.")
    return Path(value)


def share(value: object, what: str) -> float:
    """A share from 0 to 1; True is all of it."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(
            f"{what} is a share from 0 to 1, not {value!r}", hint="Give 0.1 to read a tenth, 1.0 to read everything."
        )
    return float(value)


def length(value: object, what: str) -> timedelta:
    """A length of time, as a timedelta or as text: `90s`, `26h`."""
    if isinstance(value, timedelta):
        return value
    try:
        if not isinstance(value, str):
            raise ValueError(f"must be a timedelta or text, not {type(value).__name__}")
        return duration(value)
    except ValueError as error:
        raise ConfigError(f"{what} {error}", hint="Give a timedelta, or text such as 26h.") from None


def snapshot(value: object) -> Snapshot | str:
    """A snapshot of a list, or what is typed for one."""
    if not isinstance(value, Snapshot | str):
        raise ConfigError(
            f"{value!r} is no snapshot",
            hint="Give one of `snapshots()`, its id, `latest`, or a date such as 2026-11-20.",
        )
    return value


def number(value: object, what: str) -> int:
    """A count."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{what} is a number, not {value!r}", hint="Give 10, for example.")
    return value


def made(value: object, kind: type, by: str = "") -> None:
    """Raise ConfigError for what is not of that kind: nothing dangerous is done without having looked."""
    if not isinstance(value, kind):
        raise ConfigError(
            f"{value!r} is no {kind.__name__}", hint=f"Give what `{by}` returned." if by else f"Make a {kind.__name__}."
        )


def _all_of(value: object, what: str) -> tuple[object, ...]:
    if not isinstance(value, Iterable):
        raise ConfigError(f"{what}: {value!r} is no text and no list of them", hint="Give text, or several in a list.")
    return tuple(value)
