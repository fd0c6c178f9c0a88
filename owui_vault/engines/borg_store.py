"""Storing a tree with borg so that nothing is ever listed COMPLETE that is not.

The label stands in the archive's comment, which is given before the first file is read. `borg_gate` holds the finished
archive back until borg has named every path without a complaint. If it complained about one, the archive is given up
and made again with a label that says INCOMPLETE: what was read is read again, which costs time, never the truth.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from owui_vault.engines import borg_gate
from owui_vault.engines.borg_errors import ENGINE, blames_the_repository
from owui_vault.engines.borg_output import Created, Message, encode_comment, parse_created
from owui_vault.engines.borg_program import Borg, Request, archive_argument
from owui_vault.engines.launching import launching
from owui_vault.errors import EngineError
from owui_vault.model import Label, Outcome, Progress, SkippedFile, Snapshot, Step, StoreReceipt

#: SQLite changes single pages all over a file; only small fixed pieces find the others again (a day's 1 % of a 300 MB
#: database added 19 MB with 64 KiB pieces and 63 to 111 MB with borg's own; 4 KiB pieces take 4 × the memory and time).
CHUNKING = "fixed,65536"
#: zstd,3 stored the day's change of that database in 57 % of lz4's space, for 1.4 × the time of a first snapshot.
COMPRESSION = "zstd,3"

_CHUNKING = re.compile(r"fixed,\d+(,\d+)?|buzhash,\d+,\d+,\d+,\d+")
_CODE_ERROR, _CODE_CHANGED, _CODE_DIRECTORY = "E", "C", "d"
_LAST = "."  # named last: its status tells that all others are done
_UNREADABLE_REASON = "permission denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What we saw of a tree before borg does."""

    paths: int
    size_bytes: int
    unreadable: tuple[SkippedFile, ...]


def store(borg: Borg, tree: Path, label: Label) -> StoreReceipt:
    """Make one archive of everything below `tree`."""
    label = replace(label, engine=ENGINE, engine_version=borg.version(), chunking=_chunking(label))
    with _workplace(borg.folder) as workplace:
        survey = _survey(tree, workplace / "paths")
        if survey.unreadable or not survey.paths:
            label = replace(label, outcome=Outcome.INCOMPLETE)
        attempt = _attempt(borg, tree, label, survey, workplace)
        skipped = _merged(survey.unreadable, attempt.skipped)
        if attempt.created is None:
            label = replace(label, outcome=Outcome.INCOMPLETE)
            attempt = _attempt(borg, tree, label, survey, workplace)
            skipped = _merged(
                skipped, attempt.skipped
            )  # what was unreadable once explains the label, read since or not
    if attempt.created is None:
        raise EngineError("borg gave up an archive that it was told to write", engine=ENGINE)
    return _receipt(attempt.created, label, skipped)


def _chunking(label: Label) -> str:
    chunking = label.chunking or CHUNKING
    if not _CHUNKING.fullmatch(chunking):
        raise EngineError(
            f"the series is cut by {chunking!r}, which borg does not know",
            engine=ENGINE,
            hint="A series keeps to one way of cutting: give this repository another instance name.",
        )
    return chunking


