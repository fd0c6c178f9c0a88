"""The directory a snapshot is restored into: checked before anything is fetched, and marked until it is complete."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from owui_vault.components.names import WORK_DIR, not_the_data
from owui_vault.context.context import OperationContext
from owui_vault.errors import ContentMismatchError, TargetError, VaultError
from owui_vault.instance.layout import doomed_folder
from owui_vault.repositories.overlap import live_folders, place_of
from owui_vault.system.mounts import is_within
from owui_vault.system.removal import remove_tree
from owui_vault.system.unwinding import on_failure, undoing

MARKER = "RESTORE-INCOMPLETE"
_FAILED = "The restore into this directory did not succeed"
_NEW_OR_EMPTY = "Give a directory that is new or empty: nothing is ever overwritten."


def usable_target(context: OperationContext, wanted: Path) -> Path:
    """The directory as an absolute path without `..`, once it is known to take a restore.

    Nothing is left behind. Raises TargetError.
    """
    target = wanted.absolute()
    try:
        if ".." in target.parts:
            target = target.resolve()
        _require_elsewhere(context, target)
        _require_new_or_empty(target)
        _require_writable(target)
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a NUL in it, links in a circle
        reason = getattr(error, "strerror", None) or error
        raise TargetError(
            f"{target} cannot be written to: {reason}", hint="Give a directory in which this user can create files."
        ) from error
    return target


def _require_elsewhere(context: OperationContext, target: Path) -> None:
    for folder in live_folders(context):
        if is_within(target, folder):
            raise TargetError(
                f"{target} is inside the data directory of the instance",
                hint="Choose a directory elsewhere; a restore into a directory never writes to the live data.",
            )
    doomed = doomed_folder(target.resolve())
    if doomed:
        raise TargetError(
            f"{target} is in {doomed}, which Open WebUI deletes at its next start",
            hint="A pip install moves what is there into its package. Choose a directory elsewhere, and start it with"
            " DATA_DIR set to the restored data.",
        )
    for repository in context.repositories:
        place = place_of(repository)
        if place and is_within(target, place):
            raise TargetError(
                f"{target} is inside the repository {repository.name!r}",
                hint="Choose a directory elsewhere; a repository's files belong to its engine alone.",
            )


def _require_new_or_empty(target: Path) -> None:
    if target.is_symlink() or (os.path.lexists(target) and not target.is_dir()):
        raise TargetError(f"{target} is not a directory", hint="Give a directory that is new or empty.")
    if target.exists() and not _is_empty(target):
        raise _not_empty(target)


def _not_empty(target: Path) -> TargetError:
    marker, remove = target / MARKER, f"`rm -r {shlex.quote(str(target))}`"
    if _said(marker).startswith(_FAILED):
        what = f"{target} holds what a restore left that did not succeed: {MARKER} in it says why"
        return TargetError(what, hint=f"Remove it, {remove}, or give another directory.")
    if os.path.lexists(marker):
        what = f"another restore into {target} is running, or was killed"
        return TargetError(what, hint=f"Give another directory; only where none is running remove it, {remove}.")
    return TargetError(f"{target} is not empty", hint=_NEW_OR_EMPTY)


def _is_empty(target: Path) -> bool:
    """A new disk of its own holds an empty `lost+found`, which only root may look into."""
    names = set(os.listdir(target))
    own = (names & not_the_data(target)) - {WORK_DIR}
    for name in own:
        with suppress(PermissionError):
            if os.listdir(target / name):
                return False
    return names == own


def _require_writable(target: Path) -> None:
    """Make what a restore would make, and take it away again: rights, read-only disks and names all show at once."""
    made: list[Path] = []
    try:
        for folder in reversed((target, *target.parents)):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                made.append(folder)
        descriptor, name = tempfile.mkstemp(prefix=".owui-vault-", dir=target)
        os.close(descriptor)
        Path(name).unlink()
    finally:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def claimed(target: Path) -> Iterator[None]:
    """A target that is ours, and says of itself that it is not whole until the block has ended well.

    Raises TargetError when somebody else was faster, and ContentMismatchError when the snapshot put something of its
    own in the marker's place. No link is followed, whatever the snapshot holds.
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker = target / MARKER
    ours = _claim(target, marker)

    def explain(error: BaseException) -> None:
        reason = error.message if isinstance(error, VaultError) else (str(error) or type(error).__name__)
        _write(marker, f"{_FAILED}: {reason}\nDo not start Open WebUI on it.\n")

    with on_failure(explain):
        yield
        if _identity(marker) != ours:
            raise ContentMismatchError(
                f"the snapshot holds a {MARKER}, which owui_vault never stores",
                hint="It was not written by owui_vault, or was tampered with. Restore another snapshot.",
            )
    marker.unlink()


def _claim(target: Path, marker: Path) -> tuple[int, int] | None:
    if not _is_empty(target):
        raise _not_empty(target)
    try:
        descriptor = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise TargetError(f"another restore into {target} is running", hint="Give each its own directory.") from None
    with os.fdopen(descriptor, "w") as file:
        file.write("A restore into this directory is running, or was killed. Do not start Open WebUI on it.\n")
    return _identity(marker)


def _said(marker: Path) -> str:
    with suppress(OSError), open(os.open(marker, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
        return file.read(len(_FAILED))
    return ""


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is; None when it is no plain file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _write(marker: Path, text: str) -> None:
    """Put the reason in the marker's place, by renaming: a link that is there is replaced and not followed.

    Where that is impossible (a full disk, say), what the marker said before stays, and the error that is told is the
    one that ended the restore.
    """
    with suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix=".owui-vault-", dir=marker.parent)
        with undoing(lambda: Path(name).unlink(missing_ok=True)):
            with os.fdopen(descriptor, "w", errors="backslashreplace") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            if marker.is_dir() and not marker.is_symlink():
                remove_tree(marker)  # of the snapshot's, and in its way
            Path(name).rename(marker)
