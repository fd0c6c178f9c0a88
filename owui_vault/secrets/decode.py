"""What counts as a secret, and reading one from a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from owui_vault.errors import SecretError, for_root

_MAX_BYTES = 64 << 10


def read_file(path: Path) -> bytes:
    """The bytes of a regular file. Raises SecretError."""
    what = f"the secret file {path}"
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SecretError(
            f"{what} does not exist", hint="Create it, readable by nobody else, or fix the path."
        ) from None
    except OSError as error:
        refused = SecretError(
            f"{what} cannot be read: {error.strerror}",
            hint="Run as its owner, or give this user read access.",
        )
        raise (for_root(refused) if isinstance(error, PermissionError) else refused) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SecretError(
                f"{what} is not a regular file", hint="For a program's output, use {command: [PROGRAM, …]}."
            )
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise SecretError(f"{what} is larger than 64 KiB", hint="Name a file that holds nothing but the secret.")
    return content


def without_line_break(content: bytes, what: str) -> str:
    """The text without one line break at its end. Raises SecretError when it cannot be a secret."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{what} is not UTF-8 text", hint="Use a secret of printable characters.") from None
    return not_empty(text.removesuffix("\n").removesuffix("\r"), what)


def not_empty(text: str, what: str) -> str:
    """The text itself. Raises SecretError when it cannot be a secret."""
    if not text:
        raise SecretError(f"{what} is empty", hint="An empty passphrase protects nothing; put one there.")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise SecretError(f"{what} contains a NUL or is not UTF-8", hint="Use a secret of printable characters.")
    return text
