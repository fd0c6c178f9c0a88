"""Exit codes of results. Errors carry their own."""

from __future__ import annotations

from collections.abc import Iterable

from owui_vault.errors import VaultError
from owui_vault.model import InitializeReport, Outcome, PruneReport, SnapshotReport, VerifyReport

SIGNALLED = 128  # plus the number of the signal, as a shell says it
DONE, FAILED, INCOMPLETE, NOT_AS_FOUND, WRONG = 0, 1, 3, 4, 5
_WORST_FIRST = (NOT_AS_FOUND, FAILED, WRONG, INCOMPLETE)


def worst(codes: Iterable[int]) -> int:
    """The most significant code, if several apply."""
    found = set(codes)
    return next((code for code in _WORST_FIRST if code in found), DONE)


def of_snapshot(report: SnapshotReport) -> int:
    """One of several repositories failed: 1. All failed: the vault raised."""
    codes = [_of_one(result.error) for result in report.repositories]
    return worst([*codes, DONE if report.outcome is Outcome.COMPLETE else INCOMPLETE])


def of_initialize(report: InitializeReport) -> int:
    """One of several repositories failed: 1. All failed: the vault raised."""
    return worst(_of_one(result.error) for result in report.repositories)


def of_prune(report: PruneReport) -> int:
    """What the only repository failed with, or 1 when one of several did."""
    errors = [result.error for result in report.repositories if result.error]
    if len(errors) == len(report.repositories) == 1:
        return errors[0].exit_code
    return worst(_of_one(error) for error in errors)


def of_verify(report: VerifyReport) -> int:
    """5 when something is wrong."""
    return DONE if report.ok else WRONG


def _of_one(error: VaultError | None) -> int:
    if error is None:
        return DONE
    return NOT_AS_FOUND if error.exit_code == NOT_AS_FOUND else FAILED
