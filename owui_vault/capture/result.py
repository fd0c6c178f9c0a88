"""Turns the child's answers into a `Captured`: recovers and checks database copies, and makes the records."""

from __future__ import annotations

import base64
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from owui_vault.capture.child.content_times import content_time_ns
from owui_vault.capture.child.messages import Answer, parts, texts, whole
from owui_vault.capture.child.sqlite.recovery import check_copy, count_rows, recover_copy, sha256_of
from owui_vault.capture.child_client import Tally
from owui_vault.errors import CancelledError, CaptureError, NoSpaceError
from owui_vault.model import ENCRYPTED, Captured, CapturePlan, DatabaseRecord, FileRecord, Findings, Proof, ProofRecord
from owui_vault.ports import Remarks
from owui_vault.system.attributes import OWNER, Attributes, give

OK = "ok"
TORN = "torn"
_UNAPPLIED = (
    "is encrypted (SQLCipher), and was being written to: the log beside it belongs to it, and cannot be applied"
    " without its key. Only a stop gives a snapshot that can be restored"
)
_MOST_NAMES = 3
_LOW_PRIORITY = 10  # nice's own default; of this thread alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in the stage after one attempt."""

    filesystem: str
    holder: str
    pinned: tuple[str, ...]
    databases: tuple[DatabaseRecord, ...]
    vector_files: tuple[FileRecord, ...]
    vector_state: tuple[tuple[str, str, int], ...]  # name, hash, when the live file was written to
    copied: int
    linked: int
    skipped: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    reread: bool = False  # what engines know of uploads cannot be relied on
    lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # attributes that copies could not be given

    @property
    def failed_checks(self) -> tuple[tuple[str, str, str], ...]:
        """Databases whose check failed: name, complaint, hash; equal twice means that it is the source."""
        return tuple(
            (each.path, each.check, each.sha256) for each in self.databases if each.check not in (OK, ENCRYPTED)
        )


def read_contents(
    answer: Answer,
    tree: Path,
    databases: Sequence[str],
    cancel: threading.Event,
    *,
    encrypted: Sequence[str] = (),
) -> Contents:
    """Bring the database copies to rest, check them, and say what there is of the `databases` that were planned.

    Of those that are `encrypted` nothing can be checked but that they are whole in themselves.
    """
    coarse = bool(answer["coarse"])
    found = [each for each in parts(answer, "databases") if _is_ours(tree, str(each["name"]))]
    with ThreadPoolExecutor(thread_name_prefix="check", initializer=_after_you) as pool:
        records = tuple(pool.map(lambda each: _record(each, tree, encrypted, coarse=coarse, cancel=cancel), found))
    given = {str(each["name"]): _give_attributes(tree, each) for each in found}
    vectors = tuple(
        FileRecord(path=str(each["name"]), size_bytes=whole(each, "size"), sha256=str(each["sha256"]))
        for each in parts(answer, "vectors")
    )
    unreadable = tuple(f"{name or 'the data directory'} cannot be read" for name in texts(answer, "unreadable"))
    there = {record.path for record in records}
    missing = tuple(f"{name} is not in the snapshot" for name in databases if name not in there)
    leaving = tuple(
        f"{name} is a link out of the data directory: its target is not stored" for name in texts(answer, "leaving")
    )
    strays = tuple(
        f"{name} is not stored: it is beside a link, and SQLite keeps such a file beside the link's target"
        for name in texts(answer, "strays")
    )
    return Contents(
        filesystem=str(answer["filesystem"]),
        holder=next((str(each["holder"]) for each in found if each["holder"]), ""),
        pinned=tuple(str(each["name"]) for each in found if each["pinned"]),
        databases=records,
        vector_files=vectors,
        vector_state=tuple(
            (str(each["name"]), str(each["sha256"]), whole(each, "changed_ns")) for each in parts(answer, "vectors")
        ),
        copied=whole(answer, "copied") + len(records),
        linked=whole(answer, "linked"),
        skipped=texts(answer, "skipped"),
        problems=unreadable + missing + leaving,
        warnings=leaving + strays,
        reread=bool(answer["reread"]),
        lost={name: lost for name, lost in given.items() if lost},
    )


