"""Pausing a family of processes: what the conformance suite cannot know."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce import freezer
from owui_vault.quiesce.process import ProcessQuiescer, ProcessRescue
from owui_vault.quiesce.rescue import main
from owui_vault.system import procfs
from owui_vault.testing.quiescer_suite import eventually, run_rescue, soon, writes_on
from tests.quiesce.conftest import Family


def test_every_thread_of_every_descendant_is_stopped(family: Family) -> None:
    quiescer = family.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    members = family.members()
    assert len(members) == 3
    assert all(mark.state == "T" for each in members for mark in procfs.threads(each))
    quiescer.resume(Quiesce.PAUSE, soon())


def test_what_the_user_had_stopped_stays_stopped(family: Family) -> None:
    left = max(family.members() - {family.root})
    procfs.send(left, signal.SIGSTOP)
    assert eventually(lambda: procfs.stopped(left))
    quiescer = family.quiescer()
    command = quiescer.rescue_command(Quiesce.PAUSE)
    for bring_back in (lambda: quiescer.resume(Quiesce.PAUSE, soon()), lambda: run_rescue(command)):
        quiescer.quiesce(Quiesce.PAUSE, soon())
        bring_back()
        assert procfs.stopped(left)
        assert not procfs.stopped(family.root)
        quiescer.resume(Quiesce.PAUSE, soon())


def test_a_refused_quiesce_leaves_the_users_stop_alone(family: Family) -> None:
    left = max(family.members() - {family.root})
    procfs.send(left, signal.SIGSTOP)
    assert eventually(lambda: procfs.stopped(left))
    quiescer = family.quiescer()
    with pytest.raises(QuiesceError):
        quiescer.quiesce(Quiesce.PAUSE, soon(0))
    quiescer.resume(Quiesce.PAUSE, soon())
    assert procfs.stopped(left)


def test_a_nap_in_between_is_noticed_although_all_are_stopped_again(family: Family) -> None:
    quiescer = family.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    one = max(family.members())
    procfs.send(one, signal.SIGCONT)
    assert eventually(lambda: not procfs.stopped(one))
    procfs.send(one, signal.SIGSTOP)
    assert eventually(lambda: procfs.stopped(one))
    with pytest.raises(QuiesceError, match="was running when"):
        quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())


def test_signals_that_do_not_wake_do_not_disturb(family: Family) -> None:
    quiescer = family.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    procfs.send(family.root, signal.SIGCHLD)
    procfs.send(family.root, signal.SIGWINCH)
    time.sleep(0.05)
    quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())


def larger(path: Path, size: int) -> bool:
    return path.stat().st_size > size


def test_workers_forked_without_end_are_all_caught(tmp_path: Path) -> None:
    """Each worker forks its successor and leaves: a single listing would miss one again and again."""
    code = (
        "import os, sys, time\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        open(sys.argv[2], 'ab').write(b'.')\n"
        "        os._exit(0)\n"
        "    try:\n"
        "        while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
        "    except ChildProcessError: pass\n"
    )
    pid_file, output = tmp_path / "pid", tmp_path / "output"
    child = subprocess.Popen([sys.executable, "-c", code, str(pid_file), str(output)])
    try:
        assert eventually(output.exists)
        quiescer = ProcessQuiescer(pid_file)
        for _ in range(5):
            quiescer.quiesce(Quiesce.PAUSE, soon())
            size = output.stat().st_size
            time.sleep(0.05)
            assert output.stat().st_size == size
            quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
            quiescer.resume(Quiesce.PAUSE, soon())
            assert eventually(partial(larger, output, size))
    finally:
        child.kill()
        child.wait()


def test_a_parent_that_waits_in_vfork_is_stopped_in_a_later_round(tmp_path: Path) -> None:
    """Started by `vfork`, a child stopped before its `exec` keeps the parent unstoppable."""
    code = (
        "import os, subprocess, sys\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "while True: subprocess.run(['/bin/true'])\n"
    )
    pid_file = tmp_path / "pid"
    child = subprocess.Popen([sys.executable, "-c", code, str(pid_file)])
    try:
        assert eventually(lambda: pid_file.exists() and pid_file.read_text() != "")
        quiescer = ProcessQuiescer(pid_file)
        for _ in range(10):
            quiescer.quiesce(Quiesce.PAUSE, soon(3))
            quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
            quiescer.resume(Quiesce.PAUSE, soon())
    finally:
        child.kill()
        child.wait()


def test_what_cannot_be_stopped_is_named_and_the_rest_undone(
    family: Family, program: Callable[[str, str], Path]
) -> None:
    """A traced process obeys its tracer, not SIGSTOP: strace keeps it in another state."""
    strace = program("strace", "it stands for a debugger")
    argv = [str(strace), "-qq", "-o", "/dev/null", "-p", str(family.root.pid)]
    tracer = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: "TracerPid:\t0" not in Path(f"/proc/{family.root.pid}/status").read_text())
        with pytest.raises(QuiesceError, match=str(family.root.pid)):
            family.quiescer().quiesce(Quiesce.PAUSE, soon(0.5))
    finally:
        tracer.terminate()
        tracer.wait()
    assert eventually(lambda: not freezer.stopped_among(family.members()))
    assert writes_on(family)


def test_ending_it_while_paused_is_told(family: Family) -> None:
    quiescer = family.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    family.stop()
    with pytest.raises(QuiesceError):
        quiescer.confirm(Quiesce.PAUSE, since)
    with pytest.raises(ResumeError, match="ended"):
        quiescer.resume(Quiesce.PAUSE, soon())
    quiescer.resume(Quiesce.PAUSE, soon())


def test_orphans_of_a_parent_killed_in_the_pause_are_woken_by_the_rescue(tmp_path: Path, family: Family) -> None:
    family.stop()
    family.options = ("independent",)
    family.start()
    quiescer = family.quiescer()
    command = quiescer.rescue_command(Quiesce.PAUSE)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    orphans = family.members() - {family.root}
    procfs.send(family.root, signal.SIGKILL)
    assert family.child is not None
    family.child.wait()
    assert freezer.stopped_among(orphans) == orphans
    assert run_rescue(command) == 0
    assert not freezer.stopped_among(orphans)
    for each in orphans:
        procfs.send(each, signal.SIGKILL)


def test_a_rescue_from_another_boot_touches_nobody(family: Family) -> None:
    family.pause()
    everybody = family.members()
    ProcessRescue(boot="another", root=family.root, members=everybody, leave=frozenset()).run(soon())
    assert freezer.stopped_among(everybody) == everybody


def test_a_rescue_never_hits_the_next_owner_of_a_pid(family: Family) -> None:
    family.pause()
    root = family.root
    earlier = procfs.ProcessIdentity(root.pid, root.start_ticks - 1)
    ProcessRescue(boot=procfs.boot_id(), root=earlier, members=frozenset({earlier}), leave=frozenset()).run(soon())
    assert procfs.stopped(root)


def test_no_pid_file_means_stopped(tmp_path: Path) -> None:
    quiescer = ProcessQuiescer(tmp_path / "missing.pid")
    assert quiescer.observe().state is InstanceState.STOPPED
    assert "missing.pid" in quiescer.name
    with pytest.raises(QuiesceError):
        quiescer.quiesce(Quiesce.PAUSE, soon())
    with pytest.raises(QuiesceError):
        quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
    with pytest.raises(InstanceNotFoundError):
        quiescer.rescue_command(Quiesce.PAUSE)
    quiescer.resume(Quiesce.PAUSE, soon())


@pytest.mark.parametrize("text", ["", "abc", "-1", "0", "12 13", "\xff"])
def test_a_pid_file_with_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InstanceNotFoundError):
        ProcessQuiescer(pid_file).observe()


def test_a_pid_file_older_than_its_process_is_stale(family: Family) -> None:
    os.utime(family.pid_file, (1, 1))
    with pytest.raises(InstanceNotFoundError, match="a different process"):
        family.quiescer().observe()


def test_a_pid_file_that_names_nobody_any_more_means_stopped(family: Family) -> None:
    text = family.pid_file.read_text()
    family.stop()
    family.pid_file.write_text(text)
    assert family.quiescer().observe().state is InstanceState.STOPPED


def test_a_pid_file_that_names_another_one_during_the_pause_is_told(family: Family) -> None:
    quiescer = family.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    quiescer.confirm(Quiesce.PAUSE, since)
    family.pid_file.write_text(f"{max(family.members() - {family.root}).pid}\n")
    with pytest.raises(QuiesceError, match="not the one that was paused"):
        quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())
    assert writes_on(family)


def test_one_started_anew_between_the_look_and_the_pause_is_told(family: Family) -> None:
    quiescer = family.quiescer()
    since = quiescer.observe()
    family.stop()
    family.start()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    with pytest.raises(QuiesceError, match="restarted"):
        quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())


def test_a_process_that_is_hidden_from_us_is_not_called_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `hidepid`: there is such a process, but /proc does not show it."""
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(os.getppid()))
    monkeypatch.setattr(procfs, "_PROC", tmp_path / "proc")
    with pytest.raises(InstanceNotFoundError, match="cannot be inspected") as caught:
        ProcessQuiescer(pid_file).observe()
    assert "as root" in caught.value.hint


