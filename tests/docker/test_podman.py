"""The same under Podman: its socket speaks the language of Docker's, with an accent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owui_vault import Container, Outcome, Proof, Quiesce, Secret, Vault
from owui_vault.context.context import Repository
from owui_vault.instance.container.discovery import candidates
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.docker.begun import has_begun
from tests.docker.conftest import QUICK, broken_rules, docker, until
from tests.podman import Podman, podman_service
from tests.ports import free_port

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
NAME = "owui-vault-pod"


@pytest.fixture
def podman(image: str, tmp_path: Path, program: Callable[[str, str], Path]) -> Iterator[Podman]:
    with podman_service(program("podman", "the other engine"), program("runc", "containers of Podman")) as engine:
        docker("save", image, "--output", str(tmp_path / "image.tar"))
        engine.run("load", "--input", str(tmp_path / "image.tar"))
        yield engine


def test_found_snapshot_and_restored_in_place(podman: Podman, tmp_path: Path) -> None:
    port = free_port()
    limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")  # its own are more than some machines allow
    options = ("--network=host", "--no-healthcheck", f"--env=PORT={port}", "--volume=data:/app/backend/data")
    podman.run("run", "--detach", f"--name={NAME}", *limits, *options, "localhost/owui-vault-test")
    data = Path(podman.run("volume", "inspect", "data", "--format", "{{.Mountpoint}}"))
    assert until(lambda: has_begun(data))
    assert [each.told.name for each in candidates([podman.address])] == [NAME]
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    vault = Vault(
        Container(NAME, engine=podman.address),
        [Repository("one", engine)],
        state_dir=tmp_path / "state",
        limits=QUICK,
    )
    vault.initialize()
    assert vault.inspect().secret_key.found
    for mode, proof in ((Quiesce.PAUSE, Proof.PAUSE), (Quiesce.STOP, Proof.STOP)):
        report = vault.snapshot(quiesce=mode)
        assert (report.outcome, report.proof.mode) == (Outcome.COMPLETE, proof), report.problems
        assert broken_rules(vault.restore(report.id, target=tmp_path / mode.value).data_dir) == ""
        assert podman.run("inspect", NAME, "--format", "{{.State.Status}}") == "running"
    assert f"127.0.0.1:{port}" in vault.replace(vault.plan_replacement()).health
    assert "answers" in vault.undo().health
