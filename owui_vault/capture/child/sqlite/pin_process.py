"""The process that pins: a fork of the child that opens nothing but databases, through SQLite.

A process that closes any descriptor of a database drops all the locks it holds on it, and the child reads databases as
files. This one ends with the child, and its locks end with it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import time
import traceback
from contextlib import suppress
from dataclasses import asdict

from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.messages import Answer, part, parts, texts, whole
from owui_vault.capture.child.sqlite.pin import Pin, at_one_moment
from owui_vault.capture.child.sqlite.wal import Commit
from owui_vault.system.parent_death import die_with_parent
from owui_vault.system.unwinding import on_failure

_LOOK_EVERY_SECONDS = 0.02
_ANSWER_SECONDS = 60.0  # the longest answers count the rows of 32 MiB, or wait for a slow disk
_END_SECONDS = 1.0


class PinnerGoneError(AttemptFailedError):
    """The process ended, or does not answer: nothing is held any more."""


class Pinner:
    """The child's end of the talk. Every call raises AttemptFailedError; PinnerGoneError, from then on, at its end."""

    def __init__(self, growth_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(theirs.detach(), parent, growth_bytes)
        theirs.close()
        self.gone = ""  # why it is
        self._channel = ours
        self._channel.settimeout(_ANSWER_SECONDS)
        self._lines = ours.makefile("r", encoding="ascii")

    def pin(self, name: str, real: str) -> None:
        """Pin a database. From here on all that is changed in it stays in its log."""
        self._ask("pin", name=name, real=real)

    def at_one_moment(self, names: list[str]) -> tuple[int, dict[str, Commit]]:
        """When it was, and the last commit of each then."""
        told = self._ask("moment", names=names)
        commits = {str(each["name"]): _commit(part(each["commit"])) for each in parts(told, "commits")}
        return whole(told, "at_ns"), commits

    def end_reference(self) -> None:
        """That moment is of no interest any more."""
        self._ask("dismiss")

    def reference_answers(self, name: str) -> dict[str, str]:
        """What a database answered to which statements at that moment, which is let go."""
        told = part(self._ask("testimony", name=name)["told"])
        return {statement: str(answer) for statement, answer in told.items()}

    def require_held(self, name: str) -> None:
        """See that a database is still held."""
        self._ask("demand", name=name)

    def release(self, name: str) -> None:
        """Let a database go."""
        self._ask("release", name=name)

    def end(self) -> None:
        """End the process, and with it every pin."""
        self._lines.close()
        self._channel.close()
        if not self.gone:
            self._reap()

    def _ask(self, deed: str, **details: object) -> Answer:
        if self.gone:
            raise PinnerGoneError(self.gone)
        line, silent = "", False
        try:
            with suppress(BrokenPipeError):  # nobody is at the other end, but its last words may still be there
                self._channel.sendall(json.dumps({"do": deed, **details}).encode() + b"\n")
            line = self._lines.readline()
        except TimeoutError:
            silent = True
        except OSError:
            line = ""
        answer: Answer = json.loads(line) if line.endswith("\n") else {"died": "it does not answer" if silent else ""}
        if "died" in answer:
            status = self._reap(patience_seconds=0.0 if silent else _END_SECONDS)
            why = str(answer["died"]) or f"status {status}"
            self.gone = f"the process pinning the databases is gone: {why}"
            raise PinnerGoneError(self.gone)
        if "failed" in answer:
            raise AttemptFailedError(str(answer["failed"]))
        return answer

    def _reap(self, *, patience_seconds: float = _END_SECONDS) -> int:
        """End the process; its exit status. One that waits inside the kernel is left to do so."""
        until = time.monotonic() + patience_seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            if time.monotonic() > until + _END_SECONDS:
                return -signal.SIGKILL
            time.sleep(0.002)


def _commit(told: Answer) -> Commit:
    one, two = (int(each) for each in texts(told, "checksum"))
    return Commit(
        change=whole(told, "change"),
        frames=whole(told, "frames"),
        pages=whole(told, "pages"),
        page_bytes=whole(told, "page_bytes"),
        salt=str(told["salt"]),
        checksum=(one, two),
    )


def _become(channel: int, parent: int, growth_bytes: int) -> None:
    """Be that process, and nothing of the one it was: what came with the fork is closed before anything is pinned."""
    status = 1
    try:
        die_with_parent(parent)
        nothing = os.open(os.devnull, os.O_RDWR)
        for each in (0, 1):
            os.dup2(nothing, each)
        os.dup2(channel, 3)
        for each in (int(name) for name in os.listdir("/proc/self/fd")):
            if each > 3:
                with suppress(OSError):  # the one the listing itself was read through
                    os.close(each)
        serve(socket.socket(fileno=3), growth_bytes)
        status = 0
    finally:
        if status:  # stderr is the child's, which tells what was said there last if it ends as well
            os.write(2, traceback.format_exc().encode(errors="replace"))
        os._exit(status)


def serve(channel: socket.socket, growth_bytes: int) -> None:
    """Obey until the other end is closed, and between the calls see to it that nothing is held for long.

    What was not foreseen ends it, and is the answer to the question that is, or comes, next.
    """

    def say(error: BaseException) -> None:
        with suppress(OSError):
            channel.sendall(json.dumps({"died": f"{type(error).__name__}: {error}"}).encode() + b"\n")

    with on_failure(say):
        _obey_all(channel, growth_bytes)


def _obey_all(channel: socket.socket, growth_bytes: int) -> None:
    pins = Pins(growth_bytes)
    lines = channel.makefile("r", encoding="ascii")
    while True:
        ready, _, _ = select.select([channel], [], [], _LOOK_EVERY_SECONDS if pins.by_name else None)
        for pin in pins.by_name.values():
            pin.follow_if_due()
        if not ready:
            continue
        line = lines.readline()
        if not line:
            return
        try:
            answer = pins.obey(json.loads(line))
        except AttemptFailedError as failed:
            answer = {"failed": str(failed)}
        except (OSError, sqlite3.Error) as error:  # a database that went away between the look at it and its opening
            answer = {"failed": str(error)}
        channel.sendall(json.dumps(answer).encode() + b"\n")


class Pins:
    """The databases held, by name."""

    def __init__(self, growth_bytes: int) -> None:
        self.by_name: dict[str, Pin] = {}
        self._growth_bytes = growth_bytes

    def obey(self, message: Answer) -> Answer:
        """Do what one message asks for. Raises AttemptFailedError, OSError."""
        name = str(message.get("name", ""))
        match message["do"]:
            case "pin":
                self.by_name[name] = Pin(name, str(message["real"]), self._growth_bytes)
            case "moment":
                names = texts(message, "names")
                at_ns, commits = at_one_moment([self.by_name[each] for each in names])
                told = [{"name": each, "commit": asdict(commit)} for each, commit in zip(names, commits, strict=True)]
                return {"at_ns": at_ns, "commits": told}
            case "dismiss":
                for pin in self.by_name.values():
                    pin.end_reference()
            case "testimony":
                pin = self.by_name[name]
                pin.require_held()
                told_by = pin.reference_answers()
                pin.end_reference()
                return {"told": told_by}
            case "demand":
                self.by_name[name].require_held()
            case "release":
                self.by_name.pop(name).release()
            case other:
                raise AssertionError(f"nobody can {other}")
        return {}
