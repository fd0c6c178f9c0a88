"""Snapshots of a container that writes all the time, restored and checked by the application's own rules."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import Outcome, Progress, Proof, Quiesce, QuiesceError, Step
from owui_vault.vault import Vault
from tests.docker.conftest import Instance, broken_rules, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
PROOFS = {Quiesce.LIVE: Proof.LIVE, Quiesce.PAUSE: Proof.PAUSE, Quiesce.STOP: Proof.STOP}


@pytest.mark.parametrize(
    ("mount", "journal"),
    [
        ("volume", "wal"),
        ("bind", "delete"),
        pytest.param("volume", "delete", marks=pytest.mark.rare),
        pytest.param("bind", "wal", marks=pytest.mark.rare),
    ],
)
def test_every_mode_gives_a_whole_copy_and_leaves_it_running(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path, mount: str, journal: str
) -> None:
    instance = run(f"--env=JOURNAL={journal}", "--env=RATE=20", mount=mount)
    vault = vault_of(instance)
    for mode in (Quiesce.AUTO, Quiesce.LIVE, Quiesce.PAUSE, Quiesce.STOP):
        report = vault.snapshot(quiesce=mode)
        assert instance.runs()
        assert instance.writes()
        if mode in (Quiesce.PAUSE, Quiesce.STOP):
            assert report.proof.mode is PROOFS[mode]
            assert report.outcome is Outcome.COMPLETE, report.problems
        if report.outcome is Outcome.COMPLETE:
            restored = vault.restore(report.id, target=tmp_path / f"{mode.value}")
            assert broken_rules(restored.data_dir) == ""


def test_what_the_engine_knows_goes_with_the_snapshot(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    compose, settings = tmp_path / "compose.yaml", tmp_path / ".env"
    compose.write_text("services: {}\n")
    settings.write_text("KEY=value\n")
    labels = {
        "project": "ai",
        "service": "chat",
        "project.config_files": str(compose),
        "project.working_dir": str(tmp_path),
    }
    instance = run(*(f"--label=com.docker.compose.{name}={value}" for name, value in labels.items()))
    vault = vault_of(instance)
    report = vault.snapshot(quiesce=Quiesce.PAUSE)
    assert report.manifest
    application = report.manifest.application
    assert application.image == "owui-vault-test"
    assert application.image_digest.startswith("sha256:")
    assert application.data_dir == "/app/backend/data"
    outside = vault.restore(report.id, target=tmp_path / "back").target / "outside"
    assert json.loads((outside / "container.json").read_text())["Name"] == f"/{instance.name}"
    assert (outside / "compose.yaml").read_text() == "services: {}\n"
    assert (outside / "compose.env").read_text() == "KEY=value\n"
    assert "DATA_DIR=/app/backend/data" in (outside / "environment").read_text()
    key = docker("exec", instance.name, "cat", "/app/backend/.webui_secret_key")
    assert (outside / "webui_secret_key").read_text() == key
    assert all(path.stat().st_mode & 0o077 == 0 for path in outside.iterdir())


def test_what_was_stopped_or_paused_by_its_owner_stays_so(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    instance = run()
    vault = vault_of(instance)
    docker("pause", instance.name)
    with pytest.raises(QuiesceError, match="already paused"), vault.hold(Quiesce.PAUSE):
        pass
    assert instance.told()["Status"] == "paused"
    docker("unpause", instance.name)
    docker("stop", instance.name)
    for mode in (Quiesce.AUTO, Quiesce.STOP):
        report = vault.snapshot(quiesce=mode)
        assert report.outcome is Outcome.COMPLETE, report.problems
        assert instance.told()["Status"] == "exited"
    assert broken_rules(vault.restore("latest", target=tmp_path / "back").data_dir) == ""


def test_a_live_proof_names_a_process_of_the_container_and_nothing_is_left_unchecked(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
    instance = run("--env=RATE=1", "--no-healthcheck")
    vault = vault_of(instance)
    reader = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM chat'); sys.stdin.read()"
    stranger = subprocess.Popen([sys.executable, "-c", reader, instance.data / "webui.db"], stdin=subprocess.PIPE)
    try:
        for _ in range(5):  # each attempt may fail, that is what the next mode is for
            report = vault.snapshot(quiesce=Quiesce.LIVE)
            if report.proof.mode is Proof.LIVE:
                break
        assert report.proof.mode is Proof.LIVE, report.proof.weaker
        inside = docker("top", instance.name, "-eo", "pid").split()[1:]
        assert report.proof.lock_holder.split()[1] in inside
        assert report.proof.lock_holder.split()[1] != str(stranger.pid)
        assert not any("not checked" in each for each in report.proof.weaker)
    finally:
        stranger.communicate()


def test_a_stop_that_needed_a_kill_is_told_in_report_and_manifest(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
    instance = run("--env=DEAF=1", "--no-healthcheck")
    report = vault_of(instance).snapshot(quiesce=Quiesce.STOP)
    assert report.manifest
    for warnings in (report.warnings, report.manifest.warnings):
        assert f"container {instance.name} had to be killed (exit code 137)" in " ".join(warnings)
    assert instance.runs()


def test_a_container_that_is_removed_when_it_stops_is_paused_only(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
    instance = run("--rm")
    vault = vault_of(instance)
    assert vault.inspect().modes == ("auto", "live", "pause")
    assert vault.snapshot(quiesce=Quiesce.PAUSE).proof.mode is Proof.PAUSE
    assert instance.runs()


def test_two_containers_on_one_volume_are_quiet_together(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
    first = run()
    second = run(f"--volumes-from={first.name}", mount="layer", command=("sleep", "600"))
    vault = vault_of(first)
    for mode, state in ((Quiesce.PAUSE, "paused"), (Quiesce.STOP, "exited")):
        with vault.hold(mode):
            assert first.told()["Status"] == state
            assert second.told()["Status"] == state
        assert first.runs()
        assert second.runs()


@pytest.mark.parametrize(
    ("which", "mode"),
    [
        ("itself", Quiesce.LIVE),
        ("held along", Quiesce.PAUSE),
        pytest.param("itself", Quiesce.PAUSE, marks=pytest.mark.rare),
        pytest.param("held along", Quiesce.LIVE, marks=pytest.mark.rare),
    ],
)
def test_a_capture_during_which_one_was_started_anew_is_thrown_away(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], which: str, mode: Quiesce
) -> None:
    """By a watcher, an update, a person: whatever was captured, its moment may not be one."""
    instance = run("--env=RATE=1", "--no-healthcheck")
    options = (f"--volumes-from={instance.name}", "--no-healthcheck")
    along = run(*options, mount="layer", command=("sleep", "600"))
    vault = vault_of(instance)
    other = instance if which == "itself" else along
    restarts: list[str] = []

    def restart(event: Progress) -> None:
        if event.step is Step.CAPTURE and not restarts:
            restarts.append(docker("restart", "--time=1", other.name))
            assert instance.writes()

    with pytest.raises(QuiesceError, match=f"container {other.name} was restarted"):
        vault.snapshot(quiesce=mode, progress=restart)
    assert restarts
    assert vault.snapshots() == ()
    assert instance.runs()
    assert along.runs()


def test_a_helper_that_ends_during_a_capture_breaks_nothing(
    run: Callable[..., Instance], vault_of: Callable[..., Vault]
) -> None:
    instance = run("--env=RATE=1", "--no-healthcheck")
    helper = run(f"--volumes-from={instance.name}", "--rm", mount="layer", command=("sleep", "600"))
    ended: list[str] = []

    def end(event: Progress) -> None:
        if event.step is Step.CAPTURE and not ended:
            ended.append(docker("rm", "--force", helper.name))

    report = vault_of(instance).snapshot(quiesce=Quiesce.PAUSE, progress=end)
    assert ended
    assert report.outcome is Outcome.COMPLETE, report.problems


def test_a_recreated_container_goes_on_with_its_series(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], image: str
) -> None:
    """Another id, the same name and volume: what an update does."""
    instance = run()
    vault = vault_of(instance)
    first = vault.snapshot(quiesce=Quiesce.PAUSE)
    docker("rm", "--force", instance.name)
    volume = f"--volume={instance.name}-data:/app/backend/data"
    docker("run", "--detach", "--init", f"--name={instance.name}", volume, image)
    assert instance.writes()
    assert vault.snapshot(quiesce=Quiesce.PAUSE).outcome is Outcome.COMPLETE
    assert [each.label and each.label.sequence for each in vault.snapshots()] == [2, 1]
    assert first.outcome is Outcome.COMPLETE
