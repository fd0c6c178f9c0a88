"""Exit codes of results. Errors carry their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from owui_vault.errors import VaultError

if TYPE_CHECKING:  # `--help` does without it
    from owui_vault.model import UnansweredRepository

SIGNALLED = 128  # plus the number of the signal, as a shell says it
DONE, FAILED, INCOMPLETE, NOT_AS_FOUND, WRONG, NO_VERDICT = 0, 1, 3, 4, 5, 6
MEANINGS = (
    ("0", "done"),
    ("1", "failed; also: one of several repositories failed or did not answer"),
    ("2", "could not start: configuration, usage or a missing program"),
    ("3", "stored, but INCOMPLETE"),
    ("4", "the instance is not as it was found"),
    ("5", "checked, and found something wrong"),
    ("6", "could not look at all of it: no verdict"),
    ("10", "repository missing"),
    ("11", "locked"),
    ("12", "wrong passphrase"),
    ("130, 143", "stopped by SIGINT or SIGTERM, cleaned up"),
)
_WORST_FIRST = (NOT_AS_FOUND, FAILED, WRONG, NO_VERDICT, INCOMPLETE)


def worst(codes: Iterable[int]) -> int:
    """The most significant code, if several apply. An error's own stays what it is if it is the only one."""
    found = set(codes) - {DONE}
    if len(found) == 1:
        return found.pop()
    known = {code if code in _WORST_FIRST else FAILED for code in found}
    return next((code for code in _WORST_FIRST if code in known), DONE)


def of_several(errors: Iterable[VaultError | None]) -> int:
    """One of several repositories failed: 1, or 4 where the instance is not as it was found."""
    return worst(_of_one(error) for error in errors)


def of_unanswered(silent: Iterable[UnansweredRepository]) -> int:
    """Repositories that did not answer while others did: 1, unless they may be away."""
    return FAILED if any(not each.excused for each in silent) else DONE


def of_one_or_several(errors: Sequence[VaultError | None]) -> int:
    """What the only repository failed with, or as for several."""
    if len(errors) == 1 and errors[0]:
        return errors[0].exit_code
    return of_several(errors)


def _of_one(error: VaultError | None) -> int:
    if error is None:
        return DONE
    return NOT_AS_FOUND if error.exit_code == NOT_AS_FOUND else FAILED
