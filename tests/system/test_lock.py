from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from owui_vault.errors import CancelledError, LockHeldError
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import Patience, directory_lock, file_lock


def lock(path: Path, wait: float = 0.0):  # type: ignore[no-untyped-def]
    return directory_lock(path, wait_seconds=wait, clock=SystemClock(), what="it")


def test_a_second_holder_is_refused_and_told_why(tmp_path: Path) -> None:
    with lock(tmp_path), pytest.raises(LockHeldError, match="another run is using it"), lock(tmp_path):
        pass
    with lock(tmp_path):
        pass


def test_a_waiting_run_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    take = "import fcntl, os, sys, time\nfcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX)\n"
    script = take + "print('held', flush=True)\ntime.sleep(0.7)\n"
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    started = time.monotonic()
    with lock(tmp_path, wait=10):
        assert 0.2 < time.monotonic() - started < 8
    holder.wait()
    holder.stdout.close()


def test_whoever_inherits_the_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    with lock(tmp_path) as descriptor:
        heir = subprocess.Popen(["sleep", "0.8"], pass_fds=(descriptor,))
    with pytest.raises(LockHeldError), lock(tmp_path):
        pass
    heir.wait()
    with lock(tmp_path):
        pass


def test_nothing_is_written(tmp_path: Path) -> None:
    before = tmp_path.stat()
    with lock(tmp_path):
        assert list(tmp_path.iterdir()) == []
    after = tmp_path.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)


def test_whoever_reads_and_writes_a_file_anew_is_alone_with_it(tmp_path: Path) -> None:
    """Processes and threads alike; nothing is left beside the file."""
    count = (
        "import sys; from pathlib import Path\n"
        "from owui_vault.system.durable_files import write_durably\n"
        "from owui_vault.system.lock import file_lock\n"
        "path = Path(sys.argv[1])\n"
        "for _ in range(25):\n"
        "    with file_lock(path):\n"
        "        write_durably(path, str(int(path.read_text()) + 1).encode())\n"
    )
    (tmp_path / "f").write_text("0")
    with ExitStack() as stack:
        programs = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", count, str(tmp_path / "f")])) for _ in range(4)
        ]
    assert [each.returncode for each in programs] == [0, 0, 0, 0]
    assert (tmp_path / "f").read_text() == "100"
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_a_lock_file_of_a_killed_run_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".f.lock").touch()
    with file_lock(tmp_path / "f"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_waiting_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    with directory_lock(tmp_path, wait_seconds=0, clock=SystemClock(), what="it"):
        timer.start()
        started = time.monotonic()
        with (
            pytest.raises(CancelledError, match="it"),
            directory_lock(tmp_path, wait_seconds=30, clock=SystemClock(), what="it", cancel=cancel),
        ):
            pass
        assert time.monotonic() - started < 10
    timer.join()


def test_a_file_that_somebody_holds_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    """A holder that was stopped, or writes to a disk that hangs, holds for ever what is held for moments."""
    cancel = threading.Event()
    with file_lock(tmp_path / "f"):
        with (
            pytest.raises(LockHeldError, match=r"waited 0\.2 s"),
            file_lock(tmp_path / "f", Patience(wait_seconds=0.2)),
        ):
            pass
        timer = threading.Timer(0.2, cancel.set)
        timer.start()
        with pytest.raises(CancelledError), file_lock(tmp_path / "f", Patience(wait_seconds=60, cancel=cancel)):
            pass
        timer.join()
    with file_lock(tmp_path / "f", Patience(wait_seconds=0)):
        pass
