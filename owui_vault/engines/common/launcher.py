"""A small program in front of an engine program. Standard library only; started by path, with `python -I -S`.

    launcher.py run PARENT RECORD -- PROGRAM ARGUMENT…     becomes the program
    launcher.py ask PARENT REQUEST ANSWER -- PROGRAM …     runs it and writes down how it ended

Either way the program ends when PARENT does, however that ends: an engine without its master would go on reading a
stage that is about to vanish, and hold a lock for nobody.

`run` notes in the file RECORD who the program is, and holds a lock on that file (flock) for as long as the program
lives: the kernel drops it, whatever happens. That is how we know our own dead, where process numbers lie (containers,
reboots).

`ask` is for a caller that can hand over nothing but arguments, and wants text on stdout. REQUEST is a named pipe with
one line of JSON (environment, descriptors, timeout, record); whatever comes after that line ends the program. ANSWER is
one for how it ended: a line of JSON, then its stderr. So no secret is in an argument or on a disk.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

CANNOT_RUN = 127
PARENT_GONE = 126
NO_RECORD = 200  # no program's own: 1 is a warning of borg's
_SET_PARENT_DEATH_SIGNAL = 1
_LONGEST_STDERR = 1 << 18
_TICK_SECONDS = 0.1
_PATIENCE = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 3600.0))


def main(arguments: list[str]) -> int:
    """Do what the docstring of this module says."""
    separator = arguments.index("--")
    mode, parent = arguments[0], int(arguments[1])
    options, argv = arguments[2:separator], arguments[separator + 1 :]
    if mode == "run":
        become(parent, options[0], argv)
    return Asked(parent, options[0], options[1]).answer(argv)


def become(parent: int, record: str, argv: list[str]) -> NoReturn:
    """Turn into the program."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job has it ignored, and would hand that down
    die_with(parent, signal.SIGINT)  # restic and borg leave no lock behind on it, SIGTERM is not caught by restic 0.14
    try:
        write_record(record)
    except OSError as error:
        sys.stderr.write(f"cannot record this run in {record}: {error.strerror}\n")
        os._exit(NO_RECORD)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # no shell is what we want
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        os._exit(CANNOT_RUN)


def die_with(parent: int, number: int) -> None:
    """Get this signal when the parent dies, or has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(PARENT_GONE)


def write_record(path: str) -> None:
    """Say who we are in a file that stays locked until we are dead. Nothing is said without a path."""
    if not path:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    record = {"pid": os.getpid(), "host": os.uname().nodename, "user": os.geteuid(), "started": time.time()}
    os.truncate(descriptor, 0)
    os.write(descriptor, json.dumps(record).encode())
    os.set_inheritable(descriptor, True)


class Asked:
    """One program, run for a caller that reads its stdout from ours."""

    def __init__(self, parent: int, request: str, answer: str) -> None:
        self._interrupted = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._interrupt)
        die_with(parent, signal.SIGTERM)
        try:  # without waiting: if the parent is dead by now, nobody will ever open the other ends
            self._request = os.open(request, os.O_RDONLY | os.O_NONBLOCK)
            self._answer = os.open(answer, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            os._exit(PARENT_GONE)
        for descriptor in (self._request, self._answer):
            os.set_blocking(descriptor, True)
        self._wanted: dict[str, Any] = json.loads(self._line())
        self._deadline = time.monotonic() + self._wanted["timeout_seconds"]

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            piece = os.read(self._request, 1)  # not one byte more: what follows means something else
            if not piece:
                os._exit(PARENT_GONE)
            line += piece
        return line

    def _interrupt(self, _number: int, _frame: object) -> None:
        self._interrupted = True

    def answer(self, argv: list[str]) -> int:
        """Run it, tell how it ended, end in the same way."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            self._become(writer, argv)
        os.close(writer)
        stderr, why = self._watch(child, reader)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = json.dumps({"status": status, "why": why, "argv": argv}).encode() + b"\n" + stderr
        while answer:
            answer = answer[os.write(self._answer, answer) :]
        return status if status >= 0 else 128 - status

    def _become(self, stderr: int, argv: list[str]) -> NoReturn:
        parent = os.getppid()
        os.setsid()
        os.dup2(stderr, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, text in self._wanted["descriptors"].items():
            self._hand_over(int(number), text)
        os.environ.clear()
        os.environ.update(self._wanted["environment"])
        become(parent, self._wanted["record"], argv)

    @staticmethod
    def _hand_over(number: int, text: str) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.write(writer, text.encode(errors="surrogateescape"))
        os.close(writer)
        os.dup2(reader, number)

    def _watch(self, child: int, reader: int) -> tuple[bytes, str]:
        """Collect stderr until the program ends or has to be ended."""
        stderr, why, stages = b"", "", iter(_PATIENCE)
        until = self._deadline
        while not _has_ended(child):
            ready = select.select([reader], [], [], _TICK_SECONDS)[0]
            piece = os.read(reader, 1 << 16) if ready else b""
            stderr = (stderr + piece)[-_LONGEST_STDERR:]
            if piece and self._is_hopeless(piece):
                until = min(until, time.monotonic() + self._wanted["hopeless_seconds"])
                self._wanted["hopeless"] = ""
            if ready and not piece:
                time.sleep(0.005)
            cancelled = self._interrupted or bool(select.select([self._request], [], [], 0)[0])
            if time.monotonic() > until or (cancelled and not why):
                why = why or ("cancelled" if cancelled else "timeout")
                number, patience = next(stages)
                _signal_group(child, number)
                until = time.monotonic() + patience
        _kill_session(child)  # whatever it had started; by now its own zombie keeps the number ours
        return stderr + _rest(reader), why

    def _is_hopeless(self, said: bytes) -> bool:
        """Whether it complains of what trying again does not mend."""
        pattern = self._wanted["hopeless"]
        return bool(pattern and re.search(pattern, said.decode(errors="replace"), re.IGNORECASE))


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(child: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # not yet a group, or nobody left
        os.killpg(child, number)


def _kill_session(leader: int) -> None:
    """Restic 0.19 gives its ssh a group of its own, and leaves it behind when the host is silent."""
    for name in os.listdir("/proc"):
        with suppress(ValueError, ProcessLookupError, PermissionError):
            if int(name) != leader and os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)


def _rest(reader: int) -> bytes:
    os.set_blocking(reader, False)
    found = b""
    try:
        while piece := os.read(reader, 1 << 16):
            found += piece
    except BlockingIOError:
        pass  # somebody in a session of his own still holds it open
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
