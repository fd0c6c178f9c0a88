"""Stores a tree with borg so that nothing is ever listed as COMPLETE that is not.

The label is in the archive's comment, which is given before the first file is read. `commit_gate_main` holds the
finished archive back until borg has named every path without a complaint, and a final check has shown that what it read
did not change. If borg complained about one, or one changed, the archive is abandoned and made again with a label that
says INCOMPLETE: everything is read again, which costs time, never the truth.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from owui_vault.engines.borg import commit_gate_main
from owui_vault.engines.borg.errors import ENGINE, blames_the_repository
from owui_vault.engines.borg.output import Created, Message, encode_comment, parse_created
from owui_vault.engines.borg.program import Borg, Request, archive_argument
from owui_vault.engines.borg.source_scan import LAST, Survey, take_survey
from owui_vault.engines.common.environment import launcher_argv
from owui_vault.engines.common.full_read import is_due, record_full_read
from owui_vault.engines.common.unreadable import named
from owui_vault.errors import DeadlineExceededError, EngineError, RepositoryUnreachableError
from owui_vault.model import Compression, Label, Outcome, Progress, SkippedFile, Snapshot, Step, StoreReceipt
from owui_vault.ports import Call
from owui_vault.system.clock import SystemClock
from owui_vault.system.unwinding import undoing

logger = logging.getLogger(__name__)

#: SQLite changes single pages all over a file; only small fixed pieces find the others again (a day's 1 % of a 300 MB
#: database added 19 MB with 64 KiB pieces and 63 to 111 MB with borg's own; 4 KiB pieces take 4 × the memory and time).
CHUNKING = "fixed,65536"
#: zstd,3 stored the day's change of that database in 57 % of lz4's space, for 1.4 × the time of a first snapshot.
COMPRESSION = "zstd,3"
_COMPRESSIONS: dict[Compression | None, str] = {
    Compression.OFF: "none",
    Compression.FAST: "lz4",
    Compression.MAX: "zstd,12",
}

_CHUNKING = re.compile(r"fixed,\d+(,\d+)?|buzhash,\d+,\d+,\d+,\d+")
#: Borg's own is half an hour, and what was sent since the last checkpoint is sent again.
_CHECKPOINT_SECONDS = 300
#: Pauses before a store goes on whose connection broke; a try that gets on by this much begins with the first again.
_PAUSES_SECONDS = (1.0, 5.0, 25.0)
_GOT_ON_BYTES = 1 << 20
_CODE_ERROR, _CODE_CHANGED, _CODE_DIRECTORY = "E", "C", "d"


def store(borg: Borg, tree: Path, label: Label) -> StoreReceipt:
    """Make one archive of everything below `tree`."""
    label = replace(label, engine=ENGINE, engine_version=borg.version(), chunking=_chunking(label))
    everything = borg.call.reread or is_due(borg.call.folder, label.instance)
    with _workplace(borg.folder) as workplace:
        survey = take_survey(tree, workplace / "paths")
        if survey.odd_times:
            borg.call.warn(
                f"borg stores no times before 1970 or after January 2038; these will differ: {named(survey.odd_times)}"
            )
        if survey.unreadable:
            label = replace(label, outcome=Outcome.INCOMPLETE)
        job = _Job(borg=borg, tree=tree, survey=survey, label=label, bound=_Bound(borg.call), everything=everything)
        attempt = _persistently(job)
        skipped = _merged(survey.unreadable, attempt.skipped)
        if attempt.created is None:
            label = replace(label, outcome=Outcome.INCOMPLETE)
            attempt = _persistently(replace(job, label=label))
            # what was unreadable once explains the label, read since or not
            skipped = _merged(skipped, attempt.skipped)
    if attempt.created is None:
        raise EngineError("borg abandoned an archive that it was asked to write", engine=ENGINE)
    if everything:
        record_full_read(borg.call.folder, label.instance)
    read = attempt.created.original_bytes  # borg itself says nothing of the last fifth of a second
    borg.call.progress(Progress(step=Step.STORE, done_bytes=read, total_bytes=read))
    return _receipt(attempt.created, label, skipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One tree to be stored under one label. `everything`: whatever size and mtime say."""

    borg: Borg
    tree: Path
    survey: Survey
    label: Label
    bound: _Bound
    everything: bool


