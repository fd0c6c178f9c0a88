"""One real Open WebUI in a container, its data in a named volume; the application is mounted into our own image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from tests.e2e import service
from tests.e2e.installation import ROOT, installed
from tests.e2e.server import free_port, settings
from tests.e2e.site import Server, Site, provided

IMAGE = "owui-vault-e2e"
HEALTH_SECONDS = 240.0


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


def ready() -> None:
    """An engine that answers, and the image."""
    subprocess.run([ROOT / "tools" / "engine-up"], check=True)
    subprocess.run([Path(__file__).with_name("build-image")], check=True)


def bridge() -> str:
    """Where a container finds this machine."""
    (network,) = json.loads(docker("network", "inspect", "bridge"))
    return gateway_of(network)


def gateway_of(network: Mapping[str, Any]) -> str:
    """The gateway of a network as the engine tells it.

    An engine that was started for the first time names none for its own bridge until it is started again; it takes the
    first address of the subnet.
    """
    (config,) = network["IPAM"]["Config"][:1]
    return str(config.get("Gateway") or next(ip_network(config["Subnet"]).hosts()))


@dataclass
class ContainerWebUI:
    """One container. `mount` is a volume's name or a directory of this machine."""

    name: str
    mount: str
    provider: str
    secret_key: str | None = None
    port: int = field(default_factory=free_port)

    def create(self) -> None:
        program = installed()
        interpreter = Path(os.path.realpath(program / "bin" / "python")).parents[1]
        values = settings(self.provider) | {"PYTHON": f"{program}/bin/python"}
        if self.secret_key:
            values["WEBUI_SECRET_KEY"] = self.secret_key
        given = [word for name, value in values.items() for word in ("--env", f"{name}={value}")]
        places = [f"{self.mount}:/app/backend/data", f"{program}:{program}:ro", f"{interpreter}:{interpreter}:ro"]
        mounts = [word for place in places for word in ("--volume", place)]
        docker(
            "create", "--name", self.name, "--publish", f"127.0.0.1:{self.port}:8080", "--restart", "unless-stopped",
            *given, *mounts, IMAGE,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Start it; the seconds until it answered."""
        began = time.monotonic()
        docker("start", self.name)
        while not service.answers(self.port):
            if time.monotonic() > began + HEALTH_SECONDS or not self._is_up():
                raise RuntimeError(f"{self.name} does not come up:\n{self.last_words()}")
            time.sleep(0.3)
        return time.monotonic() - began

    def stop(self) -> None:
        docker("stop", "--time", "60", self.name)

    def remove(self) -> None:
        with suppress(RuntimeError):
            docker("rm", "--force", self.name)

    def key(self) -> str:
        """The secret key it made for itself, in its own layer."""
        return docker("exec", self.name, "cat", "/app/backend/.webui_secret_key")

    def last_words(self) -> str:
        return docker("logs", "--tail", "25", self.name)

    def _is_up(self) -> bool:
        state = json.loads(docker("inspect", "--format", "{{json .State}}", self.name))
        return bool(state["Running"]) and not state["Restarting"]


def version() -> str:
    return docker("version", "--format", "{{.Server.Version}}")


@dataclass
class ContainerSite(Site):
    """Open WebUI in a container with a named volume."""

    @property
    def server(self) -> ContainerWebUI:
        assert isinstance(self.live, ContainerWebUI)
        return self.live

    def configure_all(self) -> None:
        self.configure("live", f"container: {self.server.name}")

    @contextmanager
    def copy(self, data_dir: Path, secret_key: str) -> Iterator[Server]:
        server = ContainerWebUI(f"{self.server.name}-{next(self.numbers)}", str(data_dir), self.provider, secret_key)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.remove()

    @contextmanager
    def live_is_gone(self) -> Iterator[None]:
        """A container sees its own mounts only."""
        yield

    def move_paths(self, data_dir: Path) -> None:
        """It is mounted where the old one was."""


@contextmanager
def container_site(folder: Path) -> Iterator[Site]:
    """A new one, with a started instance; containers and volume are removed at the end, the folder stays."""
    ready()
    name = f"open-webui-{folder.name.lower()}"
    with provided(folder, bridge()) as url:
        live = ContainerWebUI(name, name, url)
        made = ContainerSite(folder=folder, provider=url, live=live)
        try:
            made.configure_all()
            live.create()
            live.start()
            made.settle_in()
            yield made
        finally:
            (folder / "log-of-container").write_text(live.last_words())
            live.remove()
            docker("volume", "rm", name)


if __name__ == "__main__":  # a trial: start one, say where, stop at the end of input
    ready()
    trial = ContainerWebUI("owui-vault-e2e-trial", "owui-vault-e2e-trial", f"http://{bridge()}:1/v1")
    trial.create()
    try:
        print(f"up after {trial.start():.0f} s at {trial.url}", flush=True)
        sys.stdin.read()
    finally:
        trial.remove()
        docker("volume", "rm", trial.mount)
