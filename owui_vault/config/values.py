"""The syntax of single values: durations, names, patterns, paths; each refusal says what is expected."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from owui_vault.config.paths import expand
from owui_vault.errors import ConfigError
from owui_vault.model import NAME_PATTERN, TAG_PATTERN
from owui_vault.system import cron

RATE_PATTERN = r"[1-9][0-9]{0,5} ?(KiB|MiB|GiB)"
DURATION_PATTERN = r"[0-9]{1,6}(s|m|h|d)"
VARIABLE_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*"
UNIT_PATTERN = r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*"
SHARE_PATTERN = r"([1-9][0-9]?|100)%"
CREDENTIAL_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}


@dataclass(frozen=True, slots=True)
class ConfigContext:
    """What relative paths and `~` mean."""

    folder: Path
    environ: Mapping[str, str]


def kind(value: object) -> str:
    """What a value is, for a message that must not repeat it."""
    if value is None:
        return "nothing"
    return "text" if isinstance(value, str) else _KINDS.get(type(value), "a date")


def text(value: object) -> str:
    """Non-empty text of one line. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {kind(value)}{_quote_it(value)}")
    if not value.strip():
        raise ValueError("is empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must be one line without control characters")
    return value


def matching(value: object, pattern: str, what: str) -> str:
    """Text of a given form. Raises ValueError with `what`."""
    if not re.fullmatch(pattern, text(value)):
        raise ValueError(what)
    return str(value)


def name(value: object) -> str:
    """The name of an instance, a repository or a plan: they become names of folders and tags. Raises ValueError."""
    return matching(
        value, NAME_PATTERN, "must be a name of at most 63 of a-z 0-9 . _ -, beginning with a letter or digit"
    )


def tag(value: object) -> str:
    """A tag of the user's. Raises ValueError."""
    return matching(value, TAG_PATTERN, "must be a tag of at most 64 of A-Z a-z 0-9 . _ -")


def duration(value: object) -> timedelta:
    """`30s`, `5m`, `2h` or `1d`. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be a duration such as 30s, 5m, 2h or 1d, not {kind(value)}")
    written = str(value).strip()
    if not re.fullmatch(DURATION_PATTERN, written):
        raise ValueError("must be a duration: a whole number and its unit, such as 30s, 5m, 2h or 1d")
    return timedelta(**{_UNITS[written[-1]]: int(written[:-1])})


def rate(value: object) -> int:
    """`500 KiB`, `2 MiB` or `1 GiB` per second, in bytes. Raises ValueError."""
    return _bytes(value, "must be how much per second: a whole number and KiB, MiB or GiB, such as 2 MiB")


def size(value: object) -> int:
    """`500 KiB`, `10 MiB` or `1 GiB`, in bytes. Raises ValueError."""
    return _bytes(value, "must be a size: a whole number and KiB, MiB or GiB, such as 10 MiB")


def _bytes(value: object, mistake: str) -> int:
    if not isinstance(value, str) or not re.fullmatch(RATE_PATTERN, value.strip()):
        raise ValueError(mistake)
    number, unit = value.strip()[:-3].strip(), value.strip()[-3:]
    return int(number) << {"KiB": 10, "MiB": 20, "GiB": 30}[unit]


def positive_duration(value: object) -> timedelta:
    """A duration longer than nothing. Raises ValueError."""
    found = duration(value)
    if not found:
        raise ValueError("must be longer than zero")
    return found


def at_most(most: timedelta, found: timedelta) -> timedelta:
    """The duration, if it is not longer than that. Raises ValueError."""
    if found > most:
        raise ValueError(f"must be at most {most.days}d")
    return found


def count(value: object) -> int:
    """A whole number, also one that a variable brought as text. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {kind(value)}")
    if not 0 <= value <= 100_000:
        raise ValueError("must be between 0 and 100000")
    return value


def parallel(value: object) -> int:
    """How many at a time. Raises ValueError."""
    number = count(value)
    if not 1 <= number <= 32:
        raise ValueError("must be between 1 and 32")
    return number


def truth(value: object) -> bool:
    """True or false, also what a variable brought as text. Raises ValueError."""
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {kind(value)}")
    return value


def share(value: object) -> float | None:
    """`true`, `false`, or a percentage: the share that is read, 0 for true; None for false. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(SHARE_PATTERN, value):
        return int(value[:-1]) / 100
    try:
        return 0.0 if truth(value) else None
    except ValueError:
        raise ValueError("must be true, false, or a percentage from 1% to 100%") from None


def percentage(value: object) -> float:
    """`50%`, as a share. Raises ValueError."""
    return int(matching(value, SHARE_PATTERN, "must be a percentage from 1% to 100%")[:-1]) / 100


def cron_expression(value: object) -> str:
    """A cron expression of five fields that comes at some time. Raises ValueError."""
    cron.check_expression(text(value))
    return str(value)


def time_zone(value: object) -> str:
    """The name of a time zone. Raises ValueError."""
    cron.named_zone(text(value))
    return str(value)


def path(value: object, around: ConfigContext) -> Path:
    """A path of this machine. Raises ValueError."""
    try:
        return expand(text(value), around.folder, around.environ)
    except ConfigError as error:
        raise ValueError(error.message) from None


def pattern(value: object) -> str:
    """A name or glob pattern below the data directory. Raises ValueError."""
    written = text(value)
    if written.startswith(("/", "~")) or ".." in written.split("/"):
        raise ValueError("must be relative to the data directory, without '..'")
    return written.rstrip("/")


def excluding_pattern(value: object) -> str:
    """The same, and never one that would leave out the database. Raises ValueError."""
    written = pattern(value)
    if written == "database" or fnmatch.fnmatchcase("webui.db", written.removeprefix("./")):
        raise ValueError("would leave out the database, and without webui.db there is nothing to restore")
    return written


def argv(value: object, around: ConfigContext) -> tuple[str, ...]:
    """A program and its arguments, never a shell's line. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list: the program, then each argument, such as [pass, show, vault]")
    program, *arguments = (text(each) for each in value)
    return (str(path(program, around)) if "/" in program else program, *arguments)


def _quote_it(value: object) -> str:
    return "" if value is None or isinstance(value, list | dict) else "; put it in quotes"
