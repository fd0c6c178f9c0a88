"""Checking a borg repository, and making it smaller."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from owui_vault.engines.borg.archives import archives, entries, leftovers, read_listing
from owui_vault.engines.borg.errors import ENGINE
from owui_vault.engines.borg.output import Archive, Message
from owui_vault.engines.borg.program import Borg, Request, archive_argument
from owui_vault.errors import RepositoryAppendOnlyError, RepositoryDamagedError
from owui_vault.model import Entry, Progress, Step

_MOST_PROBLEMS = 50
_MOST_SAMPLED = 5  # archives of one partial verification
_LONGEST_ARGUMENTS = 100_000
_MOST_NAMES = 50  # in one command line: each is a transaction of its own
_FREED = re.compile(r"compaction freed about (?P<number>[-+]?\d+(?:\.\d+)?) (?P<unit>[kMGTPEZY]?)B\b")
_UNITS = {unit: 1000**power for power, unit in enumerate(("", "k", "M", "G", "T", "P", "E", "Z", "Y"))}
_NOT_TELLING = re.compile(
    r"Killed stale lock|Removed stale|never matched|^Finished full repository check|^Index object count mismatch"
    r"|^(?:committed|rebuilt) index: \d+ objects|^ID: [0-9a-f]+ +(?:rebuilt|committed) index"
)
_DAMAGED = (
    "the repository is damaged: data on its storage changed or are missing. Check its disk and keep your other"
    " repositories; `borg check --repair` saves what can be saved, on a copy and before any snapshot is removed"
)


def verify(borg: Borg, read_data: float) -> tuple[str, ...]:
    """Check structure and checksums; with 1 also decrypt every byte, with a share something like that share.

    `borg check` reads the whole repository in any case and finds flipped bytes by their checksums. What it does not do
    without `--verify-data` is to decrypt: a share means that random files of random archives, together about that share
    of an archive's bytes, are read as a restore would read them.
    """
    problems = _checked(borg, *(("--verify-data",) if read_data >= 1 else ())) or _older(borg)
    if not problems and 0 < read_data < 1:
        problems = _sampled(borg, read_data)
    return problems


def _checked(borg: Borg, *options: str) -> tuple[str, ...]:
    try:
        done = borg.run(Request(arguments=("check", "--progress", *options), long=True, on_message=_listener(borg)))
    except RepositoryDamagedError as error:
        return (_DAMAGED, _said(error))
    if done.status == 0:  # warnings then are about an index that was created again and the like
        return ()
    return (_DAMAGED, *_problems(borg, done.complaints))


def _older(borg: Borg) -> tuple[str, ...]:
    """What only somebody who was here before can tell: without its last commit a repository is whole, and older."""
    try:
        read_listing(borg, "--last", "1")
    except RepositoryDamagedError as error:
        return (error.message, error.hint)
    return ()


def _listener(borg: Borg) -> Callable[[Message], None]:
    """Borg counts segments and objects here, not bytes: nothing to add up, but a sign of life."""

    def take(message: Message) -> None:
        if message.type == "progress_percent":
            borg.call.progress(Progress(step=Step.VERIFY, text=borg.clean(message.text.strip())))

    return take


def _problems(borg: Borg, complaints: Sequence[Message]) -> tuple[str, ...]:
    """Borg's own words, without its statistics."""
    texts = (each.text for each in complaints if each.text and not each.is_of_the_host)
    found = [f"borg says: {_one_line(borg.clean(text))}" for text in texts if not _NOT_TELLING.search(_one_line(text))]
    if len(found) > _MOST_PROBLEMS:
        found[_MOST_PROBLEMS:] = [f"and {len(found) - _MOST_PROBLEMS} more"]
    return tuple(found)


