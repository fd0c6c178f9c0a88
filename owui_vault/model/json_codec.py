r"""Values to JSON, and back: one rule for manifests, reports and what we remember.

Enums become their values, times ISO 8601 with `Z`, durations a `_seconds` suffix on the name of their field, paths
and names text in which undecodable bytes stand as `\\udcXX`. An error becomes its type, message, hint and exit code.
`SHOWN_FIRST` of a class names what stands before its fields, though it is none of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from types import NoneType, UnionType
from typing import TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from owui_vault.errors import VaultError

_DURATION = re.compile(r"\btimedelta\b")
_hints = lru_cache(maxsize=256)(get_type_hints)  # costs more than all the rest of reading a value back

Json: TypeAlias = Union[bool, int, float, str, list["Json"], dict[str, "Json"], None]


def to_json(value: object) -> Json:  # noqa: PLR0911  one line per kind of value
    """Turn a value of `owui_vault.model` into what `json.dumps` takes."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return to_json(value.value)
        case datetime():
            return iso(value)
        case timedelta():
            return value.total_seconds()
        case PurePath():
            return str(value)
        case VaultError():
            return error_to_json(value)
        case Mapping():
            return {str(key): to_json(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        derived = {name: to_json(getattr(value, name)) for name in getattr(value, "SHOWN_FIRST", ())}
        return {**derived, **{_key(field): to_json(getattr(value, field.name)) for field in fields(value)}}
    if isinstance(value, Iterable):
        return [to_json(each) for each in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


Value = TypeVar("Value")


def from_json(kind: type[Value], value: object) -> Value:
    """What `to_json` made of a value of this kind; unknown keys are ignored. Raises ValueError.

    Of what has no duration, path or error in it: nobody needs those back.
    """
    return cast(Value, _parsed(kind, value))


def _parsed(kind: object, value: object) -> object:  # noqa: PLR0911  one line per kind of value
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (other,) = (each for each in inner if each is not NoneType)
        return None if value is None else _parsed(other, value)
    if origin is tuple and isinstance(value, list):
        return tuple(_parsed(inner[0], each) for each in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {str(key): _parsed(inner[1], each) for key, each in value.items()}
    if isinstance(kind, type):
        if is_dataclass(kind) and isinstance(value, dict):
            kinds = _hints(kind)
            names = [each.name for each in fields(kind) if each.name in value]
            try:
                return kind(**{name: _parsed(kinds[name], value[name]) for name in names})
            except TypeError as error:
                raise ValueError(str(error)) from error
        if kind is datetime and isinstance(value, str):
            return datetime.fromisoformat(value)
        if issubclass(kind, Enum):
            return kind(value)
        if isinstance(value, kind):
            return value
    raise ValueError(f"{value!r} is no {kind}")


def error_to_json(error: VaultError) -> Json:
    """What a caller of `--json` gets to see of an error."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, with `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def local_text(moment: datetime, *, zone: bool = True) -> str:
    """Date and time to the second as the clock on the wall says, and by which zone: every list and hint shows this.

    What is shown is taken where a snapshot is asked for: see `repositories.selectors`.
    """
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z" if zone else "%Y-%m-%d %H:%M:%S")


def dumps(value: object) -> str:
    """JSON text, indented, ASCII only, so that undecodable names survive any terminal."""
    return json.dumps(to_json(value), indent=2)


def _key(field: Field[object]) -> str:
    """By what may stand there, not by what does: a duration that is not set has the same name."""
    kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
    return f"{field.name}_seconds" if _DURATION.search(kind) else field.name
