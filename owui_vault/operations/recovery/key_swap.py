"""Replaces the secret key's file along with the data; by copies, since it is outside the data."""

from __future__ import annotations

from pathlib import Path

from owui_vault.system.attributes import Attributes, give, read_extended
from owui_vault.system.work_folder import Folder, named_folder

KEY_NAME = "webui_secret_key"


def swap_key(file: str, work: Folder, new: str, aside: str) -> None:
    """Keep what `file` holds in the folder `aside` of ours, then put into it what the folder `new` holds.

    No file, no deed. Calling it again goes on where it was.
    """
    if not file:
        return
    kept = f"{aside}/{KEY_NAME}"
    if not work.has(kept):
        work.make_folder(aside)
        work.sync()
        work.write(kept, Path(file).read_bytes())
    _put(Path(file), work.read(f"{new}/{KEY_NAME}"))


def undo_key(file: str, work: Folder, new: str, aside: str) -> None:
    """Put back what `swap_key` kept, if the file still holds what was put there. Anything else stays kept."""
    kept, coming, path = f"{aside}/{KEY_NAME}", f"{new}/{KEY_NAME}", Path(file)
    if not file or not work.has_file(kept) or not path.is_file() or not work.has_file(coming):
        return
    now, before = path.read_bytes(), work.read(kept)
    if now == work.read(coming) != before:
        _put(path, before)
        now = before
    if now == before:
        work.remove(kept)
        work.sync(aside)


def _put(path: Path, key: bytes) -> None:
    """Replace the content in one step; owner and mode stay: the application has to read it."""
    real = path.resolve()
    with named_folder(real.parent) as folder:
        status = folder.stat(real.name)
        extended = read_extended(folder.place(real.name))
        wanted = Attributes(status.st_mode & 0o777, status.st_uid, status.st_gid, extended)
        folder.write(real.name, key, dress=lambda descriptor: give(descriptor, wanted))
