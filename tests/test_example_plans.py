"""The plans in examples/plans: configurations as they stand, and what becomes of them in a repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import (
    DataDirectory,
    Repository,
    ResticEngine,
    RetentionPolicy,
    RunReport,
    Secret,
    Vault,
)
from owui_vault.config import load_settings
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.restic_templates import PlaceRestic

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

PLANS = Path(__file__).parent.parent / "examples/plans"
PASSPHRASE = "correct horse battery staple"


def went_well(report: RunReport) -> None:
    errors = [step.error for run in report.runs for step in run.steps if step.error]
    errors += [result.error for run in report.runs for step in run.steps for result in step.results if result.error]
    assert errors == []
    assert [each.exit_code for each in report.runs] == [0]


def test_soft_daily_and_cold_weekly_live_in_one_repository(
    tmp_path: Path, own_restic: Path, place_restic: PlaceRestic
) -> None:
    settings = load_settings(PLANS / "soft-daily-and-cold-weekly.yaml", {})
    (repository,) = settings.repositories
    place_restic(tmp_path / "nas", own_restic, PASSPHRASE)
    engine = ResticEngine(str(tmp_path / "nas"), Secret(PASSPHRASE), program=str(own_restic))
    make_small_instance(tmp_path / "data")
    keep = replace(repository.keep or RetentionPolicy(), last=1)  # all of this is one day
    vault = Vault(
        DataDirectory(tmp_path / "data"),
        [Repository("nas", engine, keep)],
        quiescer=FakeQuiescer(tmp_path),
        state_dir=tmp_path / "state",
        plans=settings.plans,
    )
    vault.initialize()
    for plan in ("soft-daily", "cold-weekly", "soft-daily", "cold-weekly", "soft-daily"):
        use_small_instance(tmp_path / "data", plan)
        went_well(vault.run(plan))
    kept = [(each.plan, each.label.tags) for each in vault.snapshots() if each.label]
    soft, cold = ("soft-daily", ()), ("cold-weekly", ("cold",))
    assert kept == [soft, cold, cold, soft], "the newest and the oldest of each kind, whatever lies between"


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_is_a_configuration_as_it_stands(path: Path) -> None:
    copy = load_settings(path, {"S3_KEY_ID": "x", "B2_KEY_ID": "y"})
    assert copy.plans
