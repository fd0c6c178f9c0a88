"""Ports for servers that are told their port, and take it a moment later."""

from __future__ import annotations

import os
import random
import socket

_FIRST, _EACH = 10_000, 1_000  # below the ports that the kernel gives to outgoing connections


def free_port() -> int:
    """One that nobody listens at, out of a thousand that no other worker of a parallel run chooses from.

    Of one that two had found free, each would take the other's server for its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
    while True:
        port = random.randrange(_EACH) + _FIRST + _EACH * worker
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
