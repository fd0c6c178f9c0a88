"""What the user excluded does not make a snapshot incomplete, nor a restore of it wrong."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Outcome, Repository, Secret, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.pages import unpack_safely

MOMENTS = Path(__file__).parents[2] / "data" / "chroma-moments.tar.xz"


@pytest.fixture
def data_dir(tmp_path: Path, small_instance: Callable[[Path], Path]) -> Path:
    """A real instance, with a real index of 2,600 vectors."""
    small_instance(tmp_path / "instance")
    data = next((tmp_path / "instance").rglob("webui.db")).parent
    with tarfile.open(MOMENTS) as archive:
        unpack_safely(archive, tmp_path / "moments")
    shutil.rmtree(data / "vector_db")
    shutil.copytree(tmp_path / "moments" / "b", data / "vector_db")
    return data


@pytest.mark.parametrize("exclude", ["vector_db/*-*", "vector_db/*.bin", "vector_db", "uploads/*document*", "uploads"])
def test_what_was_excluded_is_not_missed(tmp_path: Path, data_dir: Path, exclude: str) -> None:
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    instance = DataDirectory(data_dir, exclude=(exclude,))
    vault = Vault(instance, [Repository("nas", engine)], state_dir=tmp_path / "state")
    vault.initialize()
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.proof.attempts == 1
    assert report.manifest
    assert exclude in {each.path for each in report.manifest.left_out}
    assert any("left out, as configured" in each for each in report.warnings)
    assert not any("missing at the source" in each or "are lost" in each for each in report.warnings)
    assert vault.restore("latest", tmp_path / "copy").manifest.outcome is Outcome.COMPLETE
    assert vault.verify("latest", read_data=1.0).ok
    plan = vault.plan_replacement("latest")
    assert vault.replace(plan).plan is plan
