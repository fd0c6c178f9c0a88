"""On which file systems a write on its way can be waited for: this decides where `live` is offered."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from owui_vault.capture.child.prepare import LIVE_FILESYSTEMS
from owui_vault.system.filesystem import fence, filesystem_type

SIZE = 128 << 20
ROUNDS = 6

BIG_WRITE = """
import os, sys
data = bytes([int(sys.argv[2])]) * int(sys.argv[3])
descriptor = os.open(sys.argv[1], os.O_WRONLY)
print("ready", flush=True)
sys.stdin.readline()
os.pwrite(descriptor, data, 0)
"""


def tail(path: Path) -> int:
    """The last byte, looked at through the page cache: no lock is taken, so a write on its way is seen as it is."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with mmap.mmap(descriptor, SIZE, prot=mmap.PROT_READ) as view:
            return view[-1]
    finally:
        os.close(descriptor)


def one_write(path: Path, value: int) -> tuple[int, int]:
    """The tail before and after the fence, once the modification time says that the file was written to."""
    writer = subprocess.Popen(
        [sys.executable, "-c", BIG_WRITE, str(path), str(value), str(SIZE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        before = path.stat().st_mtime_ns
        descriptor = os.open(path, os.O_RDONLY)
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        until = time.monotonic() + 10
        while path.stat().st_mtime_ns == before and tail(path) != value and time.monotonic() < until:
            pass
        early = tail(path)
        fence(descriptor)
        late = tail(path)
        os.close(descriptor)
        writer.stdin.close()
        assert writer.wait() == 0
    return early, late


@pytest.mark.root
@pytest.mark.slow
def test_the_fence_waits_for_a_large_write_on_its_way(any_filesystem: Path) -> None:
    """Every file system that `live` trusts is here, and on each the tail is new once the fence was passed."""
    kind = filesystem_type(any_filesystem)
    assert kind in LIVE_FILESYSTEMS
    path = any_filesystem / "data_level0.bin"
    path.write_bytes(b"\0" * SIZE)
    caught = 0
    for value in range(1, ROUNDS + 1):
        os.utime(path, (0, 0))  # a whole-second clock shows the next write too
        early, late = one_write(path, value)
        assert late == value, f"{kind}: the fence let a write pass that was still going on"
        caught += early != value
    path.unlink()
    assert caught, f"{kind}: no write was ever caught on its way, so nothing was proven"
