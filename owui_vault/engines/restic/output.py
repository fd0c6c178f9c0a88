"""Parses restic's output: JSON or text, line by line, ignoring unknown messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from owui_vault.engines.common.labels import label_from_tags, later_from_tags
from owui_vault.engines.restic.errors import message_of
from owui_vault.engines.restic.monitor import Monitor
from owui_vault.errors import EngineOutputError
from owui_vault.model import Entry, Progress, SkippedFile, Snapshot, Step
from owui_vault.ports import Call

Document = Mapping[str, Any]
KINDS = frozenset({"file", "dir", "symlink"})


def document_of(line: str) -> Document | None:
    """The JSON object of a line, None for text."""
    if not line.startswith("{"):
        return None
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def snapshot_of(document: Document) -> Snapshot:
    """One object of `restic snapshots --json`. Raises EngineOutputError."""
    try:
        tags = [tag for tag in document.get("tags") or () if isinstance(tag, str)]
        label = label_from_tags(tags)
        time = datetime.fromisoformat(document["time"]).astimezone(UTC)
        size = (document.get("summary") or {}).get("total_bytes_processed")
        return Snapshot(
            engine_id=document["id"],
            name=document.get("short_id") or document["id"][:8],
            time=label.instant if label else time,
            label=label,
            later=later_from_tags(tags),
            size_bytes=size if isinstance(size, int) else None,
        )
    except (KeyError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise EngineOutputError(f"unexpected snapshot in restic's list: {error}", engine="restic") from error


def snapshots_of(documents: Sequence[Document] | None) -> tuple[Snapshot, ...]:
    """All objects of `restic snapshots --json`, oldest first.

    `restic tag` writes the new snapshot before it drops the old one. Killed in between, both are there, as they are
    where nothing can be deleted; what that means is decided by whoever chooses or prunes.
    """
    return tuple(sorted(map(snapshot_of, documents or ()), key=lambda each: (each.time, each.engine_id)))


def entry_of(document: Document) -> Entry | None:
    """One line of `restic ls --json`, None for those that are no path."""
    if document.get("struct_type") != "node" and document.get("message_type") != "node":
        return None
    try:
        kind = document["type"]
        path = document["path"].removeprefix("/")
        size = document.get("size") or 0
        return Entry(path=path, kind=kind if kind in KINDS else "other", size_bytes=size if kind == "file" else 0)
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineOutputError(f"unexpected path in restic's list: {error}", engine="restic") from error


@dataclass(frozen=True, slots=True)
class Summary:
    """The last message of a backup."""

    snapshot_id: str  # eight characters with restic < 0.17
    files: int
    read_bytes: int
    added_bytes: int


class BackupReader:
    """Takes the lines of `restic backup --json`."""

    def __init__(self, tree: Path, call: Call) -> None:
        self._tree = tree.resolve()
        self._call = call
        self.monitor = Monitor(call)
        self._done = 0
        self._skipped: dict[str, str] = {}
        self.summary: Summary | None = None

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What it could not read."""
        clean = self.monitor.clean
        return tuple(SkippedFile(path=path, reason=clean(reason)) for path, reason in sorted(self._skipped.items()))

    def stdout(self, line: str) -> None:
        """A status, the summary, or something to pass over."""
        document = document_of(line) or {}
        match document.get("message_type"):
            case "status":
                self._progress(document)
            case "summary":
                self.summary = _summary_of(document)
                done = max(self._done, self.summary.read_bytes)
                self._call.progress(Progress(step=Step.STORE, done_bytes=done, total_bytes=done))

    def _progress(self, document: Document) -> None:
        self.monitor.see((document.get("bytes_done"), document.get("files_done")))
        self._done = max(self._done, int(document.get("bytes_done") or 0))
        total = document.get("total_bytes")
        self._call.progress(Progress(step=Step.STORE, done_bytes=self._done, total_bytes=total))

    def stderr(self, line: str) -> None:
        """An unreadable file, or something for the error message."""
        document = document_of(line) or {}
        if document.get("message_type") == "error" and document.get("during") != "scan":
            self._skipped[self._relative(str(document.get("item", "")))] = _reason(document.get("error"))

    def _relative(self, item: str) -> str:
        path = Path(item)
        return str(path.relative_to(self._tree)) if path.is_absolute() and path.is_relative_to(self._tree) else item


def _reason(error: object) -> str:
    """Restic 0.14 hands out Go's error as it is: an object with a number, or an empty one."""
    if isinstance(error, Mapping):
        if isinstance(error.get("message"), str):
            return str(error["message"]).splitlines()[0]
        if error.get("Err") == 13:
            return "permission denied"
    return "could not be read"


def _summary_of(document: Document) -> Summary:
    try:
        return Summary(
            snapshot_id=document["snapshot_id"],
            files=document["total_files_processed"],
            read_bytes=document["total_bytes_processed"],
            added_bytes=document.get("data_added_packed", document["data_added"]),
        )
    except KeyError as error:
        raise EngineOutputError(f"restic's summary of a backup lacks {error}", engine="restic") from error


class RestoreReader:
    """Takes the lines of `restic restore --json`. restic < 0.17 has none: there, `monitor` is moved by what arrives."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.monitor = Monitor(call)
        call.progress(Progress(step=Step.FETCH))

    def stdout(self, line: str) -> None:
        """A status, or something to pass over."""
        document = document_of(line) or {}
        if document.get("message_type") in ("status", "summary"):
            done, total = int(document.get("bytes_restored") or 0), document.get("total_bytes")
            self.monitor.see((done, document.get("files_restored")))
            self._call.progress(Progress(step=Step.FETCH, done_bytes=done, total_bytes=total))


_NOT_TELLING = re.compile(
    r"^using temporary cache|^unable to create temporary|^Fatal: |^The repository |^These damaged|^This can be done"
    r"|restic repair|restic snapshots|troubleshooting|^If |^Otherwise|^Please"
    r"|returned error, retrying|^error for tree [0-9a-f]+:$|operation successful after \d+ retries"
)
DAMAGED = (
    "the repository is damaged: data on its storage changed or are missing. Check its disk and keep your other"
    " repositories; restic's own `repair` commands save what can be saved, on a copy"
)

_MOST_PROBLEMS = 100


def problems_in(stderr: Iterable[str]) -> tuple[str, ...]:
    """What a failed `restic check` found: first what it means, then restic's own words, without retries and advice."""
    lines = [part.strip() for line in stderr for part in message_of(line).splitlines() if part.strip()]
    telling = dict.fromkeys(line for line in lines if not _NOT_TELLING.search(line))
    return (DAMAGED, *(f"restic says: {line}" for line in telling))[:_MOST_PROBLEMS]


_FREED = re.compile(r"total prune:\s+\d+ blobs / ([0-9.]+) (B|KiB|MiB|GiB|TiB)")
_UNITS = {"B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}


def freed_bytes(lines: Iterable[str]) -> int | None:
    """What `restic prune` says it freed, from its rounded number."""
    found = [match for line in lines if (match := _FREED.search(line))]
    return round(float(found[-1][1]) * 1024 ** _UNITS[found[-1][2]]) if found else None