def _after_you() -> None:
    """Leave the processor to the application: nothing waits for this thread, and the application may be catching up."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)


def with_torn(contents: Contents, names: Sequence[str]) -> Contents:
    """The same, where the check says of these databases that they may hold half a transaction, whatever else holds."""
    records = (
        replace(each, check=TORN) if each.path in names and each.check in (OK, ENCRYPTED) else each
        for each in contents.databases
    )
    return replace(contents, databases=tuple(records))


def lost_warnings(lost: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """One warning about owners and one about everything else that copies in the stage could not be given."""
    owners = sorted(name for name, what in lost.items() if OWNER in what)
    others = sorted(name for name, what in lost.items() if set(what) - {OWNER})
    kinds = sorted({each for what in lost.values() for each in what} - {OWNER})
    warnings = []
    if owners:
        warnings.append(
            f"the owner of {_some(owners)} could not be kept in the snapshot: files cannot be given to that owner here"
            " (no right to do so, or an owner that this user namespace does not know)"
        )
    if others:
        warnings.append(f"{', '.join(kinds)} of {_some(others)} could not be kept in the snapshot")
    return tuple(warnings)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name or "the data directory" for name in names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


def _is_ours(tree: Path, name: str) -> bool:
    """Whether a copy is there. What a link leads to would be the live database, and is never opened."""
    place = tree / name
    return place.is_file() and place.resolve() == tree.resolve() / name


def in_words(path: str, complaint: str) -> str:
    """A failed check in a sentence."""
    return f"{path} {complaint}" if complaint == _UNAPPLIED else f"{path} is damaged: {complaint}"


def _record(
    found: Answer, tree: Path, encrypted: Sequence[str], *, coarse: bool, cancel: threading.Event
) -> DatabaseRecord:
    name = str(found["name"])
    place = str(tree / name)
    is_encrypted = name in encrypted and str(found["mode"]) == "none"
    complaint = _sealed(place) if is_encrypted else _recover(place)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="hash", initializer=_after_you) as pool:
        hashing = pool.submit(sha256_of, place)  # beside the check: both let other threads run while they work
        check = complaint or check_copy(place, cancel)
        if cancel.is_set():
            raise CancelledError("the capture was ended on request")
        digest = hashing.result()
    _set_time(place, content_time_ns(digest, whole(found, "changed_ns"), coarse))
    return DatabaseRecord(
        path=name,
        journal_mode=str(found["mode"]),
        size_bytes=os.path.getsize(place),
        sha256=digest,
        check=check,
        tables=count_rows(place) if complaint == "" and check != "not a database" else {},
    )


def _sealed(place: str) -> str:
    """What can be said of a database that nobody here can open: whether it is whole without what is beside it."""
    beside = (Path(place + suffix) for suffix in ("-wal", "-journal"))
    return _UNAPPLIED if any(each.is_file() and each.stat().st_size for each in beside) else ENCRYPTED


def _recover(place: str) -> str:
    try:
        recover_copy(place)
    except sqlite3.Error as error:
        if "is full" in str(error):
            raise NoSpaceError(
                f"not enough space to recover the copy of {Path(place).name}", hint="Free some space, then try again."
            ) from error
        return str(error)
    return ""


def _set_time(place: str, mtime_ns: int) -> None:
    with _opened(place) as descriptor:
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))


def _give_attributes(tree: Path, found: Answer) -> tuple[str, ...]:
    """Give the copy of a database those of the live one; returns what it could not be given."""
    lost: tuple[str, ...] = ()
    for told in parts(found, "attributes"):
        extended = {str(each["name"]): base64.b64decode(str(each["value"])) for each in parts(told, "extended")}
        wanted = Attributes(whole(told, "mode"), whole(told, "user"), whole(told, "group"), extended)
        with _opened(str(tree / str(found["name"]))) as descriptor:
            lost = give(descriptor, wanted)
    return lost


@contextmanager
def _opened(place: str) -> Iterator[int]:
    """A descriptor of a copy. A link that was put there meanwhile is refused: its target is not ours to change."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise CaptureError(
            f"the copy of {Path(place).name} was replaced in the stage",
            hint="Another process that can write to the data is interfering: check what is running there.",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Taken:
    """What an attempt left in the stage."""

    at: datetime
    contents: Contents
    findings: Findings
    problems: tuple[str, ...] = ()


def captured(  # noqa: PLR0913  the parts of one record
    plan: CapturePlan, taken: Taken, *, proof: Proof, tally: Tally, seconds: float, remarks: Remarks
) -> Captured:
    """All of it as one value. `seconds`: what the capture took in all."""
    contents = taken.contents
    unchecked = (*(plan.unchecked if contents.pinned else ()), *remarks.unchecked)
    record = ProofRecord(
        mode=proof,
        attempts=tally.attempts,
        freeze_seconds=tally.freeze_seconds,
        outage_seconds=tally.outage_seconds,
        settle_seconds=tally.settle_seconds,
        fence_seconds=tally.fence_seconds,
        capture_seconds=seconds,
        filesystem=contents.filesystem,
        lock_holder=contents.holder,
        pinned=contents.pinned,
        copied_files=contents.copied,
        linked_files=contents.linked,
        weaker=(*tally.weaker, *(f"not checked: {each}" for each in unchecked)),
    )
    return Captured(
        stage=plan.work_dir / "stage",
        inventory=plan.work_dir / "capture" / "inventory.jsonl",
        instant=taken.at,
        proof=record,
        databases=contents.databases,
        vector_files=contents.vector_files,
        findings=taken.findings,
        problems=(*taken.problems, *contents.problems, *taken.findings.problems),
        warnings=(*contents.warnings, *taken.findings.warnings, *remarks.warnings),
        skipped=contents.skipped,
        reread=contents.reread,
    )
