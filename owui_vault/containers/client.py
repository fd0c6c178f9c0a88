"""A container engine's HTTP API, using only the standard library: what a rescue needs, ready in milliseconds.

Docker and Podman have the same API; where their status codes differ, nothing here depends on them.
"""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from owui_vault.containers.status import ContainerState, parse
from owui_vault.errors import InstanceNotFoundError, QuiesceError

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
FORBIDDEN_HINT = "A socket proxy in front of the engine blocks this call; docs/docker.md lists the calls it must allow."
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class HttpEngine:
    """The engine at `unix:///path` or `tcp://host:port`. Raises QuiesceError when it does not answer."""

    address: str

    def inspect(self, container: str) -> ContainerState:
        """The container's state now. Raises InstanceNotFoundError."""
        status, body = self._call("GET", f"/containers/{quote(container, safe='')}/json")
        if status == 404:
            raise InstanceNotFoundError(f"there is no container {container}", hint="Check instance.container.")
        if status != 200:
            raise QuiesceError(
                f"the engine cannot inspect container {container}: {_complaint(status, body)}",
                hint=FORBIDDEN_HINT if status == 403 else "",
            )
        return parse(json.loads(body))

    def ask(self, container: str, verb: str) -> str:
        """`unpause`, `start`: what the engine complained about, or nothing. Look afterwards: codes differ by engine."""
        status, body = self._call("POST", f"/containers/{quote(container, safe='')}/{verb}")
        if status == 403:
            return f"POST /containers/{container}/{verb} is forbidden ({_complaint(status, body)}). {FORBIDDEN_HINT}"
        return "" if status < 400 else _complaint(status, body)

    def _call(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            connection = _connection(self.address)
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(self.address, error) from error


def no_answer(address: str, error: Exception) -> QuiesceError:
    """The engine cannot be reached: why, and what to do about it."""
    if isinstance(error, PermissionError):
        hint = "Run this as root, or let this user into the group that owns the socket."
    else:
        hint = "Is the engine running? Set its socket if it is a different one."
    return QuiesceError(f"no container engine answers at {address}: {error}", hint=hint)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(address: str) -> http.client.HTTPConnection:
    parts = urlsplit(address)
    if parts.scheme in ("unix", "http+unix"):
        return _SocketConnection(parts.path)
    if parts.scheme in ("tcp", "http") and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=_SECONDS)
    raise QuiesceError(
        f"{address} is not the address of a container engine", hint="unix:///path and tcp://host:port are supported."
    )


def _complaint(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return f"status {status}"
