"""What a restored instance does by itself at its first start, and how to prevent it.

Within seconds of a start Open WebUI 0.12 runs every automation and timer that is due, and calls its webhooks; in a
snapshot from last week all of them are due. The rows take precedence over the environment
(`open_webui/models/config.py`), so `ENABLE_AUTOMATIONS=false` prevents nothing, and timers have no switch at all.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from owui_vault.components.database.upload_paths import changing
from owui_vault.components.names import DATABASE
from owui_vault.components.sqlite_files import column_names, open_at_rest
from owui_vault.model import ScheduledWork
from owui_vault.model.json_codec import Json, dumps

_HELD_FORMAT = 1
#: In `held.json` itself, for whoever finds it: the way back, with this file and the database as arguments.
SWITCH_ON = (
    "import json, sqlite3, sys; database = sqlite3.connect(sys.argv[2]); [database.execute(each['statement'],"
    " each['values']) for each in json.load(open(sys.argv[1]))['held']]; database.commit()"
)
_HOW = f'Stop Open WebUI, then: python3 -c "{SWITCH_ON}" THIS_FILE DATA_DIR/webui.db'
_PENDING = "json_valid(meta) AND json_extract(meta, '$.status') = 'pending' AND timer_at IS NOT NULL"
_ACTIVE = "is_active AND next_run_at IS NOT NULL"
#: Settings that make something run by itself, and the value that keeps it from running.
_SWITCHES: dict[str, Json] = {
    "automations.enable": False,
    "calendar.enable": False,
    "events.webhooks": [],
    "webhook_url": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing that was switched off: what it was, and the statement that brings it back."""

    what: str
    was: Json  # None: nothing was set
    statement: str
    values: tuple[Json, ...]


def read_scheduled(data_dir: Path, *, until: datetime | None = None) -> ScheduledWork | None:
    """Count what runs by itself in a database at rest: all that is switched on, or what is due at `until`.

    None where the database cannot be read: whoever checks it has a word of its own for that.
    """
    try:
        with open_at_rest(data_dir / DATABASE) as connection:
            return _count(connection, until)
    except sqlite3.DatabaseError:
        return None


def hold_back(data_dir: Path, snapshot: str, keep: Callable[[bytes], None]) -> ScheduledWork:
    """Switch off, in a restored database that nobody has opened yet, what would run by itself; answer what that was.

    `keep` gets the text of `held.json` before anything is changed. Raises RestoreError.
    """
    hint = "The fetched files are left as they are. Restore another snapshot, or leave out --quiet-start."
    with changing(data_dir, "automations and timers could not be switched off in", hint) as connection:
        count = _count(connection, None)
        connection.execute("BEGIN IMMEDIATE")
        held = tuple(_switch_off(connection))
        document = {"format": _HELD_FORMAT, "snapshot": snapshot, "switch_on": _HOW, "held": held}
        keep(dumps(document).encode() + b"\n")
        connection.execute("COMMIT")
    return count


def _count(connection: sqlite3.Connection, until: datetime | None) -> ScheduledWork:
    settings = _settings(connection)
    until_ns = None if until is None else round(until.timestamp() * 1e9)
    listed = settings.get("events.webhooks")
    webhooks = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    # The setting of old is taken over as the webhook "default" unless there is one of that name.
    legacy = bool(settings.get("webhook_url")) and not any(each.get("id") == "default" for each in webhooks)
    return ScheduledWork(
        automations=0
        if settings.get("automations.enable") is False
        else _rows(connection, "automation", "next_run_at", _ACTIVE, until_ns=until_ns),
        timers=_rows(connection, "chat", "timer_at", _PENDING, until_ns=until_ns),
        webhooks=sum(map(_is_called, webhooks)) + legacy,
        event_functions=_rows(connection, "function", "type", "type = 'event' AND is_active"),
    )


def _is_called(webhook: Mapping[str, Json]) -> bool:
    return bool(webhook.get("url")) and webhook.get("enabled") is not False


def _rows(
    connection: sqlite3.Connection, table: str, column: str, condition: str, *, until_ns: int | None = None
) -> int:
    """How many rows meet the condition; older versions have no such table or column."""
    if column not in column_names(connection, table):
        return 0
    due = "" if until_ns is None else f" AND {column} <= {until_ns}"
    (count,) = connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}{due}").fetchone()  # noqa: S608  names of ours
    return int(count)


def _settings(connection: sqlite3.Connection) -> dict[str, Json]:
    """Those of the switches that are set. Before 0.9 there was one document for all, and nothing ran by itself."""
    if not {"key", "value"} <= column_names(connection, "config"):
        return {}
    marks = ", ".join("?" * len(_SWITCHES))
    rows = connection.execute(f"SELECT key, value FROM config WHERE key IN ({marks})", tuple(_SWITCHES))  # noqa: S608  marks
    return {key: _parsed(value) for key, value in rows}


def _parsed(text: object) -> Json:
    try:
        parsed: Json = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return parsed


def _switch_off(connection: sqlite3.Connection) -> Iterator[Held]:
    columns = column_names(connection, "config")
    if {"key", "value"} <= columns:
        yield from _switches_off(connection, has_time="updated_at" in columns)
    if "timer_at" in column_names(connection, "chat"):
        for rowid, chat, at in connection.execute(f"SELECT rowid, id, timer_at FROM chat WHERE {_PENDING}").fetchall():  # noqa: S608  ours
            connection.execute("UPDATE chat SET timer_at = NULL WHERE rowid = ?", (rowid,))
            yield Held(
                what=f"timer of chat {chat}",
                was=at,
                statement="UPDATE chat SET timer_at = ? WHERE id = ?",
                values=(at, chat),
            )


def _switches_off(connection: sqlite3.Connection, *, has_time: bool) -> Iterator[Held]:
    known: dict[str, str] = dict(connection.execute("SELECT key, value FROM config").fetchall())
    for key, quiet in _SWITCHES.items():
        if key in known:
            if _parsed(known[key]) == quiet:
                continue
            connection.execute("UPDATE config SET value = ? WHERE key = ?", (json.dumps(quiet), key))
            statement = "UPDATE config SET value = ? WHERE key = ?"
            values: tuple[Json, ...] = (known[key], key)
        else:  # what is not set is what the environment says, which is "on" for most
            names, marks = ("key, value, updated_at", "?, ?, 0") if has_time else ("key, value", "?, ?")
            connection.execute(f"INSERT INTO config ({names}) VALUES ({marks})", (key, json.dumps(quiet)))  # noqa: S608  ours
            statement, values = "DELETE FROM config WHERE key = ?", (key,)
        yield Held(what=key, was=_parsed(known.get(key)), statement=statement, values=values)


def describe_scheduled(work: ScheduledWork) -> str:
    """What that is, in words: "3 automations and 1 webhook"; empty for nothing."""
    parts = [
        f"{number} {name}{'s' if number != 1 else ''}"
        for number, name in (
            (work.automations, "automation"),
            (work.timers, "timer"),
            (work.webhooks, "webhook"),
            (work.event_functions, "event function"),
        )
        if number
    ]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
