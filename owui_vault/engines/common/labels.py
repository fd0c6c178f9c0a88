"""A label as flat text, the same fields on every engine (documented in docs/manifest.md).

restic carries them as tags (`owui-vault`, `format=2`, `id=…`, …), borg as base64 of `label_to_json` in the comment.
Anyone who can write to a repository can write anything into these places, so reading trusts nothing: what is not
exactly a label of ours is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from owui_vault.model import LABEL_FORMAT, NAME_PATTERN, TAG_PATTERN, Label, LaterLabel, Outcome, Proof
from owui_vault.model.json_codec import iso

MARK = "owui-vault"  # the tag, and the key of the JSON, by which ours are known
_USER_TAG = "user"  # the only field that may stand more than once
_PINNED = "yes"
_LONGEST_VALUE = 200
_MOST_FIELDS = 1000

Field = tuple[str, str]

_ID = re.compile(r"[0-9a-f]{8}")
_INSTANCE = re.compile(NAME_PATTERN)
_PLAN = re.compile(rf"(?:{NAME_PATTERN})?")
_VERSION = re.compile(r"[0-9A-Za-z.+!-]{0,64}")
_FINGERPRINT = re.compile(r"[A-Za-z0-9._:-]{0,128}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_NUMBER = re.compile(r"[0-9]{1,18}")
_FORMAT = re.compile(r"[1-9][0-9]{0,5}")
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
        ("plan", label.plan or ""),
        *((name, "" if number is None else str(number)) for name, number in _numbers(label)),
        ("version", label.version),
        ("pinned", _PINNED if label.pinned else ""),
        *((_USER_TAG, tag) for tag in label.tags),
    )
    fields = tuple((name, value) for name, value in pairs if value)
    if label_from_fields(fields) != label:
        raise ValueError(f"label {label.id!r} of {label.instance!r} cannot be written down")
    return fields


def _numbers(label: Label) -> tuple[tuple[str, int | None], ...]:
    return ("users", label.users), ("chats", label.chats), ("uploads", label.uploads)


def label_from_fields(fields: Mapping[str, str] | Iterable[Field]) -> Label | None:
    """The label that these pairs spell, or None for another tool's, a later format's and a forged one.

    Unknown names are skipped: a later version may add some without changing the format.
    """
    pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
    values = _values(pairs)
    if _format(values) not in range(1, LABEL_FORMAT + 1):
        return None
    try:
        return _build(values, tuple(value for name, value in pairs if name == _USER_TAG))
    except (KeyError, ValueError):
        return None


def later_from_fields(fields: Iterable[Field]) -> LaterLabel | None:
    """What is to be said of a label whose format this version does not know; None for anything else.

    Every format has these fields, so that whoever does not know it can say what it is, and which version does.
    """
    values = _values(list(fields))
    if _format(values) <= LABEL_FORMAT:
        return None
    sequence, version = values.get("sequence", ""), values.get("version", "")
    return LaterLabel(
        format=_format(values),
        id=values["id"] if _ID.fullmatch(values.get("id", "")) else "",
        instance=values["instance"] if _INSTANCE.fullmatch(values.get("instance", "")) else "",
        sequence=int(sequence) if _NUMBER.fullmatch(sequence) else 0,
        version=version if _VERSION.fullmatch(version) else "",
    )


def _values(pairs: list[Field]) -> dict[str, str]:
    """The fields that stand once; none at all where there are too many, or one that should stand once is twice."""
    single = [(name, value) for name, value in pairs if name != _USER_TAG]
    values = dict(single)
    return values if len(pairs) <= _MOST_FIELDS and len(single) == len(values) else {}


def _format(values: Mapping[str, str]) -> int:
    text = values.get("format", "")
    return int(text) if _FORMAT.fullmatch(text) else 0


def _build(values: Mapping[str, str], tags: tuple[str, ...]) -> Label:
    is_first = values["format"] == "1"
    since_2: Mapping[str, str] = {} if is_first else values
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
        plan=None if is_first else _fitting(_PLAN, values.get("plan", "")),
        users=_number(since_2.get("users")),
        chats=_number(since_2.get("chats")),
        uploads=_number(since_2.get("uploads")),
        version=_fitting(_VERSION, since_2.get("version", "")),
        pinned=_truth(values.get("pinned", "")),
        format=int(values["format"]),
    )


def _truth(text: str) -> bool:
    if text not in ("", _PINNED):
        raise ValueError(f"{text!r} is neither {_PINNED!r} nor nothing")
    return bool(text)


def _number(text: str | None) -> int | None:
    return None if text is None else int(_fitting(_NUMBER, text))


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
    return label_from_fields(_fields_in_tags(tags))


def later_from_tags(tags: Iterable[str]) -> LaterLabel | None:
    """What tags of restic say of a label of a later format."""
    return later_from_fields(_fields_in_tags(tags))


def _fields_in_tags(tags: Iterable[str]) -> list[Field]:
    every = list(tags)
    if MARK not in every:
        return []
    cut = (tag.partition("=") for tag in every if "=" in tag)
    try:
        return [(name, unquote(value, errors="strict")) for name, _, value in cut]
    except UnicodeDecodeError:
        return []


def label_to_json(label: Label) -> str:
    """The label as one line of ASCII."""
    return json.dumps({MARK: [list(field) for field in label_to_fields(label)]}, separators=(",", ":"))


def label_from_json(text: str) -> Label | None:
    """The label that `label_to_json` wrote, or None for any other text."""
    return label_from_fields(_fields_in_json(text))


def later_from_json(text: str) -> LaterLabel | None:
    """What `label_to_json` of a later version said."""
    return later_from_fields(_fields_in_json(text))


def _fields_in_json(text: str) -> list[Field]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return []
    pairs = document.get(MARK) if isinstance(document, dict) else None
    if not isinstance(pairs, list) or not all(_is_field(pair) for pair in pairs):
        return []
    return [(name, value) for name, value in pairs]


def _is_field(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
