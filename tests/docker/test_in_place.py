"""Restoring in place under a container: the transaction, the ways back, and deaths in between."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Outcome, Quiesce, Repository, RestoreError, Secret, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.docker.conftest import Instance, broken_rules, docker, until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
PROGRAM = Path(__file__).parent / "programs" / "operate.py"
BACK_SECONDS = {"pause": 2.0, "stop": 15.0, "replace": 15.0}


def owners(folder: Path) -> dict[str, tuple[int, int, int]]:
    status = {path.name: path.stat() for path in (folder, folder / "uploads", folder / "webui.db")}
    return {name: (each.st_uid, each.st_gid, each.st_mode) for name, each in status.items()}


def test_the_container_runs_on_the_snapshot_and_undo_brings_today_back(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
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


def test_a_stop_that_needed_a_kill_is_told_there_and_back(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
    instance = run("--env=DEAF=1", "--no-healthcheck")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    told = f"container {instance.name} had to be killed (exit code 137): it did not end within its time limit"
    assert told in vault.replace(vault.plan_replacement()).warnings
    assert told in vault.undo().warnings
    assert instance.runs()


def test_only_the_service_concerned_is_stopped(run: Callable[..., Instance], vault_of: Callable[..., Vault]) -> None:
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


def test_what_does_not_come_up_is_rolled_back_by_itself(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
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
    stored = instance.chats()
    assert until(lambda: instance.chats() > stored)
    chats = instance.chats()
    with pytest.raises(RestoreError, match="everything is as it was before"):
        vault.replace(vault.plan_replacement())
    assert instance.runs()
    assert instance.writes()
    assert instance.chats() >= chats
    assert not (instance.data / "uploads" / "refused").exists()
    assert vault.recover().actions == ()


def test_a_schema_that_the_image_does_not_know_is_refused(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
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


def test_another_secret_key_is_told_with_what_to_do(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], image: str
) -> None:
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


def test_a_container_that_the_engine_removes_is_refused(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
    instance = run("--rm")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    with pytest.raises(RestoreError, match="nothing here can stop and start it"):
        vault.plan_replacement()
    assert instance.runs()


MARK = (
    "import sqlite3; [sqlite3.connect(f'/app/backend/data/{name}', timeout=30, isolation_level=None)"
    ".execute('CREATE TABLE IF NOT EXISTS today (mark)') for name in ('webui.db', 'vector_db/chroma.sqlite3')]"
)


def mark(instance: Instance) -> None:
    """Something in each part that no snapshot holds."""
    docker("exec", instance.name, "python3", "-c", MARK)
    (instance.data / "uploads" / "today").touch()


def has_tables(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'today'").fetchone())


def marks(data: Path) -> set[bool]:
    """Which parts are of today. The instance is stopped."""
    of_databases = [has_tables(data / name) for name in ("webui.db", "vector_db/chroma.sqlite3")]
    return {*of_databases, (data / "uploads" / "today").exists()}


def guardians_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                of_ours = f"\nPPid:\t{pid}\n" in (folder / "status").read_text()
                if of_ours and b"guardian_main.py" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


def kill(child: subprocess.Popen[bytes], *, guardian_too: bool) -> None:
    """As a power cut does, or a sidecar's end: nobody is left who knows."""
    child.send_signal(signal.SIGSTOP)  # no new guardian between the look and the deed
    for pid in guardians_of(child.pid) if guardian_too else ():
        os.kill(pid, signal.SIGKILL)
    child.kill()
    child.wait()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deed", [pytest.param("pause", marks=pytest.mark.rare), "stop", "replace"])
def test_killed_at_any_moment_it_is_as_it_was_found(
    run: Callable[..., Instance],
    vault_of: Callable[..., Vault],
    tmp_path: Path,
    *,
    soak: Callable[[int], int],
    seed: random.Random,
    deed: str,
) -> None:
    """After a replacement also: its data are wholly those of the snapshot, or wholly those of today."""
    instance = run("--env=RATE=30")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    argv = [sys.executable, str(PROGRAM), instance.name, str(tmp_path), deed]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]}
    begun = time.monotonic()
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    vault.discard()
    span = time.monotonic() - begun
    slowest, states = 0.0, []
    for number in range(soak({"pause": 70, "stop": 70, "replace": 60}[deed])):
        mark(instance)
        child = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seed.uniform(span * 0.1, span * 1.05))
        guardian_too = number % 3 == 2
        kill(child, guardian_too=guardian_too)
        died = time.monotonic()
        if not guardian_too:
            assert until(lambda: instance.runs() and instance.told().get("Paused") is False, BACK_SECONDS[deed])
            slowest = max(slowest, time.monotonic() - died)
            assert instance.writes()
        vault.recover()
        assert instance.runs()
        assert instance.told().get("Paused") is False
        assert instance.writes()
        strays = [path.name for path in instance.data.glob(".owui-vault/*") if not path.name.startswith("aside-")]
        assert strays == [], "recover left something half done"
        assert vault.recover().actions == ()
        if deed == "replace":
            docker("stop", instance.name)
            state = marks(instance.data)
            assert len(state) == 1, "half of today's data and half of the snapshot's"
            assert broken_rules(instance.data) == ""
            states.append("old" if True in state else "new")
            docker("start", instance.name)
            assert instance.writes()
        vault.discard()
    print(f"{deed}: back after {slowest:.2f} s at the latest, of {span:.1f} s without a death; {Counter(states)}")
    complete = [each for each in vault.snapshots() if each.outcome is Outcome.COMPLETE]
    restored = vault.restore(complete[0].id, target=tmp_path / "back")
    assert broken_rules(restored.data_dir) == ""
    docker("stop", instance.name)
    assert broken_rules(instance.data) == ""


def test_a_death_on_the_way_back_stops_it_first_and_ends_on_the_data_from_before(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    """By the guardian alone: what runs on the data that failed is taken down by its rescue."""
    instance = run("--no-healthcheck")
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    mark(instance)
    since = instance.told()["StartedAt"]
    died = subprocess.run(
        [sys.executable, str(PROGRAM), instance.name, str(tmp_path), "die-on-the-way-back"],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]},
        check=False,
        capture_output=True,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert until(lambda: not (instance.data / ".owui-vault" / "swap.json").exists() and instance.runs())
    assert instance.told()["StartedAt"] != since
    assert instance.writes()
    docker("stop", instance.name)
    assert marks(instance.data) == {True}
    assert broken_rules(instance.data) == ""
    docker("start", instance.name)
    vault.recover()
    assert not (instance.data / ".owui-vault").exists()


def test_the_rows_of_a_volume_that_is_configured_as_a_directory_keep_the_containers_path(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    """Stopped by hand first, as our own message asks for: then nothing tells how the application sees it."""
    instance = run()
    engine = DirectoryEngine(tmp_path / "directory", Secret("x"))
    vault = Vault(DataDirectory(instance.data), [Repository("one", engine)], state_dir=tmp_path / "directory-state")
    vault.initialize()
    vault.snapshot()
    docker("stop", instance.name)
    vault.replace(vault.plan_replacement("latest"))
    with closing(sqlite3.connect(instance.data / "webui.db")) as connection:
        paths = [path for (path,) in connection.execute("SELECT path FROM file")]
    assert paths
    assert {path.rpartition("/uploads/")[0] for path in paths} == {"/app/backend/data"}
    docker("start", instance.name)
    assert instance.writes()
