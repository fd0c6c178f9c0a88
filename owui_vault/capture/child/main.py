"""The child process of a capture: the only one that touches the live data, and only to read.

Standard library only. It reads one JSON request per line and answers each with one line; it ends when its parent ends,
when its input ends, or when its own alarm fires. Its locks end with it, and nothing live has to be undone.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from owui_vault.capture.child.attempt import Attempt, Instant
from owui_vault.capture.child.content_times import ContentTimes
from owui_vault.capture.child.databases import RawCopies
from owui_vault.capture.child.errors import AttemptFailedError, NoRoomError
from owui_vault.capture.child.fences import Probe
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.marks import mark_of
from owui_vault.capture.child.messages import Answer, number, part, parts, texts, whole
from owui_vault.capture.child.prepare import CaptureEnvironment, prepare
from owui_vault.capture.child.sqlite.pinned_copy import PinnedCopies
from owui_vault.capture.child.stage_listing import write_inventory
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.capture.child.unproven import gather
from owui_vault.system.attributes import read_extended, summed_up
from owui_vault.system.filesystem import filesystem_type, hole_bytes, is_full
from owui_vault.system.parent_death import die_with_parent

_SLACK_SECONDS = 30.0
_IDLE_SECONDS = 24 * 3600
_LARGE_BYTES = 1 << 20  # a hole in what is smaller is not worth the asking
_PROGRESS_EVERY_SECONDS = 0.5


def main(parent: int) -> int:
    """Obey until there is nothing more to obey."""
    die_with_parent(parent)
    refuse_foreign_descriptors()
    helper: Helper | None = None
    for line in sys.stdin:
        message: Answer = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, number(message, "seconds") + _SLACK_SECONDS)
        try:
            if helper is None:
                helper = Helper(job_from(message))
            answer = helper.obey(message)
        except AttemptFailedError as failed:
            answer = {"failed": str(failed)}
        except NoRoomError as full:
            answer = {"no_room": str(full)}
        except sqlite3.Error as error:  # a database that went away between the look at it and its opening
            answer = {"failed": str(error)}
        except OSError as error:
            answer = {"no_room" if is_full(error) else "failed": f"{error.filename or 'the disk'}: {error.strerror}"}
        say(answer)
        signal.setitimer(signal.ITIMER_REAL, _IDLE_SECONDS)
    return 0


def refuse_foreign_descriptors() -> None:
    """An inherited descriptor might keep another program's file open for as long as we run."""
    listing = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    names = os.listdir(listing)
    os.close(listing)
    foreign = {int(name) for name in names} - {0, 1, 2, listing}
    foreign = {each for each in foreign if _is_open(each)}
    if foreign:
        raise SystemExit(f"started with unexpected file descriptors: {sorted(foreign)}")


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False  # the one the listing itself was read through
    return True


def say(answer: Answer) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def job_from(message: Answer) -> Job:
    """The job in the first message."""
    job: Answer = {"mounted": [], "processes": [], "rewritten": [], "known_uploads": [], **part(message["job"])}
    return Job(
        data_dir=str(job["data_dir"]),
        work_dir=str(job["work_dir"]),
        databases=texts(job, "databases"),
        write_once=texts(job, "write_once"),
        rewritten=frozenset(texts(job, "rewritten")),
        links=tuple((str(link["name"]), str(link["real"])) for link in parts(job, "links")),
        mounted=texts(job, "mounted"),
        known_uploads=tuple((str(each["path"]), whole(each, "parent")) for each in parts(job, "known_uploads")),
        processes=tuple(int(each) for each in texts(job, "processes")),
        exclude=texts(job, "exclude"),
        include=texts(job, "include"),
        reserve_bytes=whole(job, "reserve_bytes"),
        wal_growth_bytes=whole(job, "wal_growth_bytes"),
    )


@dataclass(slots=True)
class _Progress:
    """Tells the parent from time to time how far a long step is."""

    last: float = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last > _PROGRESS_EVERY_SECONDS:
            self.last = now
            say({"progress": [done, total]})


