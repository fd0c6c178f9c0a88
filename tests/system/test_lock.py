from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from owui_vault.errors import LockHeldError
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock


def lock(path: Path, wait: float = 0.0):  # type: ignore[no-untyped-def]
    return directory_lock(path, wait_seconds=wait, clock=SystemClock(), what="it")


def test_a_second_holder_is_refused_and_told_why(tmp_path: Path) -> None:
    with lock(tmp_path), pytest.raises(LockHeldError, match="another run works on it"), lock(tmp_path):
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
