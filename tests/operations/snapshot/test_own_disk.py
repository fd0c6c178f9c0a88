"""Data on a disk of their own: read-only, or with what a file system keeps at its root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from owui_vault import (
    CaptureLimits,
    DataDirectory,
    Limits,
    Outcome,
    Proof,
    Repository,
    RestoreError,
    Secret,
    TargetError,
    Vault,
)
from owui_vault.capture.child.main import job_from
from owui_vault.capture.child.marks import Walk
from owui_vault.components.names import not_the_data
from owui_vault.instance.layout import capture_plan
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance

pytestmark = pytest.mark.root
Disk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A new disk with an empty `lost+found`, as ext4 makes them."""
    with ExitStack() as mounted:

        def mount(name: str) -> Path:
            place = tmp_path / name
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "disk", place], check=True)
            mounted.callback(lambda: subprocess.run(["umount", "-l", place], check=True))
            (place / "lost+found").mkdir(mode=0o700)
            return place

        yield mount


def vault_of(data_dir: Path, folder: Path, quiescer: FakeQuiescer | None = None) -> Vault:
    engine = DirectoryEngine(folder / "repository", Secret("x"))
    return Vault(
        DataDirectory(data_dir),
        [Repository("one", engine)],
        quiescer=quiescer,
        state_dir=folder / "state",
        limits=Limits(capture=CaptureLimits(reserve_bytes=1 << 20)),
    )


def filled(data_dir: Path) -> None:
    make_small_instance(data_dir)
    use_small_instance(data_dir, "then")


def test_lost_and_found_is_the_file_systems(disk: Disk, tmp_path: Path) -> None:
    data = disk("data")
    filled(data)
    (data / "lost+found/#12").write_text("what fsck found")
    vault = vault_of(data, tmp_path)
    vault.initialize()
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert not any("lost+found" in each.path for each in report.manifest.left_out)
    before = state_of_small_instance(data)
    use_small_instance(data, "later")
    plan = vault.plan_replacement("latest")
    assert not [name for name in (*plan.parts, *plan.stays) if "lost" in name]
    vault.replace(plan)
    assert state_of_small_instance(data) == before
    assert (data / "lost+found/#12").read_text() == "what fsck found"
    target = disk("target")
    vault.restore("latest", target)
    assert sorted(os.listdir(target)) == ["RESTORE.txt", "data", "lost+found", "manifest.json", "outside"]
    assert not (target / "data/lost+found").exists()


def test_a_disk_with_something_in_lost_and_found_is_no_empty_target(disk: Disk, tmp_path: Path) -> None:
    data, target = disk("data"), disk("target")
    filled(data)
    (target / "lost+found/#12").write_text("what fsck found")
    vault = vault_of(data, tmp_path)
    vault.initialize()
    vault.snapshot()
    with pytest.raises(TargetError, match="is not empty"):
        vault.restore("latest", target)


def test_an_empty_disk_can_be_restored_in_place_of(disk: Disk, tmp_path: Path) -> None:
    data = disk("data")
    filled(data)
    before = state_of_small_instance(data)
    vault = vault_of(data, tmp_path)
    vault.initialize()
    vault.snapshot()
    new = vault_of(disk("new"), tmp_path)
    new.replace(new.plan_replacement("latest"))
    assert state_of_small_instance(tmp_path / "new") == before
    assert (tmp_path / "new/lost+found").is_dir()


def test_a_user_who_may_not_look_into_it_misses_nothing(disk: Disk, tmp_path: Path) -> None:
    data = disk("data")
    filled(data)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    plan = capture_plan(data, tmp_path / "work")
    places = {"data_dir": str(data), "work_dir": str(plan.work_dir), "databases": list(plan.databases)}
    limits = {"write_once": [], "links": [], "include": [], "reserve_bytes": 0, "wal_growth_bytes": 0}
    job = job_from({"job": {**places, **limits, "exclude": list(plan.exclude)}})
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(1000, 1000, 1000)
            os.setresuid(1000, 1000, 1000)
            assert not os.access(data / "lost+found", os.R_OK)
            walk = Walk(job)
            status = 0 if "lost+found" not in dict(walk) and not walk.unreadable else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_folder_of_that_name_elsewhere_is_the_applications(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert not_the_data(tmp_path) == {".owui-vault"}


def test_data_that_may_only_be_read_are_copied_into_the_state_directory(disk: Disk, tmp_path: Path) -> None:
    data = disk("data")
    filled(data)
    subprocess.run(["mount", "-o", "remount,ro", data], check=True)
    vault = vault_of(data, tmp_path)
    vault.initialize()
    unproven = vault.snapshot()
    assert unproven.outcome is Outcome.INCOMPLETE
    assert any("mount it writable" in each for each in unproven.problems), unproven.problems
    vault = vault_of(data, tmp_path, FakeQuiescer(tmp_path))
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.proof.mode is Proof.PAUSE
    assert report.proof.linked_files == 0
    copy = vault.restore("latest", tmp_path / "copy")
    assert state_of_small_instance(copy.data_dir) == state_of_small_instance(data)
    with pytest.raises(RestoreError) as caught:
        vault.replace(vault.plan_replacement("latest"))
    assert "read-only" in caught.value.message.lower()
    assert caught.value.hint
