"""A link to a server that can fail: a TCP proxy on loopback, and one that understands HTTP.

Between an engine and a server of our own. Each counts what the engine sent, and is told at any moment how to go wrong.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PIECE = 1 << 14
_OF_ONE_HOP = ("content-length", "transfer-encoding", "connection", "expect")


@dataclass(slots=True)
class Link:
    """What the link does to the bytes that pass. Set at any moment; `cut_after` counts what the engine sends."""

    port: int
    sent_bytes: int = 0
    cut_after: int | None = None  # from then on every connection is reset, and no new one is taken
    hang_after: int | None = None  # from then on nothing passes any more, and nobody is told
    pause_seconds: float = 0.0  # for each 16 KiB
    status: int | None = None  # HTTP only: the answer, with `said`, to what matches `methods` and `paths`
    said: bytes = b"refused by the link\n"
    methods: str = "GET|HEAD|POST|PUT|DELETE"
    paths: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def heal(self) -> None:
        """Be a good link from now on."""
        self.cut_after = self.hang_after = self.status = None
        self.pause_seconds = 0.0

    def pass_on(self, size: int) -> bool:
        """Whether the engine's next bytes reach the server."""
        with self._lock:
            if self.cut_after is not None and self.sent_bytes >= self.cut_after:
                return False
            self.sent_bytes += size
        if self.pause_seconds:
            time.sleep(self.pause_seconds)
        while self.hang_after is not None and self.sent_bytes >= self.hang_after:
            time.sleep(0.02)
        return True

    @property
    def is_cut(self) -> bool:
        """Whether no connection is taken any more."""
        return self.cut_after is not None and self.sent_bytes >= self.cut_after

    def refusal(self, method: str, path: str) -> int | None:
        """The status to answer instead of the server."""
        matches = re.fullmatch(self.methods, method) and re.search(self.paths, path)
        return self.status if matches else None


def _reset(connection: socket.socket) -> None:
    """Close it as a network that breaks does: without a farewell."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()


@contextmanager
def tcp_link(server_port: int) -> Iterator[Link]:
    """A link for any protocol."""
    listener = socket.create_server(("127.0.0.1", 0))
    link = Link(port=listener.getsockname()[1])
    open_ones: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket, *, counted: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                if counted and not link.pass_on(len(piece)):
                    _reset(source)
                    _reset(target)
                    return
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                if link.is_cut:
                    _reset(client)
                    continue
                server = socket.create_connection(("127.0.0.1", server_port))
                open_ones.extend((client, server))
                for source, target, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=pump, args=(source, target), kwargs={"counted": counted}, daemon=True
                    ).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield link
    finally:
        link.heal()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in open_ones:
            each.close()


class _Relay(BaseHTTPRequestHandler):
    """Passes each request on, or answers it as the link was told to."""

    protocol_version = "HTTP/1.1"
    link: Link
    server_port: int

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the standard library
        pass

    def relay(self) -> None:
        body = self.body()
        if not self.link.pass_on(len(body)):
            _reset(self.connection)
            self.close_connection = True
            return
        refused = self.link.refusal(self.command, self.path)
        if refused is not None:
            self.answer(refused, [], self.link.said)
            return
        server = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
        if body:
            headers["Content-Length"] = str(len(body))
        server.request(self.command, self.path, body or None, headers)
        with closing(server), closing(server.getresponse()) as response:
            self.answer(response.status, response.getheaders(), response.read())

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = relay  # noqa: N815  # names of the standard library


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever goes away in the middle is what these tests are about."""


@contextmanager
def http_link(server_port: int, certificate: tuple[str, str] | None = None) -> Iterator[Link]:
    """A link for HTTP, which answers by itself where it is told to; with `certificate` (file, key) it speaks TLS."""
    server = _Server(("127.0.0.1", 0), _Relay)
    link = Link(port=server.server_port)
    server.RequestHandlerClass = type("Relay", (_Relay,), {"link": link, "server_port": server_port})
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield link
    finally:
        link.heal()
        server.shutdown()
        server.server_close()
