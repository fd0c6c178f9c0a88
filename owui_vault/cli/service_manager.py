"""What a service tells systemd that started it: that it is up, that it lives, that it ends."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

#: What belongs to the service alone; whatever it starts must not speak in its name.
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def notify(environ: Mapping[str, str], state: str) -> None:
    """Send one state (`READY=1`), where somebody listens. Nothing depends on whether it is heard."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address.startswith(("/", "@")):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)  # nothing waits for a listener that does not read
            channel.connect(f"\0{address[1:]}" if address[0] == "@" else address)
            channel.send(state.encode())


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Within how long it has to say that it lives; None: nobody asks."""
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() and int(text) else None
