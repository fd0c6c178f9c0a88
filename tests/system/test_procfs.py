"""Process identity, states and trees, on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from owui_vault.errors import InstanceError
from owui_vault.system import procfs
from owui_vault.system.procfs import ProcessIdentity
from owui_vault.testing.quiescer_suite import eventually


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def identity_of(child: subprocess.Popen[bytes]) -> ProcessIdentity:
    identity = procfs.identify(child.pid)
    assert identity is not None
    return identity


def test_an_identity_survives_being_written_down(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    assert ProcessIdentity.parse(str(identity)) == identity


def test_a_pid_given_to_another_is_not_the_same_process(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    earlier = ProcessIdentity(identity.pid, identity.start_ticks - 1)
    assert procfs.alive(identity)
    assert not procfs.alive(earlier)
    assert not procfs.send(earlier, signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_name_with_parentheses_and_blanks_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "60"])
    try:
        status = procfs.look(child.pid)
        assert status is not None
        assert status.parent == os.getpid()
        assert status.state in "SRD"
    finally:
        child.kill()
        child.wait()


def test_a_zombie_is_nobody() -> None:
    child = subprocess.Popen(["true"])
    assert eventually(lambda: (status := procfs.look(child.pid)) is not None and status.ended)
    assert procfs.identify(child.pid) is None
    child.wait()
    assert procfs.look(child.pid) is None
    assert not procfs.hidden(child.pid)


def test_stopped_means_every_thread(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    assert not procfs.stopped(identity)
    assert procfs.send(identity, signal.SIGSTOP)
    assert eventually(lambda: procfs.stopped(identity))
    before = procfs.threads(identity)
    procfs.send(identity, signal.SIGCONT)
    assert eventually(lambda: not procfs.stopped(identity))
    procfs.send(identity, signal.SIGSTOP)
    assert eventually(lambda: procfs.stopped(identity))
    assert procfs.threads(identity) != before, "a stop in between must show"


def test_what_is_gone_is_not_stopped(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    sleeper.kill()
    sleeper.wait()
    assert not procfs.stopped(identity)
    assert procfs.threads(identity) == ()
    assert not procfs.send(identity, signal.SIGCONT)


def test_descendants_are_found_to_the_last(tmp_path: Path) -> None:
    script = "import os, time; os.fork(); os.fork(); print(flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        for _ in range(4):
            child.stdout.readline()
        root = identity_of(child)
        found = procfs.descendants(root)
        assert len(found) == 4
        assert root in found
    finally:
        for each in found:
            procfs.send(each, signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    assert procfs.descendants(root) == frozenset()


def test_a_listing_that_never_rests_is_given_up() -> None:
    numbers = iter(range(1000))
    with pytest.raises(InstanceError):
        procfs.settled(lambda: frozenset({ProcessIdentity(next(numbers), 1)}))


def test_open_files_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "open"
    with path.open("w"):
        found = procfs.open_files(os.getpid())
    assert found.readable
    assert str(path) in [each for _, each in found.paths]
    assert procfs.open_files(4_000_000) == procfs.OpenFiles(paths=(), readable=True)


@pytest.mark.root
def test_without_rights_it_says_so() -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from owui_vault.system import procfs\n"
        "os.setuid(65534)\n"
        "print(procfs.open_files(1).readable, procfs.identify(1) is not None)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_control_group_members_are_listed_below_too(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "cgroup.procs").write_text("")
    (below / "cgroup.procs").write_text(f"{os.getpid()}\n4000000\n")
    assert {each.pid for each in procfs.cgroup_members([tmp_path])} == {os.getpid()}
    assert procfs.cgroup_members([tmp_path / "missing"]) == frozenset()


def test_the_start_is_on_the_wall_clock(sleeper: subprocess.Popen[bytes]) -> None:
    assert abs(procfs.started_at(identity_of(sleeper)) - time.time()) < 5


def test_our_own_ancestors_reach_the_first_process() -> None:
    found = procfs.own_ancestors()
    assert {os.getpid(), os.getppid()} <= found


def test_the_name_of_nobody_is_empty() -> None:
    assert procfs.name_of(4_000_000) == ""
    assert procfs.name_of(os.getpid())


@pytest.mark.parametrize(
    ("root", "point", "own"),
    [
        (f"/var/lib/docker/containers/{'ab' * 32}/hostname", "/etc/hostname", "ab" * 32),
        (f"/storage/overlay-containers/{'cd' * 32}/userdata/hostname", "/etc/hostname", "cd" * 32),
        (f"/var/lib/docker/containers/{'ab' * 32}/hostname", "/mnt/hostname", ""),
        ("/etc/hostname", "/etc/hostname", ""),
    ],
)
def test_the_container_we_run_in_is_known_by_its_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, point: str, own: str
) -> None:
    (tmp_path / "self").mkdir()
    lines = (f"{number} 1 8:1 {each} rw - ext4 x rw\n" for number, each in enumerate(("/ /", f"{root} {point}")))
    (tmp_path / "self" / "mountinfo").write_text("".join(lines))
    monkeypatch.setattr(procfs, "_PROC", tmp_path)
    assert procfs.own_container() == own
