"""Exchanging parts of a data directory by renames, forwards and back again, from whatever point a crash left it at.

Where a part is tells how far the exchange has come, so nothing has to be noted between the steps:

    before        data/part (old)                     new/part
    set aside                       aside/part (old)  new/part
    exchanged     data/part (new)   aside/part (old)

Also a program of its own, so that the guardian can go back before it starts the instance again:
`python -m owui_vault.vault.swap FILE [COMMAND…]` undoes the exchange that FILE describes unless it was complete, then
runs COMMAND.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from owui_vault.system.files import sync_directory, write_durably


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Which parts of `data_dir` are exchanged. All three folders lie on one file system.

    `parts` are names relative to `data_dir`; none lies below another. `old` are those that are there now.
    """

    data_dir: Path
    new: Path
    aside: Path
    parts: tuple[str, ...]
    old: frozenset[str]
    back: bool = False  # on the way back, although it was complete once


def exchange(swap: Swap) -> None:
    """Set each old part aside and put the new one in its place. Calling it again goes on where it was."""
    for part in swap.parts:
        here, aside, new = swap.data_dir / part, swap.aside / part, swap.new / part
        if part in swap.old and not os.path.lexists(aside):
            _move(here, aside)
        if os.path.lexists(new):
            _move(new, here)


def is_complete(swap: Swap) -> bool:
    """Whether nothing is left to be done: then the data directory is as the snapshot was."""
    if swap.back:
        return False
    waiting = any(os.path.lexists(swap.new / part) for part in swap.parts)
    return not waiting and all(os.path.lexists(swap.aside / part) for part in swap.old)


def undo(swap: Swap) -> None:
    """Put everything back as it was, in reverse. Calling it again goes on where it was.

    What stands in a part's place and is not the old one goes back to `new`, side files of SQLite that appeared
    meanwhile included.
    """
    for part in reversed(swap.parts):
        here, aside, new = swap.data_dir / part, swap.aside / part, swap.new / part
        if os.path.lexists(here) and (part not in swap.old or os.path.lexists(aside)):
            _move(here, _unused(new))
        if part in swap.old and os.path.lexists(aside):
            _move(aside, here)


def _unused(path: Path) -> Path:
    """The path, or one beside it: nothing is ever overwritten."""
    number = 0
    candidate = path
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate


def _move(source: Path, target: Path) -> None:
    _make_folder(target.parent, like=source.parent)
    source.rename(target)
    sync_directory(target.parent)
    sync_directory(source.parent)


def _make_folder(path: Path, *, like: Path) -> None:
    """A folder that a part needs around it, with the owner and mode it had where the part comes from."""
    if path.is_dir():
        return
    _make_folder(path.parent, like=like.parent)
    status = like.stat()
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, status.st_uid, status.st_gid)
    path.chmod(status.st_mode & 0o7777)
    sync_directory(path.parent)


def write_down(swap: Swap, path: Path) -> None:
    """Make the exchange known to a later process, durably."""
    text = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(swap).items()}
    write_durably(path, json.dumps(text, default=str, indent=1).encode())


def read_back(path: Path) -> Swap:
    """What `write_down` wrote."""
    known = json.loads(path.read_bytes())
    return Swap(
        data_dir=Path(known["data_dir"]),
        new=Path(known["new"]),
        aside=Path(known["aside"]),
        parts=tuple(known["parts"]),
        old=frozenset(known["old"]),
        back=bool(known.get("back", False)),
    )


def lead_back(path: Path) -> None:
    """Undo the exchange that was written down there, unless it was complete. None was: nothing to do."""
    if path.exists():
        swap = read_back(path)
        if not is_complete(swap):
            undo(swap)


def main(argv: Sequence[str]) -> None:
    """Undo what is half done, then become COMMAND."""
    lead_back(Path(argv[0]))
    if argv[1:]:
        os.execv(argv[1], list(argv[1:]))  # noqa: S606  the guardian's own command, without a shell


if __name__ == "__main__":
    main(sys.argv[1:])
