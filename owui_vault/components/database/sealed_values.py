"""What in `webui.db` is encrypted with the secret key or a separate one: counted, with samples to try a key on."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.names import DATABASE
from owui_vault.components.sqlite_files import column_names, open_at_rest
from owui_vault.model import SealedValues, Sealing
from owui_vault.system.sqlite_format import quoted

_FERNET = "gAAAA"  # how everything begins that is sealed (Fernet, version byte 0x80, 20th to 23rd century)
_TOKEN = re.compile(r"gAAAA[A-Za-z0-9_-]+={0,2}")
_SAMPLES = 1  # of one kind the newest tells: older ones may be of a key that was abandoned long ago
_MFA_SAMPLES = 50  # of these a single one that does not open keeps the application from starting


@dataclass(frozen=True, slots=True)
class _Place:
    """Where sealed values lie. `paths` lead to them through JSON, `*` for any key; empty: the whole value."""

    kind: Sealing
    table: str
    column: str
    words: str
    paths: tuple[tuple[str, ...], ...] = ()
    samples: int = _SAMPLES


_VALVES = (("functions", "valves", "*"), ("tools", "valves", "*"))
_PLACES = (
    _Place(Sealing.MFA, "auth", "mfa", "second factors (MFA) of {} people", (("secret",),), _MFA_SAMPLES),
    _Place(Sealing.VALVES, "function", "valves", "encrypted valves of {} functions"),
    _Place(Sealing.VALVES, "tool", "valves", "encrypted valves of {} tools"),
    _Place(Sealing.VALVES, "user", "settings", "encrypted valves in the settings of {} people", _VALVES),
    _Place(Sealing.OAUTH_SESSIONS, "oauth_session", "token", "{} OAuth sessions"),
    _Place(Sealing.APPS, "app", "api_key", "API keys of {} apps"),
    _Place(Sealing.APPS, "app", "data", "connections of {} apps", (("connection_token",),)),
    _Place(Sealing.OAUTH_CLIENTS, "config", "value", "{} encrypted settings", (("**",),)),
    _Place(Sealing.OAUTH_CLIENTS, "config", "data", "{} encrypted settings", (("**",),)),  # one row, before 0.7
)


def read_sealed(data_dir: Path) -> tuple[SealedValues, ...]:
    """Those of a database at rest; none where it is damaged."""
    try:
        with open_at_rest(data_dir / DATABASE) as connection:
            return tuple(sealed_values(connection))
    except sqlite3.DatabaseError:
        return ()


def sealed_values(connection: sqlite3.Connection) -> Iterator[SealedValues]:
    """What hangs on a key. Without the first of them the application does not even start."""
    for place in _PLACES:
        columns = column_names(connection, place.table)
        if place.column not in columns:
            continue
        column = quoted(place.column)
        newest = "updated_at DESC, rowid DESC" if "updated_at" in columns else "rowid DESC"
        query = f"SELECT {column} FROM {quoted(place.table)} WHERE instr({column}, ?) ORDER BY {newest}"  # noqa: S608 - constants
        count, samples = 0, list[str]()
        for (raw,) in connection.execute(query, (_FERNET,)):
            found = list(_tokens_in(raw, place.paths))
            count += bool(found)
            samples += found[: place.samples - len(samples)]
        if count:
            yield SealedValues(kind=place.kind, words=place.words.format(count), samples=tuple(samples))


def _tokens_in(raw: object, paths: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    """Sealed values in one cell, which holds JSON or the value itself."""
    text = raw.decode(errors="surrogateescape") if isinstance(raw, bytes) else str(raw)
    if not paths and _TOKEN.fullmatch(text):
        yield text
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for path in paths or ((),):
        for each in _at(value, path):
            if isinstance(each, str) and _TOKEN.fullmatch(each):
                yield each


def _at(value: object, path: tuple[str, ...]) -> Iterator[object]:
    """What is at a path; `*` is every key of an object, `**` everything at any depth."""
    if not path:
        yield value
    elif path == ("**",):
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if isinstance(each, dict | list):
                waiting += each.values() if isinstance(each, dict) else each
            else:
                yield each
    elif isinstance(value, dict):
        for name in list(value) if path[0] == "*" else [path[0]]:
            if name in value:
                yield from _at(value[name], path[1:])