class _Bound:
    """The time of one store in all, over as soon as borg was told to write the archive down; and how far it got.

    Ending borg while it commits would tell of a failure, and leave a complete archive.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._until = None if call.store_seconds is None else SystemClock().monotonic() + call.store_seconds
        self.is_lifted = False
        self.done_bytes = 0

    def lift(self) -> None:
        """From now on only its silence is bounded."""
        self._until = None
        self.is_lifted = True

    def check(self) -> None:
        """Raise DeadlineExceededError when it is over."""
        if self._until is not None and SystemClock().monotonic() > self._until:
            raise DeadlineExceededError(
                f"borg did not finish within {self._call.store_seconds:g} s",
                hint="Check whether its disk or host responds, or raise limits.store.",
            )


def _chunking(label: Label) -> str:
    chunking = label.chunking or CHUNKING
    if not _CHUNKING.fullmatch(chunking):
        raise EngineError(
            f"the series uses the chunker parameters {chunking!r}, which borg does not accept",
            engine=ENGINE,
            hint="A series keeps its chunker parameters: give this repository another instance name.",
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
    """`created` is None when the archive was abandoned because of what was skipped."""

    created: Created | None
    skipped: tuple[SkippedFile, ...]


@dataclass(slots=True)
class _Gatekeeper:
    """Listens to borg, and says yes or no when the last path is done."""

    job: _Job
    lenient: bool
    gate: int  # the writing end
    troubled: dict[str, str] = field(default_factory=dict)  # path → reason
    texts: list[str] = field(default_factory=list)
    refused: bool = False

    def take(self, message: Message) -> None:
        if message.type == "archive_progress" and message.done is not None:
            self.job.bound.done_bytes = max(self.job.bound.done_bytes, message.done)
            self._tell(message.done)
        elif message.is_complaint:
            self.texts.append(message.text)
        elif message.type == "file_status":
            self._note(message)

    def _tell(self, done: int) -> None:
        self.job.borg.call.progress(
            Progress(step=Step.STORE, done_bytes=done, total_bytes=max(done, self.job.survey.size_bytes))
        )

    def _note(self, message: Message) -> None:
        changed = message.status == _CODE_CHANGED and not self.job.survey.still_holds(self.job.tree, message.path)
        if message.status == _CODE_ERROR or changed:
            self.troubled[message.path] = self._reason(message)
        if message.path == LAST:
            self._decide()

    def _reason(self, message: Message) -> str:
        if message.status == _CODE_CHANGED:
            return "changed while it was read"
        beginning = f"{message.path}: "
        said = next((t.removeprefix(beginning) for t in reversed(self.texts) if t.startswith(beginning)), "unreadable")
        return self.job.borg.clean(said)

    def _decide(self) -> None:
        look = self.job.borg.call.last_look
        self.refused = self._repository_failed or (bool(self.troubled) and not self.lenient)
        if not self.refused and not self.lenient and look:
            self.refused = bool(look())  # links share their bytes with live files: an upload that was rewritten
        if not self.refused:
            self.job.bound.lift()
        os.write(self.gate, b"-" if self.refused else commit_gate_main.YES)

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


def _persistently(job: _Job) -> _Attempt:
    """Go on when the connection breaks off in the middle: borg, unlike restic, gives up at once.

    Its last checkpoint is where it goes on. A host that cannot be reached to begin with is not tried again, and nothing
    is after borg was told to write the archive down: it may have done so.
    """
    borg, farthest, pauses = job.borg, 0, iter(_PAUSES_SECONDS)
    while True:
        try:
            return _attempt(job)
        except RepositoryUnreachableError:
            done = job.bound.done_bytes
            if done > farthest + _GOT_ON_BYTES:
                farthest, pauses = done, iter(_PAUSES_SECONDS)
            pause = next(pauses, None)
            hopeless = farthest == 0 or pause is None or job.bound.is_lifted or not borg.is_elsewhere
            if hopeless or borg.call.cancel.wait(pause):
                raise
            job.bound.check()
            logger.info("the connection to %s broke off: trying again", borg.shown_location)


def _attempt(job: _Job) -> _Attempt:
    gate = job.survey.list.with_name("gate")
    asking = (launcher_argv()[0], "-I", "-S", commit_gate_main.__file__, str(job.survey.list), str(gate))
    with _gate(gate) as writer:
        keeper = _Gatekeeper(job, lenient=job.label.outcome is Outcome.INCOMPLETE, gate=writer)
        request = Request(
            arguments=(*_arguments(job), *asking),
            long=True,
            cwd=job.tree,
            environment={"BORG_FILES_CACHE_SUFFIX": f"owui-vault-{job.label.instance}"},
            on_message=keeper.take,
            on_tick=job.bound.check,
        )
        try:
            finished = job.borg.run(request)
        except EngineError:
            if keeper.gave_up:
                return _Attempt(created=None, skipped=keeper.skipped)
            raise
    return _Attempt(created=job.borg.understood(parse_created, finished.stdout), skipped=keeper.skipped)


def _arguments(job: _Job) -> tuple[str, ...]:
    compression = _COMPRESSIONS.get(job.borg.compression, COMPRESSION)
    label, files = job.label, "rechunk,mtime" if job.everything else "mtime,size"
    # No ctime: it is of no use after a restore, and each new hard link to an upload changes it.
    return (
        "create", "--json", "--progress", "--list", "--filter", _CODE_DIRECTORY + _CODE_ERROR + _CODE_CHANGED,
        "--compression", compression, "--chunker-params", label.chunking, "--files-cache", files, "--noctime",
        "--timestamp", label.instant.strftime("%Y-%m-%dT%H:%M:%S"), "--comment", encode_comment(label),
        "--checkpoint-interval", str(_CHECKPOINT_SECONDS),
        "--paths-from-command", "--paths-delimiter", r"\0", archive_argument(archive_name(label)), "--",
    )  # fmt: skip


def archive_name(label: Label) -> str:
    """Unique in a repository, and telling to a person with nothing but borg."""
    return f"{label.instance}-{label.instant.strftime('%Y%m%dT%H%M%SZ')}-{label.id}"


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A private directory of this run, locked for as long as it lives; those of dead runs go.

    Not by process numbers: those of another container mean nothing here, and here they are given out again.
    """
    with _locked(folder):  # nobody may take a folder for a dead run's before it has its lock
        for old in folder.glob("store-*"):
            with suppress(BlockingIOError), _locked(old, wait=False):
                shutil.rmtree(old, ignore_errors=True)
        path = Path(tempfile.mkdtemp(prefix="store-", dir=folder))
        lock = _lock(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Raises BlockingIOError where somebody has the lock, and we are not to wait."""
    descriptor = _lock(folder, wait=wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, *, wait: bool = True) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with undoing(os.close, descriptor):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    return descriptor


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


def _merged(ours: tuple[SkippedFile, ...], borgs: tuple[SkippedFile, ...]) -> tuple[SkippedFile, ...]:
    """Each path once; what borg says of it is more exact."""
    reasons = {each.path: each for each in (*ours, *borgs)}
    return tuple(reasons[path] for path in sorted(reasons))
