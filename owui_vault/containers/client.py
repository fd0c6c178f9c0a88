"""A container engine's HTTP interface by the standard library: a rescue has nothing else, and is ready in milliseconds.

Docker's and Podman's sockets speak it alike; where their status codes differ, nobody here decides by them. Paths name
no version: each engine then speaks its own, and a rescue need not ask for it first.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from owui_vault.containers.container_inspect import ContainerInspect, parse
from owui_vault.errors import InstanceNotFoundError, QuiesceError

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
FORBIDDEN_HINT = (
    "A socket proxy is in front of the engine and has to allow this call;"
    " docs/docker.md lists the calls that are needed."
)
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine answered to one call. `call` is `GET /path`, for messages."""

    call: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def complaint(self) -> str:
        """The engine's own words for what went wrong, else its status."""
        try:
            return str(json.loads(self.body)["message"]).strip()
        except (ValueError, KeyError, TypeError):
            return f"status {self.status}"


def call(address: str, method: str, path: str, *, seconds: float = _SECONDS, most: int | None = None) -> Answer:
    """One call to the engine at `unix:///path` or `tcp://host:port`; of a longer answer only `most` + 1 bytes are read.

    `seconds` bounds each wait for it. Raises OSError or HTTPException when it does not answer, ValueError for what is
    no engine's address.
    """
    connection = _connection(address, seconds)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read() if most is None else answer.read(most + 1)
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(f"{method} {path.partition('?')[0]}", answer.status, headers, body)
    finally:
        connection.close()


def path_of(kind: str, name: str, rest: str) -> str:
    """`/containers/NAME/json`. The ids of images have colons in them."""
    return f"/{kind}/{quote(name, safe=':')}{rest}"


@dataclass(frozen=True, slots=True)
class HttpEngine:
    """An engine, for those that make containers quiet and bring them back.

    Raises QuiesceError when it does not answer.
    """

    address: str

    def inspect(self, container: str) -> ContainerInspect:
        """The container now. Raises InstanceNotFoundError."""
        answer = self._call("GET", path_of("containers", container, "/json"))
        if answer.status == 404:
            raise InstanceNotFoundError(f"there is no container {container}", hint="Check instance.container.")
        if answer.status != 200:
            raise QuiesceError(
                f"the engine cannot inspect container {container}: {answer.complaint}",
                hint=FORBIDDEN_HINT if answer.status == 403 else "",
            )
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        inspected = parse(told) if isinstance(told, dict) else None
        if inspected is None or not inspected.id or not inspected.status:
            raise QuiesceError(f"unexpected answer from the engine about container {container}")
        return inspected

    def ask(self, container: str, verb: str, *, seconds: float = _SECONDS) -> str:
        """`unpause`, `start`: what the engine complained about, or nothing. Look afterwards: codes differ by engine."""
        answer = self._call("POST", path_of("containers", container, f"/{verb}"), seconds)
        if answer.status == 403:
            return f"{answer.call} is forbidden ({answer.complaint})"
        return "" if answer.status < 400 else answer.complaint

    def _call(self, method: str, path: str, seconds: float = _SECONDS) -> Answer:
        try:
            return call(self.address, method, path, seconds=seconds)
        except ValueError as error:
            raise QuiesceError(str(error), hint="unix:///path and tcp://host:port are supported.") from error
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(self.address, error) from error


def is_forbidden(complaint: str) -> bool:
    """Whether `HttpEngine.ask` answers that a proxy stands before the engine."""
    return " is forbidden (" in complaint


def no_answer(address: str, error: Exception) -> QuiesceError:
    """The engine cannot be reached: why, and what to do about it."""
    if isinstance(error, PermissionError):
        hint = "Run this as root, or let this user into the group that owns the socket."
    else:
        hint = "Is the engine running? Set its socket if it is a different one."
    return QuiesceError(f"no container engine answers at {address}: {error}", hint=hint)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(address: str, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(address)
    if parts.scheme in ("unix", "http+unix"):
        return _SocketConnection(parts.path, seconds)
    if parts.scheme in ("tcp", "http") and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=seconds)
    raise ValueError(f"{address} is not the address of a container engine")