def test_a_pid_file_removed_right_after_it_was_read_named_somebody_all_the_same(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    identify = procfs.identify

    def remove_and_identify(pid: int) -> procfs.ProcessIdentity | None:
        family.pid_file.unlink(missing_ok=True)
        return identify(pid)

    root = family.root
    monkeypatch.setattr(procfs, "identify", remove_and_identify)
    seen = family.quiescer().observe()
    assert seen.state is InstanceState.RUNNING
    assert seen.identity.endswith(str(root))


def test_leading_back_cannot_stop_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody could start it again."""
    assert main(["process", "--down", "--root=812:1"]) == 1
    assert "process 812 can be paused only" in capsys.readouterr().err


def test_it_never_freezes_itself(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    for pid in (os.getpid(), os.getppid(), 1):
        pid_file.write_text(str(pid))
        with pytest.raises((QuiesceError, InstanceNotFoundError)):
            ProcessQuiescer(pid_file).quiesce(Quiesce.PAUSE, soon())


@pytest.mark.root
def test_another_users_process_is_refused_with_the_missing_right(family: Family, tmp_path: Path) -> None:
    code = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from owui_vault.quiesce.process import ProcessQuiescer\n"
        "from owui_vault.model import Deadline, Quiesce\n"
        "os.setuid(65534)\n"
        "deadline = Deadline(time.monotonic() + 5, time.monotonic)\n"
        "try: ProcessQuiescer(Path(sys.argv[2])).quiesce(Quiesce.PAUSE, deadline)\n"
        "except Exception as error: print(type(error).__name__, error, error.hint)\n"
    )
    shown = tmp_path / "shown.pid"
    shown.write_text(family.pid_file.read_text())
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-")) or folder == tmp_path:  # private ones of pytest, and no others
            folder.chmod(0o755)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), str(shown)], capture_output=True, text=True, check=False
    )
    assert "no permission to stop" in done.stdout, done
    assert "root" in done.stdout
    assert writes_on(family)


def test_somebody_elses_sleeper_that_was_woken_meanwhile_is_seen(family: Family) -> None:
    """Whoever had stopped it may wake it while we believe in the freeze, and it writes."""
    left = max(family.members())
    os.kill(left.pid, signal.SIGSTOP)
    assert eventually(lambda: procfs.stopped(left))
    frozen = freezer.freeze(family.members, soon())
    assert frozen.theirs == {left}
    freezer.check(frozen, family.members)
    os.kill(left.pid, signal.SIGCONT)
    assert eventually(lambda: not procfs.stopped(left))
    time.sleep(0.05)
    os.kill(left.pid, signal.SIGSTOP)
    assert eventually(lambda: procfs.stopped(left))
    with pytest.raises(QuiesceError, match=f"process {left.pid} was running"):
        freezer.check(frozen, family.members)
    freezer.thaw(frozen.ours | frozen.theirs, soon())


WRITES = """
import os, sys
size = int(sys.argv[2])
blocks = [bytes([value]) * size for value in (1, 2)]
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
while True:
    for each in blocks:
        os.pwrite(descriptor, each, 0)
        print("x", flush=True)
"""


def test_a_large_write_is_over_when_the_freeze_is_reported(tmp_path: Path) -> None:
    """SIGSTOP does not wait for it: the bytes go on landing after `kill` has returned."""
    size, path = 64 << 20, tmp_path / "large"
    argv = [sys.executable, "-c", WRITES, str(path), str(size)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            me = procfs.identify(child.pid)
            assert me is not None
            for number in range(8):
                time.sleep(0.013 * number)
                frozen = freezer.freeze(lambda: frozenset({me}), soon())
                before = path.read_bytes()
                assert before.count(before[:1]) == size, "half a write"
                assert path.read_bytes() == before
                freezer.thaw(frozen.ours, soon())
        finally:
            child.kill()
