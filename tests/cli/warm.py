"""Runs the program as often as wanted, and imports it once: each run is a fork, and takes two thirds of a second less.

    python tests/cli/warm.py SOCKET-DESCRIPTOR

Each request is a message of JSON (`arguments`, `folder`, `environment`) with the three standard streams as descriptors.
The answers are the number of the process, at once, and its status, as `os.waitpid` gives it, at its end. What a run
does is what `python -m owui_vault` does: `main`, from its arguments to the end of the interpreter.
"""

from __future__ import annotations

import array
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

_STREAMS = 3
_LARGEST = 1 << 18
_PATIENCE_SECONDS = 120.0
_NOT_OURS = ("_main", "__main__", "rescue")  # programs of their own
ROOT = Path(__file__).resolve().parents[2]


class WarmProgram:
    """A process that has imported the program."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": os.fspath(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], streams: Sequence[int]
    ) -> int:
        """Run it to its end, with these descriptors as its standard streams: its exit code."""
        request = {"arguments": list(arguments), "folder": os.fspath(folder), "environment": dict(environment)}
        told = json.dumps(request).encode()
        self._ours.sendmsg([told], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))])
        number = int(self._ours.recv(64))
        self._ours.settimeout(_PATIENCE_SECONDS)
        try:
            return os.waitstatus_to_exitcode(int(self._ours.recv(64)))
        except TimeoutError:
            os.kill(number, signal.SIGKILL)
            raise
        finally:
            self._ours.settimeout(None)

    def end(self) -> None:
        """End it."""
        self._ours.close()
        self._process.wait(60)


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork for each request: None here, once nobody asks any more; the request there."""
    while True:
        told, rights, _, _ = connection.recvmsg(_LARGEST, socket.CMSG_SPACE(_STREAMS * array.array("i").itemsize))
        if not told:
            return None
        streams = array.array("i")
        for _, _, data in rights:
            streams.frombytes(data)
        child = os.fork()
        if child == 0:
            connection.close()
            for number, descriptor in enumerate(streams):
                os.dup2(descriptor, number)
                os.close(descriptor)
            request: dict[str, Any] = json.loads(told)
            return request
        for descriptor in streams:
            os.close(descriptor)
        connection.send(f"{child}".encode())
        connection.send(f"{os.waitpid(child, 0)[1]}".encode())


def _import_everything() -> None:
    """As the commands do it when they are needed: the entry first."""
    import_module("owui_vault.cli.run")
    import owui_vault  # noqa: PLC0415  the entry first

    for each in pkgutil.walk_packages(owui_vault.__path__, "owui_vault."):
        if not each.name.startswith("owui_vault.testing") and not each.name.endswith(_NOT_OURS):
            with suppress(ImportError):  # an optional package that is not installed
                import_module(each.name)


def _turn_into(request: dict[str, Any]) -> None:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv[1:] = request["arguments"]


if __name__ == "__main__":
    _import_everything()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is None:
        raise SystemExit(0)
    _turn_into(asked)
    from owui_vault.cli import main

    raise SystemExit(main())
