"""Restores what is left of a snapshot whose repository is damaged; the rest from another, else named as lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from owui_vault.components.uploads import names
from owui_vault.errors import EngineError, RepositoryDamagedError, RepositoryUnreachableError, VaultError
from owui_vault.model import Entry, Step
from owui_vault.repositories.lookup import LocatedSnapshot
from owui_vault.system.patterns import is_chosen

_log = logging.getLogger(__name__)
_MOST_BELIEVED = 100  # of what an engine says at length only the end is kept
_MOST_TRIED = 20  # borg ends at each file that is damaged


def fetch_from_any(
    found: LocatedSnapshot, target: Path, *, paths: Sequence[str] = (), keep: bool = True
) -> tuple[str, ...]:
    """Fetch a snapshot, or these paths of it; returns a warning that says what came from another repository, and why.

    What its repository gives back damaged comes from the next one that holds the same snapshot; all of it where the
    repository falls silent, or cannot say what is damaged. Raises the first repository's error if no other one helps.
    """
    try:
        fetch_or_name(found, target, paths=paths, keep=keep)
    except (RepositoryDamagedError, RepositoryUnreachableError) as error:
        lost = _lost(error)
        for other in found.elsewhere():
            other.client.progress(Step.FETCH, f"{len(lost):,} files" if lost else "")
            try:
                fetch_or_name(other, target, paths=lost or paths, keep=keep)
            except (RepositoryDamagedError, RepositoryUnreachableError) as again:
                _log.warning("%s does not have it either: %s", other.repository, again.message)
                lost = _lost(again) or lost
                continue
            what = names(lost) if lost else "everything"
            return (f"{what} came from {other.repository!r}, since {found.repository!r} failed: {error.message}",)
        raise
    return ()


def _lost(error: VaultError) -> tuple[str, ...]:
    """What is damaged; nothing where the engine cannot be trusted to have named all of it."""
    return error.paths if isinstance(error, RepositoryDamagedError) and len(error.paths) < _MOST_BELIEVED else ()


def fetch_or_name(found: LocatedSnapshot, target: Path, *, paths: Sequence[str] = (), keep: bool = True) -> None:
    """Fetch a snapshot, or these paths of it. Raises RepositoryDamagedError with the names of all that is damaged.

    With `keep` all else is there then, and the error says so.
    """
    try:
        found.fetch(target, paths)
    except RepositoryDamagedError as error:
        raise _fetch_the_rest(found, target, paths=paths, keep=keep, error=error) from error


def _fetch_the_rest(
    found: LocatedSnapshot, target: Path, *, paths: Sequence[str], keep: bool, error: RepositoryDamagedError
) -> RepositoryDamagedError:
    """After a fetch that ended with `error`; returns the error to raise.

    restic goes on after a file that is damaged, and names it; borg ends there, with a file that is too short.
    """
    try:
        listed = [each for each in found.contents() if is_chosen(each.path, paths)]
    except EngineError:
        return error
    wanted = {each.path: each.size_bytes for each in listed if each.kind == "file" and not _is_veiled(target, each)}
    damaged = set(error.paths)
    for _ in range(_MOST_TRIED):
        absent = [path for path in wanted if path not in damaged and _size(target / path) != wanted[path]]
        begun = {path for path in absent if _size(target / path) is not None}
        damaged |= begun
        rest = [path for path in absent if path not in begun]
        if not rest:
            break
        known = len(damaged)
        try:
            found.fetch(target, rest)
        except RepositoryDamagedError as again:
            damaged.update(again.paths)
            if len(damaged) == known and all(_size(target / path) is None for path in rest):
                break  # it does not get any further
    left = [path for path in wanted if path in damaged or _size(target / path) != wanted[path]]
    return _told(error, left, wanted, keep=keep)


def _is_veiled(target: Path, entry: Entry) -> bool:
    """Borg lists a `?` for a byte that is no text: what has one may be there under its own name."""
    return "?" in entry.path and _size(target / entry.path) is None


def _told(
    error: RepositoryDamagedError, left: Sequence[str], wanted: Collection[str], *, keep: bool
) -> RepositoryDamagedError:
    if not left:  # something else is damaged than the content of files
        return error
    what = f"{len(left):,} of {len(wanted):,} files could not be read and are not as stored: {names(left)}"
    is_all = len(left) < _MOST_BELIEVED
    named = RepositoryDamagedError(
        f"{what}.{' All other files came back' if keep else ' Nothing was changed'} ({error.message})"
        if is_all
        else f"at least {what} ({error.message})",
        engine=error.engine,
        argv=error.argv,
        status=error.status,
        stderr_tail=error.stderr_tail,
        hint="Restore another snapshot, or restore what is named here from another snapshot or repository.",
    )
    named.paths = tuple(left)
    return named


def _size(path: Path) -> int | None:
    try:
        return os.lstat(path).st_size
    except OSError:
        return None
