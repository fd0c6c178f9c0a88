"""A proxy before the engine's socket that does not let every call through, and sockets in unusual places."""

from __future__ import annotations

import http.client
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from owui_vault import Container, InstanceError, InstanceNotFoundError, Vault
from owui_vault.containers.reader import engine_addresses
from owui_vault.instance.container.container import find_container
from owui_vault.instance.container.discovery import candidates
from tests.docker.conftest import Instance

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
SOCKET = "/var/run/docker.sock"


class Upstream(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def passed_on(method: str, path: str) -> tuple[int, bytes, dict[str, str]]:
    upstream = Upstream("localhost")
    upstream.request(method, path)
    answer = upstream.getresponse()
    body = answer.read()
    upstream.close()
    about_itself = ("content-length", "transfer-encoding", "connection")
    return answer.status, body, {key: value for key, value in answer.getheaders() if key.lower() not in about_itself}


def handler(forbidden: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "socket"

        def pass_on(self) -> None:
            is_forbidden = re.search(forbidden, f"{self.command} {self.path.partition('?')[0]}")
            refusal: tuple[int, bytes, dict[str, str]] = (403, b"<html><body><h1>403 Forbidden</h1></body></html>", {})
            status, body, headers = refusal if is_forbidden else passed_on(self.command, self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        def do_GET(self) -> None:
            self.pass_on()

        def do_HEAD(self) -> None:
            self.pass_on()

    return Handler


@contextmanager
def proxy(place: Path, forbidden: str) -> Iterator[str]:
    """Its address. Calls that match are answered as HAProxy answers them."""
    server = socketserver.ThreadingUnixStreamServer(str(place), handler(forbidden))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"unix://{place}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("forbidden", "named"),
    [
        (r"^GET .*/containers/json$", "GET /containers/json"),
        (r"^GET .*/containers/\w+/json$", r"GET /containers/\w+/json"),
        (r"^GET .*/archive$", r"GET /containers/\w+/archive"),
        (r"^GET .*/images/", "GET /images/"),
        (r"^GET .*/volumes/", "GET /volumes/"),
        (r"^GET /version$", "GET /version"),
    ],
)
def test_a_call_that_is_forbidden_is_named_and_nothing_is_guessed(
    run: Callable[..., Instance], tmp_path: Path, forbidden: str, named: str
) -> None:
    instance = run("--no-healthcheck", "--label=autoheal=false")
    with proxy(tmp_path / "proxy.sock", forbidden) as address, pytest.raises(InstanceError, match=named) as caught:
        find_container(instance.name, (address,))
    assert "forbids" in caught.value.message
    assert "docs/docker.md" in caught.value.hint


@pytest.mark.parametrize(
    ("forbidden", "named"),
    [("^GET .*/containers/json$", "GET /containers/json"), ("^HEAD .*/archive$", r"HEAD /containers/\w+/archive")],
)
def test_a_search_that_is_forbidden_is_named_too(
    run: Callable[..., Instance], tmp_path: Path, forbidden: str, named: str
) -> None:
    """Where a file may not be looked at, it is not a file that is not there."""
    run("--no-healthcheck")
    with (
        proxy(tmp_path / "proxy.sock", forbidden) as address,
        pytest.raises(InstanceError, match=f"forbids {named}"),
    ):
        candidates((address,))


def test_a_proxy_that_lets_the_needed_calls_through_is_enough(run: Callable[..., Instance], tmp_path: Path) -> None:
    instance = run("--no-healthcheck")
    with proxy(tmp_path / "proxy.sock", r"/(info|events|exec|networks)\b|^POST .*/create") as address:
        vault = Vault(Container(instance.name, engine=address), [], state_dir=tmp_path / "state")
        assert vault.inspect().container


def test_sockets_of_docker_desktop_and_of_the_user_behind_sudo_are_looked_for(tmp_path: Path) -> None:
    def listens(path: Path) -> socket.socket:
        path.parent.mkdir(parents=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        return listener

    home = tmp_path / "home"
    with listens(home / ".docker/desktop/docker.sock"), listens(tmp_path / "run/podman/podman.sock"):
        found = engine_addresses({"HOME": str(home), "XDG_RUNTIME_DIR": str(tmp_path / "run")})
    assert f"unix://{home}/.docker/desktop/docker.sock" in found
    assert f"unix://{tmp_path}/run/podman/podman.sock" in found


def test_the_runtime_folder_of_the_user_behind_sudo_is_looked_into(tmp_path: Path) -> None:
    folder = Path("/run/user/54321")
    folder.mkdir(parents=True)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "docker.sock"))
            assert f"unix://{folder}/docker.sock" in engine_addresses({"SUDO_UID": "54321"})
    finally:
        (folder / "docker.sock").unlink(missing_ok=True)
        folder.rmdir()


def test_an_engine_behind_ssh_is_told_what_works() -> None:
    with pytest.raises(InstanceNotFoundError, match="another machine") as caught:
        find_container("open-webui", ("ssh://somewhere",))
    assert "as a container beside" in caught.value.hint


def test_no_engine_names_the_sidecar() -> None:
    with pytest.raises(InstanceNotFoundError) as caught:
        candidates(())
    assert "docs/docker.md" in caught.value.hint
