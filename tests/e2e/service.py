"""Starts and stops one server, as an init script does: `python service.py start|stop|status FOLDER`.

FOLDER/service.json says how. A program of its own, without imports of ours: it is what brings the instance back when
everything else has died.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

START_SECONDS = 240.0
STOP_SECONDS = 60.0


def start(folder: Path) -> int:
    """0 once it answers, also when it ran already; 1 when it ended instead."""
    settings = json.loads((folder / "service.json").read_text())
    pid = running(folder)
    if pid is None:
        with (folder / "log").open("ab") as log:
            child = subprocess.Popen(
                settings["argv"], env=settings["environment"], cwd=settings["cwd"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        pid = child.pid
        (folder / "pid").write_text(f"{pid}\n")
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if answers(settings["port"]):
            return 0
        if state(pid) in ("", "Z", "X"):
            print(f"it ended instead of answering; see {folder / 'log'}", file=sys.stderr)
            return 1
        time.sleep(0.2)
    print(f"it does not answer after {START_SECONDS:.0f} s; see {folder / 'log'}", file=sys.stderr)
    return 1


def stop(folder: Path) -> int:
    """0 once it has ended by itself, after SIGTERM."""
    pid = running(folder)
    if pid is None:
        return 0
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while state(pid) not in ("", "Z", "X"):
        if time.monotonic() > end:
            return 1
        time.sleep(0.02)
    return 0


def running(folder: Path) -> int | None:
    """Its process, if that lives."""
    try:
        pid = int((folder / "pid").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return None if state(pid) in ("", "Z", "X") else pid


def state(pid: int) -> str:
    """The letter of /proc, of a thread that still runs if there is one; empty for none.

    The first thread of a process that ends is a zombie for as long as the others need.
    """
    letters = []
    for thread in Path("/proc").glob(f"{pid}/task/*/stat"):
        with suppress(OSError, IndexError):
            letters.append(thread.read_text().rpartition(")")[2].split()[0])
    return next((letter for letter in letters if letter not in "ZX"), "".join(letters[:1]))


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    deed, folder = sys.argv[1], Path(sys.argv[2])
    if deed == "status":
        return 0 if running(folder) else 3
    return start(folder) if deed == "start" else stop(folder)


if __name__ == "__main__":
    sys.exit(main())