class Helper:
    """One capture, from the first look to the inventory."""

    def __init__(self, job: Job) -> None:
        self.job = job
        os.makedirs(job.desk, mode=0o700, exist_ok=True)
        os.makedirs(job.tree, mode=0o700, exist_ok=True)
        self.writer = StageWriter(job, Probe(f"{job.desk}/probe"))
        self.times = ContentTimes(self.writer)
        self.raw = RawCopies(self.writer)
        self.pinned = PinnedCopies(self.writer)
        self.instant: Instant | None = None
        self.progress = _Progress()

    def obey(self, message: Answer) -> Answer:
        """Do what one message asks for. Raises AttemptFailedError, NoRoomError."""
        deeds: dict[str, Callable[[Answer], Answer]] = {
            "prepare": self.prepare,
            "attempt": self.attempt,
            "gather": self.gather,
            "finish": self.finish,
            "seal": self.seal,
        }
        return deeds[str(message["do"])](message)

    def prepare(self, message: Answer) -> Answer:
        """Survey and copy ahead; what can be pinned is held from here to `finish`, unless pinning is not allowed."""
        until = time.monotonic() + number(message, "copy_seconds") if message["pin"] else None
        found: CaptureEnvironment = prepare(self.writer, self.raw, self.pinned, until=until, progress=self.progress)
        return asdict(found)

    def attempt(self, message: Answer) -> Answer:
        """Try to take an instant."""
        self.instant = None
        until = time.monotonic() + number(message, "seconds")
        patience = number(message, "patience_seconds")
        attempt = Attempt(
            writer=self.writer,
            raw=self.raw,
            pinned=self.pinned,
            pin=bool(message["pin"]),
            frozen=bool(message["frozen"]),
            held=bool(message["held"]),
            alone=bool(message.get("alone", False)),
            patience_seconds=patience,
            until=until,
        )
        fenced = self.writer.fences.seconds
        self.instant = attempt.run()
        return {
            "at_ns": self.instant.at_ns,
            "settle_seconds": attempt.settle_seconds,
            "fence_seconds": self.writer.fences.seconds - fenced,
            "unsettled": len(self.instant.unsettled),
        }

    def gather(self, message: Answer) -> Answer:
        """Copy as much as possible, without any proof."""
        self.instant = None
        until = time.monotonic() + number(message, "patience_seconds")
        self.instant, torn = gather(self.writer, self.raw, self.pinned, until)
        return {"at_ns": self.instant.at_ns, "torn": torn}

    def finish(self, message: Answer) -> Answer:
        """Bring the pinned databases to the instant, release them, hash whole files, report the result."""
        instant = self._taken()
        until = time.monotonic() + number(message, "seconds")
        changed = {}
        try:
            for name, commit in instant.commits.items():
                changed[name] = self.pinned.changed_ns(name)
                self.pinned.complete(name, commit, until)
        finally:
            self.pinned.end()
        return {
            "filesystem": filesystem_type(self.job.data_dir),
            "databases": [self._database(each.name, each.mode, each.holder, changed) for each in instant.databases],
            "vectors": self._vector_files(),
            "copied": len(self.writer.copies),
            "linked": len(self.writer.links),
            "skipped": sorted(name for name, mark in instant.look.tree.items() if mark.is_special),
            "unreadable": sorted(self.writer.unreadable | instant.look.unreadable),
            "strays": sorted(instant.look.strays),
            "leaving": sorted(self.writer.leaving & set(instant.look.tree)),
            "coarse": self.writer.probe.is_coarse(),
            "reread": self.writer.uploads.reread,
        }

    def seal(self, _message: Answer) -> Answer:
        """Write the inventory of the stage, and finish the directories, which we may then be unable to enter."""
        write_inventory(self.job.tree, f"{self.job.desk}/inventory.jsonl", self.writer.links, self._about)
        self.writer.seal()
        return {"lost": [{"name": name, "what": list(lost)} for name, lost in sorted(self.writer.lost.items())]}

    def _about(self, name: str) -> Answer:
        """What of the live entry cannot be seen in the stage yet, or ever. A database is asked by its path only."""
        writer = self.writer
        mark = writer.links.get(name) or writer.copies.get(name)
        if mark is not None:
            place = writer.inside.place(name)
            about: Answer = {"holes": hole_bytes(place, os.lstat(place)) if mark.size > _LARGE_BYTES else 0}
            if writer.job.is_upload(name):
                about |= writer.uploads.about(name, mark, settled=name not in writer.once, linked=name in writer.links)
        else:
            place, about = self.job.locate(name), {}
            mark = writer.others.get(name) or mark_of(place)
        if mark is None:
            return about
        extended = {} if mark.is_symlink else summed_up(name, read_extended(place))
        return {**about, "user": mark.user, "group": mark.group, "extended": extended}

    def _database(self, name: str, mode: str, holder: str, changed: dict[str, int]) -> Answer:
        raw = self.raw.taken.get(name)
        pinned = name in changed

        if raw and (raw.wal or raw.journal):
            # The parent recovers this copy; what is in the stage then is no longer what was copied.
            self.writer.once.add(name)
        return {
            "name": name,
            "mode": mode,
            "pinned": pinned,
            "holder": holder if pinned else "",
            "changed_ns": changed[name]
            if pinned
            else max((each.mtime_ns for each in raw.parts()[:2]), default=0)
            if raw
            else 0,
            "attributes": self._attributes(name),
        }

    def _attributes(self, name: str) -> list[Answer]:
        """Those of a live database, which is not opened for that: once at most, for it may be gone by now."""
        real = self.job.locate(name)
        mark = mark_of(real)
        if mark is None:
            return []
        extended = read_extended(real).items()
        told = [{"name": key, "value": base64.b64encode(value).decode()} for key, value in extended]
        return [{"mode": mark.mode, "user": mark.user, "group": mark.group, "extended": told}]

    def _vector_files(self) -> list[Answer]:
        """What is known of the copies that are hashed; all copies get a time that says what is in them."""
        found: list[Answer] = []
        for name, mark in sorted(self.writer.copies.items()):
            is_vector_file = self.job.is_vector_file(name)
            digest = self.times.give(name, mark, hashed=is_vector_file)
            if is_vector_file:
                size = os.path.getsize(self.writer.place(name))
                found.append({"name": name, "size": size, "sha256": digest, "changed_ns": mark.mtime_ns})
        return found

    def _taken(self) -> Instant:
        if self.instant is None:
            raise AttemptFailedError("nothing was captured")
        return self.instant
