"""Restoring in place under a container: the transaction, the ways back, and deaths in between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from owui_vault import Outcome, Quiesce, RestoreError
from tests.docker.conftest import broken_rules, docker, until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
PROGRAM = Path(__file__).parent / "programs" / "operate.py"
BACK_SECONDS = {"pause": 2.0, "stop": 15.0, "replace": 15.0}


def owners(folder: Path) -> dict[str, tuple[int, int, int]]:
    status = {path.name: path.stat() for path in (folder, folder / "uploads", folder / "webui.db")}
    return {name: (each.st_uid, each.st_gid, each.st_mode) for name, each in status.items()}


def test_the_container_runs_on_the_snapshot_and_undo_brings_today_back(run, vault_of):
    instance = run("--env=RATE=20")
    vault = vault_of(instance)
    then = vault.snapshot(quiesce=Quiesce.PAUSE)
    assert then.manifest
    chats_then = then.manifest.databases[0].tables["chat"]
    assert until(lambda: instance.chats() > chats_then + 40)
    before, chats_today = owners(instance.data), instance.chats()
    report = vault.replace(vault.plan_replacement("latest"))
    assert "version 0.0.1" in report.health
    assert instance.runs()
    assert instance.writes()
    assert chats_then <= instance.chats() < chats_today
    assert owners(instance.data) == before
    undone = vault.undo()
    assert "answers" in undone.health
    assert instance.chats() >= chats_today
    assert instance.writes()
    assert vault.discard().freed_bytes > 0
    assert not (instance.data / ".owui-vault").exists()
    docker("stop", instance.name)
    assert broken_rules(instance.data) == ""


def test_only_the_service_concerned_is_stopped(run, vault_of):
    """Compose's other services, of the same project, do not notice."""
    labels = "--label=com.docker.compose.project=ai"
    instance = run(labels, "--label=com.docker.compose.service=chat")
    other = run(labels, "--label=com.docker.compose.service=proxy", mount="layer", command=("sleep", "600"))
    since = other.told()["StartedAt"]
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    vault.replace(vault.plan_replacement())
    assert other.told()["StartedAt"] == since
    assert instance.writes()


def test_what_does_not_come_up_is_rolled_back_by_itself(run, vault_of):
    """An application that refuses the restored data: today's are back, and it runs on them."""
    refuses = "test ! -e uploads/refused"
    start = f"cd /app/backend/data && {refuses} && exec python3 /opt/application/application.py serve"
    instance = run("--no-healthcheck", command=())
    docker("exec", instance.name, "touch", "/app/backend/data/uploads/refused")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    docker("exec", instance.name, "rm", "/app/backend/data/uploads/refused")
    docker("rm", "--force", instance.name)
    volume = f"--volume={instance.name}-data:/app/backend/data"
    name = f"--name={instance.name}"
    docker("run", "--detach", "--init", "--no-healthcheck", name, volume, "owui-vault-test", "sh", "-c", start)
    assert instance.writes()
    time.sleep(0.5)
    chats = instance.chats()
    with pytest.raises(RestoreError, match="everything is as it was before"):
        vault.replace(vault.plan_replacement())
    assert instance.runs()
    assert instance.writes()
    assert instance.chats() >= chats
    assert not (instance.data / "uploads" / "refused").exists()
    assert vault.recover().actions == ()


def test_a_schema_that_the_image_does_not_know_is_refused(run, vault_of, tmp_path):
    instance = run()
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    folder = tmp_path / "open_webui" / "migrations" / "versions"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text('revision: str = "0123456789ab"\n')
    docker("cp", str(tmp_path / "open_webui"), f"{instance.name}:/app/backend/")
    with pytest.raises(RestoreError, match="has the schema 000000000001"):
        vault.plan_replacement()
    (folder / "two.py").write_text('revision = "000000000001"\n')
    docker("cp", str(folder / "two.py"), f"{instance.name}:/app/backend/open_webui/migrations/versions/two.py")
    assert not [each for each in vault.plan_replacement().warnings if "schemas" in each]


def test_another_secret_key_is_told_with_what_to_do(run, vault_of, image):
    instance = run("--env=WEBUI_SECRET_KEY=before")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    assert not [each for each in vault.plan_replacement().warnings if "secret key" in each]
    docker("rm", "--force", instance.name)
    volume = f"--volume={instance.name}-data:/app/backend/data"
    docker("run", "--detach", "--init", f"--name={instance.name}", volume, "--env=WEBUI_SECRET_KEY=after", image)
    (warning,) = [each for each in vault.plan_replacement().warnings if "secret key" in each]
    assert "--component secret_key" in warning
    assert "with WEBUI_SECRET_KEY set to it" in warning
    assert "before" not in warning


def test_a_container_that_the_engine_removes_is_refused(run, vault_of):
    instance = run("--rm")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    with pytest.raises(RestoreError, match="nothing here can stop and start it"):
        vault.plan_replacement()
    assert instance.runs()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("deed", ["pause", "stop", "replace"])
def test_killed_at_any_moment_it_is_as_it_was_found(run, vault_of, tmp_path, *, soak, seed, deed):
    instance = run("--env=RATE=30")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    argv = [sys.executable, str(PROGRAM), instance.name, str(tmp_path), deed]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]}
    begun = time.monotonic()
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    span = time.monotonic() - begun
    slowest = 0.0
    for _ in range(soak({"pause": 70, "stop": 70, "replace": 60}[deed])):
        child = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seed.uniform(span * 0.1, span * 1.05))
        child.kill()
        child.wait()
        died = time.monotonic()
        assert until(lambda: instance.runs() and instance.told().get("Paused") is False, BACK_SECONDS[deed])
        slowest = max(slowest, time.monotonic() - died)
        assert instance.writes()
        vault.recover()
        assert instance.runs()
        strays = [path.name for path in instance.data.glob(".owui-vault/*") if not path.name.startswith("aside-")]
        assert strays == [], "recover left something half done"
        assert vault.recover().actions == ()
        vault.discard()
    print(f"{deed}: back after {slowest:.2f} s at the latest, of {span:.1f} s without a death")
    complete = [each for each in vault.snapshots() if each.outcome is Outcome.COMPLETE]
    restored = vault.restore(complete[0].id, target=tmp_path / "back")
    assert broken_rules(restored.data_dir) == ""
    docker("stop", instance.name)
    assert broken_rules(instance.data) == ""
