"""The example programs work as they stand."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Repository, RepositoryUnreachableError, RetentionPolicy, Secret, Vault
from owui_vault.config import load_settings
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
CONFIGURATION = """\
instance:
  data_dir: {folder}/open-webui/data
repositories:
  nas:
    engine: {engine}
    location: {folder}/repository
    passphrase: {{file: {folder}/passphrase}}
    keep: {{last: 2}}
state_dir: {folder}/state
"""


@pytest.fixture
def data_dir(tmp_path: Path, small_instance: Callable[[Path], Path]) -> Path:
    return small_instance(tmp_path / "open-webui")


def example(name: str, *arguments: str | Path) -> str:
    """Run one and return what it printed."""
    argv = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [pytest.param("restic", marks=pytest.mark.thorough), pytest.param("borg", marks=pytest.mark.rare)]
)
def test_the_nightly_job_runs_every_night_and_what_it_stores_can_be_looked_into(
    engine: str, data_dir: Path, tmp_path: Path, own_restic: Path, own_borg: Path
) -> None:
    configuration = tmp_path / "vault.yaml"
    configuration.write_text(CONFIGURATION.format(engine=engine, folder=tmp_path))
    (tmp_path / "passphrase").touch(mode=0o600)
    (tmp_path / "passphrase").write_text("correct horse battery staple")
    subprocess.run(
        [sys.executable, "-m", "owui_vault", "--config", configuration, "init"], check=True, capture_output=True
    )
    nights = [example("nightly_job.py", configuration) for _ in range(3)]
    assert all(": complete (" in night for night in nights)
    assert [night.splitlines()[-1] for night in nights] == [
        f"nas: {count} old snapshots removed" for count in (0, 0, 1)
    ]
    seen = example("restore_and_inspect.py", configuration)
    assert "Admin: " in seen
    assert "chats" in seen


def test_the_nightly_job_does_not_hide_a_prune_that_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(operation: str, _moment: str) -> None:
        if operation == "remove":
            raise RepositoryUnreachableError("the NAS is off")

    make_small_instance(tmp_path / "data")
    engine = DirectoryEngine(tmp_path / "near", Secret("x"))
    far = FaultyEngine(DirectoryEngine(tmp_path / "far", Secret("x")), fails)
    repositories = [
        Repository("near", engine, RetentionPolicy(last=1)),
        Repository("far", far, RetentionPolicy(last=1)),
    ]
    vault = Vault(DataDirectory(tmp_path / "data"), repositories, state_dir=tmp_path / "state")
    vault.initialize()
    nightly: Callable[[Vault], int] = runpy.run_path(str(EXAMPLES / "nightly_job.py"))["nightly"]
    assert [nightly(vault) for _ in range(2)] == [0, 1]
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "near: 1 old snapshots removed",
        "far: 0 old snapshots removed, then: the NAS is off",
    ]
    keeps_all = Vault(vault.instance, [Repository("near", engine)], state_dir=tmp_path / "state")
    assert nightly(keeps_all) == 2
    assert "not pruned: repository 'near' has no retention policy. Set " in capsys.readouterr().out


@pytest.mark.slow
def test_an_engine_and_a_quiescer_of_ones_own_are_as_good_as_ours(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    printed = example("own_engine.py", data_dir, folder)
    assert printed.count("stored ") == 2
    assert printed.count("removed ") == 1
    assert printed.count(": complete, proven by ") == 2


@pytest.mark.parametrize("name", ["vault.yaml", "vault-many-secrets.yaml"])
def test_the_sample_configurations_are_valid(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((EXAMPLES / name).read_bytes())
    path.chmod(0o600)
    load_settings(path, environ={})
