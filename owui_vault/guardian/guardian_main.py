"""The guardian: a small process that resumes the instance if the run that made it quiet cannot.

Run as a file, with the standard library alone and no site packages (`python -I -S`), so that it is ready within a few
milliseconds. It reads one line of JSON from stdin (`parent`, `rescue`, `environment`, `limit`, `grace`, `record`,
`lock`), says `ready`, and then listens:

    held SECONDS   the instance is quiet now; thaw it after so many seconds
    rescue JSON    this is how to rescue from now on
    done           the instance runs again; go away
    end of file    the run is gone: rescue until it succeeds, look again for `grace` seconds (a request sent just before
                   death may still land), remove the journal's record, and only then let go of the inherited lock

When the limit passes it says `overrun` and rescues, in this order: whoever reads `overrun` too late was still quiet.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress

_PATIENCE_SECONDS = 90.0  # for one rescue; longer than it gives itself
_PAUSE_SECONDS = 0.3
_TRY_SECONDS = 900.0
_FAILED, _GONE = 1, 3  # the latter: what it would bring back does not exist any more (`rescue_command.GONE`)
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)


class Guardian:
    """One life: watch, then perhaps rescue."""

    def __init__(self, line: bytes) -> None:
        task = json.loads(line)
        self.rescue: list[str] = task["rescue"]
        self.environment: dict[str, str] = task["environment"]
        self.grace: float = task["grace"]
        self.record: str = task["record"]
        self.expires: float = time.monotonic() + task["limit"]
        self.overrun = False
        self.buffer = b""
        self.parent = _descriptor_of(task["parent"])
        if task["lock"] is not None:
            os.set_inheritable(task["lock"], False)  # ours alone: a rescue must not keep it

    def watch(self) -> bool:
        """Listen until the run is done (True) or gone (False)."""
        sources = [0] if self.parent is None else [0, self.parent]
        while True:
            left = None if self.overrun else max(0.0, self.expires - time.monotonic())
            readable, _, _ = select.select(sources, [], [], left)
            if not readable:
                self.overrun = True
                _say("overrun")
                self.rescue_until_done()
            elif 0 in readable:
                data = os.read(0, 4096)
                if not data:
                    return False
                if self.hear(data):
                    return True
            else:
                return False  # the parent is dead, though a fork of it still holds our pipe

    def hear(self, data: bytes) -> bool:
        """Take what the run says; whether it is done."""
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            if line == b"done":
                return True
            if line.startswith(b"held "):
                self.expires = time.monotonic() + float(line[5:])
            if line.startswith(b"rescue "):
                self.rescue = json.loads(line[7:])
                _say("understood")
        return False

    def rescue_until_done(self) -> bool:
        """Run the rescue again and again until it succeeds; give up after a long time."""
        until = time.monotonic() + _TRY_SECONDS
        while status := _run(self.rescue, self.environment):
            if status == _GONE or time.monotonic() > until:
                return False
            time.sleep(_PAUSE_SECONDS)
        return True

    def clean_up(self) -> None:
        """The run is gone: bring back, keep looking, strike the record."""
        if not self.rescue_until_done():
            return
        until = time.monotonic() + self.grace
        while time.monotonic() < until:
            time.sleep(min(_PAUSE_SECONDS, self.grace))
            if not self.rescue_until_done():
                return
        if self.record:
            _delete_record(self.record)


def main() -> None:
    """Live once."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(0, 1 << 16)
        if not data:
            return  # the run died before it had begun
        line += data
    guardian = Guardian(line)
    _say("ready")
    if not guardian.watch():
        guardian.clean_up()


def _say(word: str) -> None:
    with suppress(OSError):  # nobody listens any more: that is what we are here for
        os.write(1, word.encode() + b"\n")


def _run(argv: list[str], environment: dict[str, str]) -> int:
    """The status of a rescue; one that could not be run, or took too long, has failed."""
    nowhere = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
    try:
        # Not system/process.py: this program must stand before the package could even be imported.
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=nowhere, setpgroup=0, setsigdef=_IGNORED)
    except OSError:
        return _FAILED
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return _FAILED
        time.sleep(0.005)


def _delete_record(record: str) -> None:
    with suppress(OSError):  # somebody else did it, or the disk is gone; `recover` looks again
        os.unlink(record)  # noqa: PTH108 - pathlib would cost the guardian milliseconds
        folder = os.open(os.path.dirname(record), os.O_RDONLY)  # noqa: PTH120 - likewise
        os.fsync(folder)
        os.close(folder)


def _descriptor_of(parent: int) -> int | None:
    """Readable once the parent is dead, even if a fork of it keeps our pipe open. None where the kernel is too old."""
    try:
        descriptor = os.pidfd_open(parent)
    except OSError:
        return None
    if os.getppid() != parent:  # it died before we looked, and the number may be another's now
        os.close(descriptor)
        return None
    return descriptor


if __name__ == "__main__":
    main()
    sys.exit(0)
