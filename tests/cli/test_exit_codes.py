"""Exit codes of what was done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import cast

import pytest
from owui_vault.cli import exit_codes
from owui_vault.cli.commands.init import Initialize
from owui_vault.cli.commands.prune import Prune
from owui_vault.cli.commands.snapshot import TakeSnapshot
from owui_vault.cli.commands.verify import Verify
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.request import Request, Session
from owui_vault.errors import (
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryMissingError,
    ResumeError,
    VaultError,
    WrongPassphraseError,
)
from owui_vault.model import (
    InitializeReport,
    InitializeResult,
    Outcome,
    PrunePlan,
    PruneReport,
    PruneResult,
    RepositoryResult,
    SnapshotReport,
    VerifyReport,
)


def test_the_worst_is_told_first() -> None:
    for order in permutations((0, 1, 3, 4, 5)):
        assert exit_codes.worst(order) == 4
    assert exit_codes.worst((5, 3, 1, 0)) == 1
    assert exit_codes.worst((3, 5)) == 5
    assert exit_codes.worst((0, 3)) == 3
    assert exit_codes.worst(()) == 0


class Reporting:
    """A vault whose every operation returns one report."""

    def __init__(self, report: object) -> None:
        self.snapshot = self.initialize = self.prune = self.plan_prune = self.verify = lambda *_, **__: report


def code_of(request: Request, report: object) -> int:
    """The exit code of a command whose operation came to this."""
    session = Session(request=request, options=GlobalOptions(verbosity=-1), environ={}, folder=Path("/"))
    vars(session)["vault"] = cast("object", Reporting(report))
    return request.perform(session).exit_code


@pytest.mark.parametrize(
    ("errors", "outcome", "code"),
    [
        ([None, None], Outcome.COMPLETE, 0),
        ([None, None], Outcome.INCOMPLETE, 3),
        ([None, RepositoryFullError("full")], Outcome.COMPLETE, 1),
        ([None, RepositoryLockedError("locked")], Outcome.COMPLETE, 1),
        ([WrongPassphraseError("wrong"), None], Outcome.INCOMPLETE, 1),
        ([ResumeError("down"), RepositoryFullError("full")], Outcome.INCOMPLETE, 4),
    ],
)
def test_codes_of_a_snapshot(
    snapshot_report: SnapshotReport, errors: list[VaultError | None], outcome: Outcome, code: int
) -> None:
    results = tuple(RepositoryResult(repository=str(number), error=error) for number, error in enumerate(errors))
    assert code_of(TakeSnapshot(), replace(snapshot_report, outcome=outcome, repositories=results)) == code


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([None], 0),
        ([WrongPassphraseError("wrong")], 12),
        ([WrongPassphraseError("wrong"), None], 1),
        ([RepositoryLockedError("locked"), RepositoryLockedError("locked")], 1),
    ],
)
def test_codes_of_pruning(errors: list[VaultError | None], code: int) -> None:
    results = tuple(PruneResult(repository=str(number), error=error) for number, error in enumerate(errors))
    report = PruneReport(plan=PrunePlan(repositories=()), repositories=results, took=timedelta())
    assert code_of(Prune(), report) == code


def test_one_repository_of_several_that_could_not_be_made_is_1() -> None:
    made = InitializeResult(repository="near", info=None, created=True, passphrase_source="file x")
    failed = replace(made, repository="far", created=False, error=RepositoryMissingError("gone"))
    assert code_of(Initialize(), InitializeReport(repositories=(made,))) == 0
    assert code_of(Initialize(), InitializeReport(repositories=(made, failed))) == 1


def test_a_problem_found_is_told(snapshot_report: SnapshotReport) -> None:
    (result,) = snapshot_report.repositories
    assert result.snapshot
    report = VerifyReport(
        snapshot=result.snapshot, repository="nas", problems=(), warnings=(), read_data=0.0, took=timedelta(seconds=1)
    )
    assert code_of(Verify(), report) == 0
    assert code_of(Verify(), replace(report, problems=("pack 4e1c is damaged",))) == 5
