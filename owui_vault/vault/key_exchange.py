"""The file of the secret key, exchanged along with the data; by copies, since it lies outside of them."""

from __future__ import annotations

import os
from pathlib import Path

from owui_vault.system.attributes import Attributes, give, read_extended
from owui_vault.system.files import private_directory, sync_directory, write_durably

KEY_NAME = "webui_secret_key"


def exchange_key(file: str, new: Path, aside: Path) -> None:
    """Keep what `file` holds in the folder `aside`, then put into it what the folder `new` holds; no file, no deed.

    Calling it again goes on where it was.
    """
    if not file:
        return
    kept = aside / KEY_NAME
    if not kept.exists():
        private_directory(aside)
        sync_directory(aside.parent)
        write_durably(kept, Path(file).read_bytes())
    _put(Path(file), (new / KEY_NAME).read_bytes())


def undo_key(file: str, new: Path, aside: Path) -> None:
    """Put back what `exchange_key` kept, if the file still holds what was put there. Anything else stays kept."""
    kept, coming, path = aside / KEY_NAME, new / KEY_NAME, Path(file)
    if not file or not kept.exists() or not path.is_file() or not coming.exists():
        return
    now, before = path.read_bytes(), kept.read_bytes()
    if now == coming.read_bytes() != before:
        _put(path, before)
        now = before
    if now == before:
        kept.unlink()
        sync_directory(aside)


def _put(path: Path, key: bytes) -> None:
    """Replace the content in one step; owner and mode stay: the application has to read it."""
    real = path.resolve()
    status = real.stat()
    beside = real.with_name(f".{real.name}.owui-vault")
    beside.unlink(missing_ok=True)
    write_durably(beside, key)
    descriptor = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        extended = read_extended(os.fspath(real))
        give(descriptor, Attributes(status.st_mode & 0o777, status.st_uid, status.st_gid, extended))
    finally:
        os.close(descriptor)
    beside.rename(real)
    sync_directory(real.parent)