def _receipt(created: Created, label: Label, skipped: tuple[SkippedFile, ...]) -> StoreReceipt:
    snapshot = Snapshot(
        engine_id=created.id, name=created.name, time=label.instant, label=label, size_bytes=created.original_bytes
    )
    return StoreReceipt(
        snapshot=snapshot,
        files=created.files,
        read_bytes=created.original_bytes,
        added_bytes=created.added_bytes,
        skipped=skipped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """`created` is None when the archive was given up because of what was skipped."""

    created: Created | None
    skipped: tuple[SkippedFile, ...]


@dataclass(slots=True)
class _Gatekeeper:
    """Listens to borg, and says yes or no when the last path is done."""

    borg: Borg
    total_bytes: int
    lenient: bool
    gate: int  # the writing end
    troubled: dict[str, str] = field(default_factory=dict)  # path → reason
    texts: list[str] = field(default_factory=list)
    refused: bool = False

    def take(self, message: Message) -> None:
        if message.type == "archive_progress" and message.done is not None:
            self._tell(message.done)
        elif message.is_complaint:
            self.texts.append(message.text)
        elif message.type == "file_status":
            self._note(message)

    def _tell(self, done: int) -> None:
        self.borg.call.progress(Progress(step=Step.STORE, done_bytes=done, total_bytes=max(done, self.total_bytes)))

    def _note(self, message: Message) -> None:
        if message.status in (_CODE_ERROR, _CODE_CHANGED):
            self.troubled[message.path] = self._reason(message)
        if message.path == _LAST:
            self._decide()

    def _reason(self, message: Message) -> str:
        if message.status == _CODE_CHANGED:
            return "changed while it was read"
        beginning = f"{message.path}: "
        return next((t.removeprefix(beginning) for t in reversed(self.texts) if t.startswith(beginning)), "unreadable")

    def _decide(self) -> None:
        self.refused = self._repository_failed or (bool(self.troubled) and not self.lenient)
        os.write(self.gate, b"-" if self.refused else borg_gate.YES)

    @property
    def gave_up(self) -> bool:
        """The archive was refused because of files, not because of the repository."""
        return self.refused and not self._repository_failed

    @property
    def _repository_failed(self) -> bool:
        return any(blames_the_repository(text) for text in self.texts)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        return tuple(SkippedFile(path=path, reason=reason) for path, reason in sorted(self.troubled.items()))


def _attempt(borg: Borg, tree: Path, label: Label, survey: Survey, workplace: Path) -> _Attempt:
    with _gate(workplace / "gate") as writer:
        keeper = _Gatekeeper(borg, survey.size_bytes, label.outcome is Outcome.INCOMPLETE, writer)
        request = Request(
            arguments=(*_arguments(label), launching()[0], "-I", "-S", borg_gate.__file__,
                       str(workplace / "paths"), str(workplace / "gate")),
            long=True,
            cwd=tree,
            environment={"BORG_FILES_CACHE_SUFFIX": f"owui-vault-{label.instance}"},
            on_message=keeper.take,
        )  # fmt: skip
        try:
            done = borg.run(request)
        except EngineError:
            if keeper.gave_up:
                return _Attempt(created=None, skipped=keeper.skipped)
            raise
    return _Attempt(created=parse_created(done.stdout), skipped=keeper.skipped)


def _arguments(label: Label) -> tuple[str, ...]:
    # No ctime: it is of no use after a restore, and each new hard link to an upload changes it.
    return (
        "create", "--json", "--progress", "--list", "--filter", _CODE_DIRECTORY + _CODE_ERROR + _CODE_CHANGED,
        "--compression", COMPRESSION, "--chunker-params", label.chunking, "--files-cache", "mtime,size", "--noctime",
        "--timestamp", label.instant.strftime("%Y-%m-%dT%H:%M:%S"), "--comment", encode_comment(label),
        "--paths-from-command", "--paths-delimiter", r"\0", archive_argument(archive_name(label)), "--",
    )  # fmt: skip


def archive_name(label: Label) -> str:
    """Unique in a repository, and telling to a person with nothing but borg."""
    return f"{label.instance}-{label.instant.strftime('%Y%m%dT%H%M%SZ')}-{label.id}"


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A private directory of this run; those of dead runs go."""
    for old in folder.glob("store-*-*"):
        pid = old.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(old, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=f"store-{os.getpid()}-", dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _gate(path: Path) -> Iterator[int]:
    """A FIFO's writing end. Open for reading, too, so that opening it waits for nobody."""
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    writer = os.open(path, os.O_RDWR)
    try:
        yield writer
    finally:
        os.close(writer)


def _survey(tree: Path, list_path: Path) -> Survey:
    """Write down every path below `tree`, parents first, for borg to read."""
    if not tree.is_dir():
        raise EngineError(f"there is nothing to store: {tree} is no directory", engine=ENGINE)
    found = _Found()
    with list_path.open("wb") as file:
        found.walk(os.fsencode(tree), b"", file)
        file.write(os.fsencode(_LAST))
    return Survey(paths=found.paths, size_bytes=found.size_bytes, unreadable=tuple(found.unreadable))


@dataclass(slots=True)
class _Found:
    paths: int = 0
    size_bytes: int = 0
    unreadable: list[SkippedFile] = field(default_factory=list)

    def walk(self, folder: bytes, prefix: bytes, file: BinaryIO) -> None:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.inode())  # the order in which disks read best
        except OSError as error:
            self._miss(prefix.rstrip(b"/") or b".", error.strerror or str(error))
            return
        for entry in found:
            self._one(entry, prefix + entry.name, file)

    def _one(self, entry: os.DirEntry[bytes], path: bytes, file: BinaryIO) -> None:
        self.paths += 1
        file.write(path + b"\0")
        if entry.is_dir(follow_symlinks=False):
            self.walk(entry.path, path + b"/", file)
        elif entry.is_file(follow_symlinks=False):
            self.size_bytes += entry.stat(follow_symlinks=False).st_size
            if not os.access(entry.path, os.R_OK, effective_ids=True):
                self._miss(path, _UNREADABLE_REASON)

    def _miss(self, path: bytes, reason: str) -> None:
        self.unreadable.append(SkippedFile(path=os.fsdecode(path), reason=reason))


def _merged(ours: tuple[SkippedFile, ...], borgs: tuple[SkippedFile, ...]) -> tuple[SkippedFile, ...]:
    """Each path once; what borg says of it is more exact."""
    reasons = {each.path: each for each in (*ours, *borgs)}
    return tuple(reasons[path] for path in sorted(reasons))
