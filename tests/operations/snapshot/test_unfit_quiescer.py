"""A mistake in who is to be made quiet costs no snapshot, and is told while nothing depends on it yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import DataDirectory, InstanceNotFoundError, Outcome, Quiesce, Repository, Secret, Vault
from owui_vault.quiesce.process import ProcessQuiescer
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    make_small_instance(tmp_path / "data")
    (tmp_path / "empty.pid").write_text("")
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    quiescer = ProcessQuiescer(tmp_path / "empty.pid")
    repositories = [Repository("one", engine)]
    vault = Vault(DataDirectory(tmp_path / "data"), repositories, quiescer=quiescer, state_dir=tmp_path / "state")
    vault.initialize()
    return vault


def test_auto_takes_its_snapshot_live_and_warns(vault: Vault) -> None:
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    (warning,) = [each for each in report.warnings if "could not be made quiet" in each]
    assert "holds no process id" in warning


def test_who_demands_a_pause_gets_the_error(vault: Vault) -> None:
    with pytest.raises(InstanceNotFoundError, match="holds no process id"):
        vault.snapshot(quiesce=Quiesce.PAUSE)
