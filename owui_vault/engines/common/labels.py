"""A label as flat text, the same fields on every engine (documented in docs/manifest.md).

restic carries them as tags (`owui-vault`, `format=1`, `id=…`, …), borg as base64 of `label_to_json` in the comment.
Anyone who can write to a repository can write anything into these places, so reading trusts nothing: what is not
exactly a label of ours is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from owui_vault.model import LABEL_FORMAT, NAME_PATTERN, TAG_PATTERN, Label, Outcome, Proof
from owui_vault.model.json_codec import iso

MARK = "owui-vault"  # the tag, and the key of the JSON, by which ours are known
_USER_TAG = "user"  # the only field that may stand more than once
_LONGEST_VALUE = 200
_MOST_FIELDS = 1000

Field = tuple[str, str]

_ID = re.compile(r"[0-9a-f]{8}")
_INSTANCE = re.compile(NAME_PATTERN)
_FINGERPRINT = re.compile(r"[A-Za-z0-9._:-]{0,128}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_NUMBER = re.compile(r"[0-9]{1,18}")
_TAG = re.compile(TAG_PATTERN)


def label_to_fields(label: Label) -> tuple[Field, ...]:
    """The label as pairs of text. Raises ValueError for a label that would not be read back as it is."""
    pairs = (
        ("format", str(label.format)),
        ("id", label.id),
        ("instance", label.instance),
        ("fingerprint", label.fingerprint),
        ("instant", iso(label.instant)),
        ("sequence", str(label.sequence)),
        ("outcome", label.outcome.value),
        ("mode", label.mode.value),
        ("application", label.application_version),
        ("engine", label.engine),
        ("engine-version", label.engine_version),
        ("chunking", label.chunking),
        ("size", str(label.size_bytes or "")),
        *((_USER_TAG, tag) for tag in label.tags),
    )
    fields = tuple((name, value) for name, value in pairs if value)
    if label_from_fields(fields) != label:
        raise ValueError(f"label {label.id!r} of {label.instance!r} cannot be written down")
    return fields


def label_from_fields(fields: Mapping[str, str] | Iterable[Field]) -> Label | None:
    """The label that these pairs spell, or None for another tool's, a later format's and a forged one.

    Unknown names are skipped: a later version may add some without changing the format.
    """
    pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
    values = dict(pairs)
    single = [name for name, _ in pairs if name != _USER_TAG]
    if len(pairs) > _MOST_FIELDS or len(single) != len(set(single)):
        return None
    if values.get("format") != str(LABEL_FORMAT):
        return None
    try:
        return _build(values, tuple(value for name, value in pairs if name == _USER_TAG))
    except (KeyError, ValueError):
        return None


def _build(values: Mapping[str, str], tags: tuple[str, ...]) -> Label:
    return Label(
        id=_fitting(_ID, values["id"]),
        instance=_fitting(_INSTANCE, values["instance"]),
        fingerprint=_fitting(_FINGERPRINT, values.get("fingerprint", "")),
        instant=datetime.fromisoformat(_fitting(_INSTANT, values["instant"])).astimezone(UTC),
        sequence=int(_fitting(_NUMBER, values["sequence"])),
        outcome=_of_something_stored(Outcome(values["outcome"])),
        mode=Proof(values["mode"]),
        tags=tuple(sorted({_fitting(_TAG, tag) for tag in tags})),
        application_version=_plain(values.get("application", "")),
        engine=_plain(values.get("engine", "")),
        engine_version=_plain(values.get("engine-version", "")),
        chunking=_plain(values.get("chunking", "")),
        size_bytes=int(_fitting(_NUMBER, values.get("size", "0"))),
    )


def _of_something_stored(outcome: Outcome) -> Outcome:
    if outcome is Outcome.FAILED:
        raise ValueError("nothing that was stored has failed")
    return outcome


def _fitting(pattern: re.Pattern[str], value: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"{value!r} does not look like {pattern.pattern}")
    return value


def _plain(value: str) -> str:
    """Free text that does no harm on a terminal."""
    if len(value) > _LONGEST_VALUE or not value.isprintable():
        raise ValueError("not plain text")
    return value


def label_to_tags(label: Label) -> tuple[str, ...]:
    """The label as tags of restic: no commas (restic would cut there), no blanks, ASCII only."""
    return (MARK, *(f"{name}={quote(value, safe=':+')}" for name, value in label_to_fields(label)))


def label_from_tags(tags: Iterable[str]) -> Label | None:
    """The label that tags of restic spell, or None. Tags that are not `name=value` are skipped."""
    every = list(tags)
    if MARK not in every:
        return None
    cut = (tag.partition("=") for tag in every if "=" in tag)
    try:
        return label_from_fields((name, unquote(value, errors="strict")) for name, _, value in cut)
    except UnicodeDecodeError:
        return None


def label_to_json(label: Label) -> str:
    """The label as one line of ASCII."""
    return json.dumps({MARK: [list(field) for field in label_to_fields(label)]}, separators=(",", ":"))


def label_from_json(text: str) -> Label | None:
    """The label that `label_to_json` wrote, or None for any other text."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    pairs = document.get(MARK) if isinstance(document, dict) else None
    if not isinstance(pairs, list) or not all(_is_field(pair) for pair in pairs):
        return None
    return label_from_fields((name, value) for name, value in pairs)


def _is_field(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
