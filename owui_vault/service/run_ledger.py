"""The run ledger: a file of lines in the state directory, each on disk before what it announces is done.

A beginning without an end is a run that was killed; so nobody has to survive in order to tell. Whoever runs plans holds
the ledger's lock, which ends with the process that holds it, in whichever container or namespace that was: while the
lock is free, no run is alive, whatever the ledger says, and no pid has to be believed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path

from owui_vault.context.state import StateDirectory, usable
from owui_vault.errors import LockHeldError
from owui_vault.model.json_codec import dumps, local_text
from owui_vault.service.run_entries import Entry, History, line, parse, still_needed, told_by
from owui_vault.system.clock import SystemClock
from owui_vault.system.durable_files import sync_directory, write_durably
from owui_vault.system.lock import Patience, wait_for

_NAME = "runs.jsonl"
_DAMAGED = "runs-damaged.jsonl"
_LOCK = "runs.lock"
_CALLED = "runs.called"
LONGEST_BYTES = 48 << 10  # it is read at each tick
OLDER_KEPT = 40
_READER_SECONDS = 2.0  # whoever only looks holds the lock for a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who runs plans now, as it wrote into the lock: for messages, and so that nobody waits for what it is doing."""

    name: str
    pid: int
    since: datetime | None
    plans: tuple[str, ...]

    def __str__(self) -> str:
        since = f" since {local_text(self.since)}" if self.since else ""
        return f"process {self.pid}{since}, with {', '.join(self.plans) or 'no plan yet'}"


