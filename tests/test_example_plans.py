"""The plans in examples/plans: configurations as they stand, and what becomes of them in a repository."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
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
from owui_vault.testing.trees import Seen, look
from tests.engines.restic.test_servers import USER, Place, rest, sftp
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


Serve = Callable[[Path], AbstractContextManager[Place]]


@pytest.fixture(params=["sftp, reading only", "the engine's own server, append-only"])
def serve(request: pytest.FixtureRequest, program: Callable[[str, str], Path]) -> Serve:
    """How the server lets the NAS in."""
    if request.param == "sftp, reading only":
        sshd = program("/usr/sbin/sshd", "repositories over SFTP")
        return lambda folder: sftp(folder, sshd, "-R")
    rest_server = request.getfixturevalue("rest_server")
    return lambda folder: rest(folder, rest_server, "--append-only")


def _held(repository: Path) -> dict[str, Seen]:
    """All that is in it; that a lock came and went shows in the time of its directory alone."""
    return {path: seen for path, seen in look(repository).items() if path != "locks"}


def test_the_nas_pulls_what_it_lacks_and_leaves_the_server_as_it_was(
    tmp_path: Path, own_restic: Path, place_restic: PlaceRestic, serve: Serve
) -> None:
    """Also what the server took before the NAS came; a second pull finds nothing to do."""
    settings = load_settings(PLANS / "nas.yaml", {})
    keep = {each.name: each.keep for each in settings.repositories}
    folder = tmp_path / "server"
    folder.mkdir()
    make_small_instance(tmp_path / "data")
    with serve(folder) as place:
        primary = folder / (f"served/{USER}/repository" if place.location.startswith("rest:") else "repository")
        place_restic(primary, own_restic, PASSPHRASE)
        place_restic(tmp_path / "nas", own_restic, PASSPHRASE)
        here = ResticEngine(str(primary), Secret(PASSPHRASE), program=str(own_restic))
        server = Vault(DataDirectory(tmp_path / "data"), [Repository("here", here)], state_dir=tmp_path / "state")
        server.initialize()
        taken = []
        for week in ("first", "second"):
            use_small_instance(tmp_path / "data", week)
            taken.append(server.snapshot().id)
        before = _held(primary)
        own = ResticEngine(str(tmp_path / "nas"), Secret(PASSPHRASE), program=str(own_restic))
        far = ResticEngine(place.location, Secret(PASSPHRASE), environment=place.environment, program=str(own_restic))
        nas = Vault(
            None,
            [Repository("server", far), Repository("nas", own, replace(keep["nas"] or RetentionPolicy(), last=2))],
            state_dir=tmp_path / "nas-state",
            plans=settings.plans,
        )
        nas.initialize()
        went_well(nas.run("pull"))
        there = {each.name: sorted(one.id for one in nas.snapshots(each.name)) for each in nas.repositories}
        assert there == {"server": sorted(taken), "nas": sorted(taken)}
        assert _held(primary) == before
        assert nas.verify("latest", repository="nas", read_data=True).ok
        assert [each.copies for each in nas.plan_replication("server", ["nas"]).repositories] == [()]


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_is_a_configuration_as_it_stands(path: Path) -> None:
    copy = load_settings(path, {"S3_KEY_ID": "x", "B2_KEY_ID": "y"})
    assert copy.plans
