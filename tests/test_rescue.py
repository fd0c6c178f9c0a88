"""The address that journals and guardians know a rescue by."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from owui_vault.guardian import bounded_hold
from owui_vault.guardian.guardian import Guardian, GuardianTask
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import rescue, rescue_environment
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce.container.rescue import ContainerRescue
from owui_vault.quiesce.process import ProcessRescue
from owui_vault.quiesce.systemd import UnitRescue
from owui_vault.rescue import main
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.system.procfs import ProcessIdentity
from owui_vault.system.python import interpreter
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.quiescer_suite import eventually

UNKNOWN: list[list[str]] = [[], ["box"], ["--help"], ["rollback"], ["fake"], ["fake", "/nowhere"]]


def run(*argv: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", UNKNOWN)
def test_what_it_does_not_know_is_answered_with_the_usage(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "python -m owui_vault.rescue KIND" in told
    assert len(told.splitlines()) < 15


@pytest.mark.parametrize("kind", ["process", "unit", "container"])
def test_a_kind_without_what_it_needs_is_a_mistake_too(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([kind])
    assert ended.value.code == 2
    assert f"owui_vault.rescue {kind}" in capsys.readouterr().err


def test_it_is_found_by_a_guardian_and_by_hand() -> None:
    """With nothing but its environment; with the one of a person; isolated from it."""
    for argv, environment in (
        (rescue(), rescue_environment()),
        ((sys.executable, "-m", "owui_vault.rescue"), None),
        ((sys.executable, "-I", "-m", "owui_vault.rescue"), {}),
    ):
        done = run(*argv, environment=environment)
        assert (done.returncode, done.stdout) == (2, "")
        assert "KIND" in done.stderr


def test_what_lies_in_the_directory_it_is_started_in_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "owui_vault").mkdir()
    (tmp_path / "owui_vault" / "__init__.py").write_text("raise SystemExit(99)")
    done = subprocess.run(rescue(), env=rescue_environment(), cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2


def test_it_needs_neither_the_engines_nor_the_clients_nor_the_configuration() -> None:
    """Of which an upgrade that is going on may have removed one."""
    missing = ("restic", "yaml", "pydantic", "docker", "typer", "rich", "cryptography", "requests")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
        "from owui_vault.rescue import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    told = {
        ("process", "--root=1:1", "--boot=of another life"): 0,
        ("container", "pause", "--engine=unix:///nowhere", "--boot="): 0,
        ("rollback", "/nowhere/.owui-vault/swap.json"): 0,
        ("unit", "no such unit", "neither"): 2,
    }
    for arguments, status in told.items():
        done = run(sys.executable, "-c", code, *arguments, environment=rescue_environment())
        assert done.returncode == status, done.stderr


def test_what_is_written_down_names_the_address_and_no_room(tmp_path: Path) -> None:
    root = ProcessIdentity(1, 1)
    for command in (
        ProcessRescue(boot="", root=root, members=frozenset({root}), leave=frozenset()).command(),
        UnitRescue(name="open-webui.service", mode=Quiesce.STOP, boot="", invocation="").command(),
        ContainerRescue(engine="", mode=Quiesce.STOP, targets=(), boot="", settled=0.0).command(),
        FakeQuiescer(tmp_path).rescue_command(Quiesce.STOP),
        rescue("rollback", "swap.json"),
    ):
        assert command[:3] == (interpreter(), "-m", "owui_vault.rescue")
        assert not any("owui_vault" in part for part in command[3:])


@pytest.mark.parametrize(
    "former",
    [("quiesce.rescue", "process", "--root=neither"), ("vault.leading_back", "/nowhere/x/swap.json", "/bin/false")],
)
def test_a_guardian_of_before_is_never_told_that_all_is_well_by_a_room_that_does_nothing(
    former: tuple[str, ...],
) -> None:
    """It knows a rescue by the name of its room then, and strikes the record after status 0: nobody would know."""
    done = run(sys.executable, "-m", f"owui_vault.{former[0]}", *former[1:], environment=rescue_environment())
    assert done.returncode != 0


def test_an_upgrade_in_the_middle_of_a_hold_is_recovered_from(tmp_path: Path) -> None:
    """The guardian that stayed does not find its rescue any more: it keeps the record, and the lock until it ends."""
    quiescer, journal, tries = FakeQuiescer(tmp_path), Journal(tmp_path / "journal"), tmp_path / "tries"
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\necho >> {tries}\nexit 1\n")
    python.chmod(0o755)
    gone = (str(python), *quiescer.rescue_command(Quiesce.PAUSE)[1:])
    run_of_before = os.fork()
    if run_of_before == 0:
        with directory_lock(tmp_path, wait_seconds=1, clock=SystemClock(), what="") as lock:
            path = journal.path(journal.begin("pause", quiescer.name, SystemClock(), rescue=gone))
            quiescer.instance.set(InstanceState.PAUSED)
            task = GuardianTask(rescue=gone, limit_seconds=60, grace_seconds=0, record=path, lock_fd=lock)
            (tmp_path / "guardian").write_text(str(Guardian(task).pid))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(run_of_before, 0)
    assert eventually(lambda: tries.exists() and len(tries.read_text()) > 1)
    assert quiescer.observe().state is InstanceState.PAUSED
    assert len(journal.records()) == 1
    os.kill(int((tmp_path / "guardian").read_text()), signal.SIGKILL)
    with directory_lock(tmp_path, wait_seconds=10, clock=SystemClock(), what=""):
        bounded_hold.recover(journal)
    assert quiescer.observe().state is InstanceState.RUNNING
    assert journal.records() == ()