class RunLedger:
    """The ledger of one series. Nothing is created before something has to be written."""

    def __init__(self, state: StateDirectory, series: str) -> None:
        self._state = state
        self._series = series
        self._folder = state.root / "instances" / series

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._folder / _NAME

    def read(self, held_as: str | None = None) -> History:
        """What it says. A last line that is cut off counts for nothing; others that are damaged are counted.

        `held_as` is the caller's own name, where it holds the lock: then nobody else runs.
        """
        entries, damaged = self._entries(self.path)
        return told_by(entries, held_as or self._running(), damaged)

    def read_recent(self) -> History:
        """The same, with the ledger before this one: together they know a month of a nightly plan."""
        (older, damaged_then), (newer, damaged) = self._entries(self._numbered(1)), self._entries(self.path)
        return told_by([*older, *newer], self._running(), damaged_then + damaged)

    def read_all(self) -> History:
        """The same, with the older ledgers that are still there."""
        older = [self._numbered(number) for number in range(OLDER_KEPT, 0, -1)]
        parts = [self._entries(path) for path in (*older, self.path)]
        entries = [entry for found, _ in parts for entry in found]
        return told_by(entries, self._running(), sum(damaged for _, damaged in parts))

    def _running(self) -> str | None:
        holder = self.holder()
        return holder.name if holder else None

    def note_call(self, now: datetime) -> None:
        """Remember when somebody asked for what is due.

        Raises where the state cannot be kept: whoever looks every ten minutes says so then, and not at the next night.
        """
        mark = self._state.instance_folder(self._series) / _CALLED
        with usable(self._state.root):
            mark.touch(mode=0o600)
            os.utime(mark, (now.timestamp(), now.timestamp()))

    def called_last(self) -> datetime | None:
        """When somebody last asked for what is due; None: nobody ever did."""
        with suppress(OSError):
            return datetime.fromtimestamp((self._folder / _CALLED).stat().st_mtime, UTC)
        return None

    def holder(self) -> Holder | None:
        """Who runs plans now; None: nobody."""
        with usable(self._state.root):
            try:
                descriptor = os.open(self._folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                return _holder(os.pread(descriptor, 1 << 16, 0))
            finally:
                os.close(descriptor)

    @contextmanager
    def held(self, plans: Sequence[str], now: datetime) -> Iterator[str]:
        """Be the only one who runs plans; yields the name under which the lock is held.

        Raises LockHeldError, which says who does.
        """
        self._state.instance_folder(self._series)
        name = _own_name()
        with usable(self._state.root):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._folder / _LOCK, flags, 0o600)
        try:
            self._lock(descriptor)
            with usable(self._state.root):
                said = dumps({"name": name, "pid": os.getpid(), "since": now, "plans": plans}).encode()
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, said, 0)
            yield name
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            wait_for(descriptor, Patience(wait_seconds=_READER_SECONDS, clock=SystemClock()), what=_LOCK)
        except LockHeldError:
            holder = _holder(os.pread(descriptor, 1 << 16, 0))
            raise LockHeldError(
                f"plans of {self._series} are being run already: {holder}",
                hint="Nothing was done. What is due then will be done at the next call.",
            ) from None

    def append(self, entry: Entry) -> None:
        """Write an entry down; it is on disk afterwards. Raises NoSpaceError or ConfigError, with nothing written."""
        data = line(entry)
        folder = self._state.instance_folder(self._series)
        with usable(self._state.root):
            is_new = not self.path.exists()
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, 0o600)
            try:
                before = os.fstat(descriptor).st_size
                if before and os.pread(descriptor, 1, before - 1) != b"\n":
                    data = b"\n" + data  # what was cut off stays apart
                _write_whole(descriptor, data, before)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(folder)

    def mend(self) -> tuple[str, ...]:
        """Set lines aside that nobody can read, and say so; a last one that was cut off by a crash is no news.

        Only for whoever holds the lock.
        """
        with usable(self._state.root):
            try:
                data = self.path.read_bytes()
            except FileNotFoundError:
                return ()
            whole, _, cut = data.rpartition(b"\n")
            good: list[bytes] = []
            bad: list[bytes] = []
            for each in whole.split(b"\n"):
                (good if not each or _readable(each) else bad).append(each)
            if not bad and not cut:
                return ()
            aside = self._folder / _DAMAGED
            with aside.open("ab") as file:
                file.write(b"".join(each + b"\n" for each in (*bad, *([cut] if cut else []))))
                file.flush()
                os.fsync(file.fileno())
            aside.chmod(0o600)
            write_durably(self.path, b"".join(each + b"\n" for each in good if each))
        if not bad:
            return ()
        lines = f"{len(bad)} line{'s' if len(bad) > 1 else ''}"
        return (f"{lines} of the run ledger could not be read, and {'are' if len(bad) > 1 else 'is'} kept in {aside}",)

    def shorten(self) -> None:
        """Begin a new file once this one is long, with what is still needed. Only for whoever holds the lock.

        Killed between two of its steps, the long one is still there, or is there twice.
        """
        with usable(self._state.root):
            if not self.path.exists() or self.path.stat().st_size < LONGEST_BYTES:
                return
            entries, _ = self._entries(self.path)
            for number in range(OLDER_KEPT - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            write_durably(self._numbered(1), self.path.read_bytes())
            write_durably(self.path, b"".join(line(each) for each in still_needed(entries, told_by(entries, None))))

    def _numbered(self, number: int) -> Path:
        return self._folder / f"runs.{number}.jsonl"

    def _entries(self, path: Path) -> tuple[list[Entry], int]:
        with usable(self._state.root):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return [], 0
        whole = data.rpartition(b"\n")[0]  # of what is cut off nothing had been done before all of it was on disk
        entries: list[Entry] = []
        damaged = 0
        for each in whole.split(b"\n"):
            try:
                entry = parse(each) if each else None
            except (ValueError, RecursionError):
                damaged += 1
                continue
            if entry:
                entries.append(entry)
        return entries, damaged


def _readable(text: bytes) -> bool:
    try:
        parse(text)
    except (ValueError, RecursionError):
        return False
    return True


def _write_whole(descriptor: int, data: bytes, before: int) -> None:
    """All of it, or nothing: half a line would be taken for damage."""
    written = 0
    try:
        while written < len(data):
            count = os.write(descriptor, data[written:])
            if not count:
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            written += count
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def _own_name() -> str:
    """Of this hold alone: what the same process began under an earlier one does not run any more."""
    return f"{os.getpid()}-{os.urandom(8).hex()}"


def _holder(said: bytes) -> Holder:
    """What stands in the lock; whoever holds it may not have come to writing that yet."""
    try:
        value = json.loads(said)
        return Holder(
            name=str(value["name"]),
            pid=int(value["pid"]),
            since=datetime.fromisoformat(value["since"]),
            plans=tuple(str(each) for each in value["plans"]),
        )
    except (ValueError, KeyError, TypeError):
        return Holder(name="", pid=0, since=None, plans=())
