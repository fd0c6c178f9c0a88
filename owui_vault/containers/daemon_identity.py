"""Whether a container engine was restarted since a given moment.

If an engine dies without live-restore, its containers die with it, paused ones too, and inspecting one afterwards looks
just as if a person had stopped it: the same states, the same exit code. This tells the two apart.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from urllib.parse import urlsplit

from owui_vault.system import procfs
from owui_vault.system.procfs import ProcessIdentity

_DAEMON = "dockerd"  # Podman has none: what its service does not survive, its containers do
_CREDENTIALS = struct.Struct("3i")  # pid, user, group
_SECONDS = 5.0
_IN_A_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


def daemon_start_id(address: str) -> str:
    """Another text after each start of the engine that answers here; empty where that cannot be told.

    Raises OSError when nothing listens at a socket of this machine.
    """
    parts = urlsplit(address)
    if parts.scheme in ("unix", "http+unix"):
        identities = _engines(_listener(parts.path))
    elif any(path.exists() for path in _IN_A_CONTAINER):
        identities = _ourselves()
    else:
        return ""
    return "+".join([procfs.boot_id(), *sorted(map(str, identities))])


def _listener(path: str) -> int:
    """Who began to listen at this socket; 0 for a process that is not to be seen from here."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(path)
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(told)[0]
    return pid


def _engines(listener: int) -> frozenset[ProcessIdentity]:
    if listener > 1 and procfs.name_of(listener) == _DAEMON:
        identity = procfs.identify(listener)
        return frozenset({identity} if identity else ())
    # systemd listens for an engine that it starts on demand: then every engine of this machine counts.
    daemons = {each.identity for each in procfs.processes() if procfs.name_of(each.identity.pid) == _DAEMON}
    return frozenset(daemons) or _ourselves()


def _ourselves() -> frozenset[ProcessIdentity]:
    """The first process here: of this machine, or of the container we run in, which ends with its engine."""
    first = procfs.identify(1)
    return frozenset({first} if first else ())
