"""Parses borg's output: JSON documents on stdout, "JSON or text" lines on stderr."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.common.labels import label_from_json, label_to_json, later_from_json
from owui_vault.errors import EngineOutputError
from owui_vault.model import Label, LaterLabel, Snapshot

_MOST_MESSAGES = 200  # a damaged repository can complain about each of its objects
_LONGEST_COMMENT = 100_000
_FROM_THE_HOST = "Remote: "
_COMPLAINTS = frozenset({"WARNING", "ERROR", "CRITICAL"})

#: What `list --json` is asked for. `barchive` is the name with all its bytes.
LISTING_FORMAT = "{barchive}{comment}{id}{start}"
#: What `list --json-lines` of an archive is asked for, besides what it always says. Bytes that are no UTF-8 become `?`.
ITEM_FORMAT = "{path}{size}{isomtime}{archiveid}"

_KINDS = {"-": "file", "h": "file", "d": "dir", "l": "symlink"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One line of stderr. Plain text (ssh's, argparse's) is a warning without an id."""

    type: str
    level: str = ""
    msgid: str = ""
    text: str = ""
    logger: str = ""
    path: str = ""
    status: str = ""  # of a file: A, M, U, d, E, …
    done: int | None = None
    total: int | None = None

    @property
    def is_complaint(self) -> bool:
        """A warning or an error."""
        return self.type == "log_message" and self.level in _COMPLAINTS

    @property
    def is_of_the_host(self) -> bool:
        """What ssh or the host's shell wrote on the way, such as a banner: nothing that borg has to say.

        What the borg over there says begins with the same word, and bears the name of one of borg's loggers.
        """
        return self.level == "WARNING" and self.logger in ("", "root") and self.text.startswith(_FROM_THE_HOST)


def parse_message(line: str) -> Message:
    """One line of stderr; never fails, since ssh, argparse and Python write there as well."""
    document = _object(line) or _object(
        line[line.find("{") :]
    )  # a prompt does not end its line before the next message
    if document is None:
        return Message(type="log_message", level="WARNING", text=line)
    done, total = _count(document, "original_size", "current"), _count(document, "total")
    return Message(
        type=_text(document, "type"),
        level=_text(document, "levelname"),
        msgid=_text(document, "msgid"),
        text=_text(document, "message"),
        logger=_text(document, "name"),
        path=_text(document, "path"),
        status=_text(document, "status"),
        done=done,
        total=total,
    )


@dataclass(slots=True)
class Transcript:
    """What borg complained about during one run; everything is handed on as it comes."""

    listener: Callable[[Message], None] = field(default=lambda _message: None)
    complaints: list[Message] = field(default_factory=list)

    def take(self, line: str) -> None:
        """A sink for `system.process.run`."""
        message = parse_message(line)
        if message.is_complaint and len(self.complaints) < _MOST_MESSAGES:
            self.complaints.append(message)
        self.listener(message)

    @property
    def msgids(self) -> tuple[str, ...]:
        """Ids of the errors, in order."""
        return tuple(each.msgid for each in self.complaints if each.msgid and each.level != "WARNING")

    @property
    def texts(self) -> tuple[str, ...]:
        """All complaints, in order."""
        return tuple(each.text for each in self.complaints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One archive of a listing."""

    id: str
    name: str
    start: datetime
    label: Label | None
    later: LaterLabel | None = None

    def snapshot(self) -> Snapshot:
        """As a caller of an engine sees it."""
        time = self.label.instant if self.label else self.start
        return Snapshot(engine_id=self.id, name=self.name, time=time, label=self.label, later=self.later)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What `list --json` says about a repository."""

    repository_id: str
    encryption: str
    archives: tuple[Archive, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What `create --json` says about the archive it made."""

    id: str
    name: str
    encryption: str
    files: int
    original_bytes: int
    added_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One path of an archive as it is stored, believed in nothing."""

    path: str
    kind: str  # "file", "dir", "symlink" or "other"
    size_bytes: int
    hard_link: bool
    source: str  # where a link points to; bytes that are not UTF-8 are lost here
    time: str = ""  # when it was changed, UTC, beginning with `2026-01-31T12:00:00`
    archive_id: str = ""  # borg 1.2 does not tell it


def parse_listing(text: str) -> Listing:
    """`list --json`. Raises EngineOutputError."""
    document = _document(text)
    try:
        return Listing(
            repository_id=str(document["repository"]["id"]),
            encryption=str(document["encryption"]["mode"]),
            archives=tuple(_archive(each) for each in document["archives"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _not_understood(text, error) from error


def parse_created(text: str) -> Created:
    """`create --json`. Raises EngineOutputError."""
    document = _document(text)
    try:
        archive = document["archive"]
        return Created(
            id=str(archive["id"]),
            name=str(archive["name"]),
            encryption=str(document["encryption"]["mode"]),
            files=int(archive["stats"]["nfiles"]),
            original_bytes=int(archive["stats"]["original_size"]),
            added_bytes=int(archive["stats"]["deduplicated_size"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _not_understood(text, error) from error


def parse_item(line: str) -> Item:
    """One line of `list --json-lines` of an archive. Raises EngineOutputError."""
    document = _document(line)
    try:
        mode = str(document["mode"])
        return Item(
            path=str(document["path"]),
            kind=_KINDS.get(mode[0], "other"),
            size_bytes=int(str(document["size"])),
            hard_link=mode[0] == "h",
            source=str(document["source"]),
            time=_text(document, "isomtime"),
            archive_id=_text(document, "archiveid"),
        )
    except (KeyError, IndexError, ValueError) as error:
        raise _not_understood(line, error) from error


def encode_comment(label: Label) -> str:
    """The label as a comment: base64, since borg expands braces in comments (`{now}`)."""
    return base64.b64encode(label_to_json(label).encode()).decode()


def decode_comment(comment: str) -> Label | None:
    """The label in a comment, or None for another tool's."""
    return label_from_json(_text_in(comment))


def _text_in(comment: str) -> str:
    if len(comment) > _LONGEST_COMMENT:
        return ""
    try:
        return base64.b64decode(comment, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _archive(document: Mapping[str, object]) -> Archive:
    # Naive times are local to the caller of borg; every borg of ours runs with TZ=UTC.
    start = datetime.fromisoformat(str(document["start"])).replace(tzinfo=UTC)
    return Archive(
        id=str(document["id"]),
        name=str(document["barchive"]),
        start=start,
        label=decode_comment(str(document["comment"])),
        later=later_from_json(_text_in(str(document["comment"]))),
    )


def _object(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _document(text: str) -> dict[str, Any]:
    document = _object(text)
    if document is None:
        raise _not_understood(text, None)
    return document


def _text(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _count(document: Mapping[str, object], *names: str) -> int | None:
    values: Iterable[object] = (document.get(name) for name in names)
    return next((value for value in values if isinstance(value, int)), None)


def _not_understood(text: str, cause: Exception | None) -> EngineOutputError:
    what = f": {cause}" if cause else ""
    return EngineOutputError(
        f"unexpected output from borg{what}",
        engine=ENGINE,
        stderr_tail=text,
        hint="Is this a version of borg before 1.2 or after 1.4? Check `borg --version`.",
    )
