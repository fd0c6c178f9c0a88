"""Listing and restoring the contents of a snapshot with restic."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from owui_vault.engines.common.spool import Spool, spooling
from owui_vault.engines.common.unreadable import named
from owui_vault.engines.restic.errors import ENGINE, kind_of, message_of
from owui_vault.engines.restic.monitor import TargetMonitor
from owui_vault.engines.restic.output import RestoreReader, document_of, entry_of
from owui_vault.engines.restic.program import Restic, RunResult, Sinks
from owui_vault.engines.restic.raw_names import UNDECODABLE, ExactNames, is_plain
from owui_vault.engines.restic.tree_check import TreeCheck, check_tree, is_trusted, trust_tree
from owui_vault.errors import (
    EngineError,
    NoSpaceError,
    RepositoryDamagedError,
    RepositoryFullError,
    RepositoryUnreachableError,
    SnapshotMissingError,
)
from owui_vault.model import Entry, Progress, Step

_MOST_COMPLAINTS = 500
_MOST_LINES_OF_A_NAME = 255
_OWNER = re.compile(r"\blchown .*: (?:operation not permitted|invalid argument)$", re.IGNORECASE | re.DOTALL)
_IGNORED = "ignoring error for "  # restic < 0.17, which then goes on
_BEGINS = re.compile(rf"{_IGNORED}|Fatal: |\s*$")
_SUM_OF_ERRORS = re.compile(r"^(?:Fatal: )?There were \d+ errors")
_FULL_ID = re.compile(r"[0-9a-f]{64}")
_PATTERN_SIGNS = re.compile(r"([\\*?\[])")
_OF_A_FILE = re.compile(rf"{_IGNORED}(?P<path>/.*?): ")
_LONGEST_COMMAND = 500_000  # bytes of patterns in one command; the kernel takes two million
_SPEAKS_WHILE_RESTORING = (0, 17)
_LEAVES_HOLES = (0, 15)  # and older ones do not know the option


def _check_id(restic: Restic, engine_id: str) -> None:
    """Restic would take a prefix or `latest`, too."""
    if not _FULL_ID.fullmatch(engine_id):
        raise SnapshotMissingError(
            f"there is no snapshot {engine_id!r} in {restic.shown}",
            engine=ENGINE,
            hint="List what it holds with `snapshots`.",
        )


def contents(restic: Restic, engine_id: str) -> Iterator[Entry]:
    """All paths of one snapshot. They are looked at on the way, so that a fetch of it need not list them once more."""
    _check_id(restic, engine_id)
    with spooling(restic.call.folder) as spool:
        listing = _Listing(spool, None if is_trusted(restic, engine_id) else TreeCheck())
        result = restic.run("ls", "--json", "--no-lock", engine_id, sinks=Sinks(stdout=listing.stdout))
        # restic < 0.16 ends with status 0 when it ignores what it was asked for
        if result.status != 0 or any(line.startswith("Ignoring") for line in result.stderr):
            raise restic.error(result.status or None, result.stderr, result.argv)
        listing.complete(restic)
        if listing.check:
            trust_tree(restic, engine_id, listing.check.odd_times)
    return spool.hand_out(lambda row: Entry(path=str(row[0]), kind=str(row[1]), size_bytes=int(str(row[2]))))


class _Listing:
    """The lines of `restic ls --json`, those with names that are not UTF-8 replaced by what the trees say."""

    def __init__(self, spool: Spool, check: TreeCheck | None) -> None:
        self._spool = spool
        self.check = check  # None, too, once there is something that may be listed, and not be restored
        self._root = ""
        self._again: set[str] = set()  # directories to be listed from their trees

    def stdout(self, line: str) -> None:
        try:
            if self.check:
                self.check.stdout(line)
        except RepositoryDamagedError:
            self.check = None
        document = document_of(line) or {}
        self._root = self._root or str(document.get("tree", ""))
        entry = entry_of(document)
        if entry is not None:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        if UNDECODABLE in entry.path:
            plain = entry.path.partition(UNDECODABLE)[0]
            self._again.add(plain.rpartition("/")[0])
        else:
            self._write(entry)

    def complete(self, restic: Restic) -> None:
        names = ExactNames(restic, self._root)
        for folder in sorted(self._again):
            for entry in names.below(folder):
                if not is_plain(entry.path):
                    self._write(entry)

    def _write(self, entry: Entry) -> None:
        self._spool.write(entry.path, entry.kind, entry.size_bytes)


def fetch(restic: Restic, engine_id: str, target: Path, paths: Sequence[str]) -> None:
    """Restore all of a snapshot, or only these paths, into `target`."""
    _check_id(restic, engine_id)
    version = restic.version_numbers()
    tells = version >= _SPEAKS_WHILE_RESTORING
    options = ["--sparse"] if version >= _LEAVES_HOLES else []
    odd_times = check_tree(restic, engine_id, target)
    for patterns in _commands(paths):
        complaints = Complaints()
        result = _restore(
            restic, engine_id, target, [*options, *_includes(patterns)], complaints=complaints, tells=tells
        )
        if result.status != 0 and not complaints.only_owners:
            raise _restore_error(restic, result, complaints, target)
    if lost := [path for path, time_ns in odd_times if not _given_time(target / path, time_ns)]:
        restic.call.warn(f"the time of change could not be restored: {named(lost)}")


class Complaints:
    """What a restore complained about. An owner that cannot be given keeps nothing else from coming back.

    restic says that for each entry where root lacks the right or the number means nothing (a container, a share), goes
    on to all the rest, and ends with status 1.
    """

    def __init__(self) -> None:
        self.owners = 0
        self.others: deque[str] = deque(maxlen=_MOST_COMPLAINTS)
        self._begun = (
            ""  # a complaint that goes on in the next line: restic 0.14 writes names with line breaks as they are
        )

    @property
    def only_owners(self) -> bool:
        """Whether everything came back but for owners."""
        return self.owners > 0 and not self.others and not self._begun

    def take(self, line: str) -> None:
        """A line of stderr."""
        text = message_of(line)
        if self._begun and _BEGINS.match(text):
            self.others.append(self._begun)  # it was whole
        elif self._begun:
            text = f"{self._begun}\n{text}"
        self._begun = ""
        if _OWNER.search(text):
            self.owners += 1
        elif text.startswith(_IGNORED) and text.count("\n") < _MOST_LINES_OF_A_NAME:
            self._begun = text
        elif text.strip() and not _SUM_OF_ERRORS.search(text):
            self.others.append(text)


def _given_time(path: Path, time_ns: int) -> bool:
    """Give a time that restic cannot; returns whether it is there now. What was not asked for is not there."""
    try:
        os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)
        return path.lstat().st_mtime_ns == time_ns
    except FileNotFoundError:
        return not path.parent.is_dir() or "\ufffd" not in path.name
    except (OSError, OverflowError):
        return False


def _includes(patterns: Sequence[str]) -> Iterator[str]:
    for pattern in patterns:
        yield from ("--include", pattern)


def _restore(  # noqa: PLR0913  # what one command needs
    restic: Restic,
    engine_id: str,
    target: Path,
    options: Sequence[str],
    *,
    complaints: Complaints,
    tells: bool,
) -> RunResult:
    """Takes no lock: neither a stale one nor a read-only disk must stand between somebody and his data."""
    arguments = ("restore", "--no-lock", "--target", str(target), *options, engine_id)
    if tells:
        reader = RestoreReader(restic.call)
        return restic.run(
            "--json", *arguments, sinks=Sinks(stdout=reader.stdout, stderr=complaints.take), monitor=reader.monitor
        )
    restic.call.progress(Progress(step=Step.FETCH))
    monitor = TargetMonitor(target, restic.call)
    result = restic.run(*arguments, sinks=Sinks(stderr=complaints.take), monitor=monitor)
    monitor.look()
    return result


def _restore_error(restic: Restic, result: RunResult, complaints: Complaints, target: Path) -> Exception:
    """Owners left out: "operation not permitted" of the target would be taken for the repository's."""
    lines = tuple(complaints.others) or result.stderr
    error = restic.error(result.status, lines, result.argv)
    if not isinstance(error, EngineError):
        return error
    kind = kind_of(result.status, "\n".join(lines))
    if kind is RepositoryFullError:
        return NoSpaceError(f"no space left at {target}", hint="Free some space there, or choose another target.")
    if kind is RepositoryUnreachableError and (ours := [line for line in lines if str(target) in line]):
        return EngineError(
            f"not everything could be written to {target}: {restic.clean(message_of(ours[0]))[:300]}",
            engine=ENGINE,
            argv=error.argv,
            status=result.status,
            stderr_tail=error.stderr_tail,
            hint="Restore to a place where this user can write, or run as another user.",
        )
    if isinstance(error, RepositoryDamagedError):
        error.paths = tuple(path for line in result.stderr if (path := _passed_over(line)))
    return error


def _passed_over(line: str) -> str:
    """The file that a complaint of `restore` is about; restic goes on with the next one."""
    item = (document_of(line) or {}).get("item")
    match = _OF_A_FILE.match(line)
    return str(item or (match["path"] if match else "")).strip("/")


def _commands(paths: Sequence[str]) -> Iterator[list[str]]:
    """The patterns of one restore after the other; one without any for the whole snapshot."""
    if not paths:
        yield []
        return
    patterns: list[str] = []
    length = 0
    for pattern in dict.fromkeys(map(_pattern, paths)):
        patterns.append(pattern)
        length += len(pattern.encode(errors="surrogateescape")) + 64
        if length > _LONGEST_COMMAND:
            yield patterns
            patterns, length = [], 0
    if patterns:
        yield patterns


def _pattern(path: str) -> str:
    """A path as restic's pattern that fits nothing but this path and what is below it."""
    return "/" + _PATTERN_SIGNS.sub(r"\\\1", path.strip("/"))
