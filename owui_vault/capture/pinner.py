"""The process that pins: a fork of the child that opens nothing but databases, through SQLite.

A process that closes any descriptor of a database drops all the locks it holds on it, and the child reads databases as
files. This one ends with the child, and its locks end with it.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sqlite3
from contextlib import suppress
from dataclasses import asdict

from owui_vault.capture.errors import AttemptFailedError
from owui_vault.capture.messages import Answer, part, parts, texts, whole
from owui_vault.capture.pin import Pin, at_one_moment
from owui_vault.capture.ties import tie_to
from owui_vault.capture.wal import Commit

_LOOK_EVERY_SECONDS = 0.02


class Pinner:
    """The child's end of the talk. Every call raises AttemptFailedError."""

    def __init__(self, growth_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(theirs.detach(), parent, growth_bytes)
        theirs.close()
        self._channel = ours
        self._lines = ours.makefile("r", encoding="ascii")

    def pin(self, name: str, real: str) -> None:
        """Pin a database. From here on all that is changed in it stays in its log."""
        self._ask("pin", name=name, real=real)

    def at_one_moment(self, names: list[str]) -> tuple[int, dict[str, Commit]]:
        """When it was, and the last commit of each then."""
        told = self._ask("moment", names=names)
        commits = {str(each["name"]): _commit(part(each["commit"])) for each in parts(told, "commits")}
        return whole(told, "at_ns"), commits

    def dismiss(self) -> None:
        """That moment is of no interest any more."""
        self._ask("dismiss")

    def testimony(self, name: str) -> dict[str, str]:
        """What a database answered to which statements at that moment, which is let go."""
        told = part(self._ask("testimony", name=name)["told"])
        return {statement: str(answer) for statement, answer in told.items()}

    def demand(self, name: str) -> None:
        """See that a database is still held."""
        self._ask("demand", name=name)

    def release(self, name: str) -> None:
        """Let a database go."""
        self._ask("release", name=name)

    def end(self) -> None:
        """End the process, and with it every pin."""
        self._lines.close()
        self._channel.close()
        os.waitpid(self.pid, 0)

    def _ask(self, deed: str, **details: object) -> Answer:
        line = ""
        with suppress(OSError):
            self._channel.sendall(json.dumps({"do": deed, **details}).encode() + b"\n")
            line = self._lines.readline()
        if not line:
            raise RuntimeError("the process that pins the databases is gone")
        answer: Answer = json.loads(line)
        if "failed" in answer:
            raise AttemptFailedError(str(answer["failed"]))
        return answer


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
    try:
        tie_to(parent)
        nothing = os.open(os.devnull, os.O_RDWR)
        for each in (0, 1):
            os.dup2(nothing, each)
        os.dup2(channel, 3)
        for each in (int(name) for name in os.listdir("/proc/self/fd")):
            if each > 3:
                with suppress(OSError):  # the one the listing itself was read through
                    os.close(each)
        serve(socket.socket(fileno=3), growth_bytes)
    finally:
        os._exit(0)


def serve(channel: socket.socket, growth_bytes: int) -> None:
    """Obey until the other end is closed, and between the calls see to it that nothing is held for long."""
    pins = Pins(growth_bytes)
    lines = channel.makefile("r", encoding="ascii")
    while True:
        ready, _, _ = select.select([channel], [], [], _LOOK_EVERY_SECONDS if pins.by_name else None)
        for pin in pins.by_name.values():
            pin.take_turns()
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
                    pin.dismiss()
            case "testimony":
                pin = self.by_name[name]
                pin.demand()
                told_by = pin.testimony()
                pin.dismiss()
                return {"told": told_by}
            case "demand":
                self.by_name[name].demand()
            case "release":
                self.by_name.pop(name).release()
            case other:
                raise AssertionError(f"nobody can {other}")
        return {}
