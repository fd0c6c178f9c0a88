"""What borg remembers of a repository on this machine, and where.

Two things, in a folder named after the repository's id: when its manifest was last written (an older one is refused: it
was put back, or is an attack), and the value of its encryption counter, below which nothing may ever be encrypted again
with its key. A copy of a repository has the same id and the same key. So writers use *one* memory for all names and
locations: whichever copy is behind is refused by borg itself, and the counter never goes back. Readers have a memory
for each location: a copy that is behind may be restored from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from owui_vault.system.durable_files import private_directory, write_durably
from owui_vault.system.lock import file_lock

_COUNTER, _WRITTEN = "nonce", "manifest-timestamp"
_ID = re.compile(r"[0-9a-f]{64}")
_COUNT = re.compile(r"[0-9a-f]{16}")


def writers_memory(own: Path, shared: Path) -> Path:
    """The folder for what writes, once what is known in `own` alone (of an earlier version) was taken over."""
    common = private_directory(shared / "borg-security")
    for memory in _memories(own):
        if (memory / _COUNTER).exists():
            with file_lock(common / memory.name):
                _take_over(memory, common / memory.name)
    return common


def hear_of_writing(own: Path, common: Path) -> None:
    """What was written at this very location, just now, must be there for whoever reads at it as well."""
    for memory in _memories(own):
        written = _text(common / memory.name / _WRITTEN)
        if written > _text(memory / _WRITTEN):
            write_durably(memory / _WRITTEN, written.encode())


def _take_over(memory: Path, common: Path) -> None:
    """Whatever has come further counts. The counter goes last: only once it is gone is all taken over."""
    counter = _text(memory / _COUNTER)
    private_directory(common)
    for name in ("location", "key-type"):
        if (memory / name).exists() and not (common / name).exists():
            write_durably(common / name, (memory / name).read_bytes())
    if _text(memory / _WRITTEN) > _text(common / _WRITTEN):
        write_durably(common / _WRITTEN, _text(memory / _WRITTEN).encode())
    if _COUNT.fullmatch(counter) and counter > _text(common / _COUNTER):
        write_durably(common / _COUNTER, counter.encode())
    (memory / _COUNTER).unlink()


def forget_what_was_written(own: Path, common: Path) -> None:
    """Have borg accept the repositories known in `own` as they are. Their counters stay."""
    for memory in _memories(own):
        for folder in (memory, common / memory.name):
            (folder / _WRITTEN).unlink(missing_ok=True)


def _memories(own: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from (each for each in own.iterdir() if _ID.fullmatch(each.name) and each.is_dir())


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