def _said(error: RepositoryDamagedError) -> str:
    lines = error.stderr_tail.strip().splitlines()  # of a traceback, the last one says what happened
    return _one_line(f"borg says: {lines[-1]}" if lines else error.message)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _sampled(borg: Borg, share: float) -> tuple[str, ...]:
    """Read about `share` of an archive's bytes, spread over some archives, the newest among them."""
    known = archives(borg)
    if not known:
        return ()
    source = random.SystemRandom()
    chosen = [known[-1], *source.sample(known[:-1], min(len(known) - 1, _MOST_SAMPLED - 1))]
    for archive in chosen:
        problems = _read(borg, archive, share / len(chosen), source)
        if problems:
            return problems
    return ()


def _read(borg: Borg, archive: Archive, share: float, source: random.Random) -> tuple[str, ...]:
    files = [each for each in entries(borg, archive) if each.kind == "file" and each.size_bytes]
    paths = _sample(files, share, source)
    if not paths:
        return ()
    arguments = ("extract", "--dry-run", archive_argument(archive.name), *(f"pp:{path}" for path in paths))
    try:
        done = borg.run(Request(arguments=(*arguments[:2], "--progress", *arguments[2:]), long=True, reads=True,
                                on_message=_listener(borg)))  # fmt: skip
    except RepositoryDamagedError as error:
        return (_DAMAGED, f"{archive.name}: {_said(error)}")
    problems = _problems(borg, done.complaints) if done.status != 0 else ()
    if not problems:  # a name that is not UTF-8 cannot be asked for by what the listing calls it: "never matched"
        return ()
    return (_DAMAGED, *(f"{archive.name}: {problem}" for problem in problems))


def _sample(files: list[Entry], share: float, source: random.Random) -> list[str]:
    """Random files until the share of all bytes is reached, or the command line is full."""
    wanted = share * sum(each.size_bytes for each in files)
    source.shuffle(files)
    paths: list[str] = []
    size = length = 0
    for each in files:
        if paths and (size >= wanted or length > _LONGEST_ARGUMENTS):
            break
        paths.append(each.path)
        size += each.size_bytes
        length += len(each.path) + 4
    return paths


def compact(borg: Borg, local: Path | None) -> int:
    """Free what no archive uses, left-overs of dead runs included. Raises RepositoryAppendOnlyError."""
    remove_archives(borg, leftovers(borg))
    before = _size(local)
    said: list[str] = []
    borg.run(Request(arguments=("compact", "--progress", "--verbose"), long=True, on_message=_compacting(borg, said)))
    said_freed = _freed(said)
    if said_freed is None:  # the only kind of repository on which it ends with 0 and has nothing to tell
        raise RepositoryAppendOnlyError(
            f"{borg.shown_location} is append-only: removed snapshots still take up space on its disk",
            engine=ENGINE,
            hint="Compact it where deleting is allowed: on its host, with a key that is not limited to append-only.",
        )
    return max(0, before - _size(local)) if local else max(0, said_freed)


def remove_archives(borg: Borg, names: Sequence[str]) -> None:
    """Delete exactly these. Without a name borg would delete the whole repository, hence no call without one."""
    # Only the first name of a command goes through borg's replacing of braces.
    plain = [name for name in names if not {"{", "}"} & set(name)]
    portions = [plain[start : start + _MOST_NAMES] for start in range(0, len(plain), _MOST_NAMES)]
    portions += [[name] for name in names if name not in plain]
    for first, *rest in portions:
        arguments = ("delete", "--progress", "--list", "--", archive_argument(first), *rest)  # a name may begin with -
        borg.run(Request(arguments=arguments, long=True))


def _compacting(borg: Borg, said: list[str]) -> Callable[[Message], None]:
    def take(message: Message) -> None:
        if message.type == "log_message":
            said.append(message.text)
        elif message.type == "progress_percent":
            borg.call.progress(Progress(step=Step.COMPACT, text=borg.clean(message.text.strip())))

    return take


def _freed(said: Sequence[str]) -> int | None:
    match = next((match for text in said if (match := _FREED.search(text))), None)
    return round(float(match["number"]) * _UNITS[match["unit"]]) if match else None


def _size(local: Path | None) -> int:
    if local is None:
        return 0
    return sum(path.lstat().st_size for path in local.rglob("*") if path.is_file())
