"""What an engine tells about one container, parsed completely at this one place."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from owui_vault.model import InstanceState
from owui_vault.model.containers import ComposeService, DataMount

DATA_DIR = "/app/backend/data"  # in the official image and every fork of it
_WORKING_DIR = "/app/backend"
_DEFAULT_PORT = 8080
_COMPOSE = "com.docker.compose."
_PODMAN_COMPOSE = "io.podman.compose."
_UP = frozenset({"running", "restarting"})
_KILLED = 137  # 128 + SIGKILL: it did not end within its time
_NANOSECONDS = 1e9
_DEFAULT_INTERVAL_SECONDS = 30.0  # Docker's, for what a health check leaves out
_DEFAULT_RETRIES = 3
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of a container."""

    kind: str
    volume: str
    driver: str
    source: Path
    destination: PurePosixPath
    writable: bool

    @property
    def where(self) -> str:
        """For messages."""
        if self.kind == "tmpfs":
            return "memory (tmpfs)"
        return f"volume {self.volume}" if self.volume else str(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInspect:
    """One container at one moment. `started` is the engine's own text: only its equality means something.

    `health` is empty without a health check; `patience_seconds`: how long a healthy one may take to be called so after
    a start. `addresses` are (host, port) pairs where its web interface may answer from here.
    """

    id: str
    name: str
    status: str
    health: str
    patience_seconds: float
    started: str
    exit_code: int
    restarts: int
    pid: int
    image: str
    image_id: str
    labels: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)  # holds secrets
    working_dir: str
    mounts: tuple[Mount, ...]
    restart_policy: str
    auto_remove: bool
    addresses: tuple[tuple[str, int], ...]

    @property
    def state(self) -> InstanceState:
        """In our words. Neither up nor paused is stopped."""
        if self.status == "paused":
            return InstanceState.PAUSED
        return InstanceState.RUNNING if self.status in _UP else InstanceState.STOPPED

    @property
    def identity(self) -> str:
        """Changes with every start by anybody."""
        return f"{self.id}@{self.started}"

    @property
    def killed(self) -> bool:
        """Whether its stop had to be enforced; the engine says that by the exit code alone."""
        return self.exit_code == _KILLED

    @property
    def running(self) -> bool:
        """Whether its processes are there, frozen or not."""
        return self.state is not InstanceState.STOPPED

    @property
    def data_dir(self) -> str:
        """DATA_DIR as the application sees it."""
        return posixpath.normpath(posixpath.join(self.working_dir, self.environment.get("DATA_DIR") or DATA_DIR))

    def mount_of(self, path: str) -> Mount | None:
        """The mount that a path of the container is on; None where that is its own layer."""
        covering = [each for each in self.mounts if PurePosixPath(path).is_relative_to(each.destination)]
        return max(covering, key=lambda each: len(each.destination.parts), default=None)

    def source_of(self, path: str) -> Path | None:
        """Where a path of the container is on the engine's host; None for the container's own layer."""
        mount = self.mount_of(path)
        return mount.source / PurePosixPath(path).relative_to(mount.destination) if mount else None

    @property
    def data_mount(self) -> DataMount | None:
        """Where the data lie; None when they are in the container's own layer, or in memory."""
        mount = self.mount_of(self.data_dir)
        return None if mount is None or mount.kind == "tmpfs" else as_record(mount)

    @property
    def nested(self) -> tuple[Mount, ...]:
        """Mounts strictly below the data directory."""
        data_dir = PurePosixPath(self.data_dir)
        found = [each for each in self.mounts if data_dir in each.destination.parents]
        return tuple(sorted(found, key=lambda each: each.destination))

    @property
    def data_sources(self) -> tuple[Path, ...]:
        """Where all parts of the data lie on the engine's host; empty when they are in the container's own layer."""
        source = self.source_of(self.data_dir)
        if source is None or self.data_mount is None:
            return ()
        return (source, *(each.source for each in self.nested if each.kind != "tmpfs"))

    @property
    def compose(self) -> ComposeService | None:
        """The Compose service it belongs to."""
        project = self.compose_label("project")
        if not project:
            return None
        folder = Path(self.compose_label("project.working_dir"))
        files = self.compose_label("project.config_files")  # relative to that folder, by podman-compose
        return ComposeService(
            project=project,
            service=self.compose_label("service"),
            working_dir=folder,
            files=tuple(folder / each for each in files.split(",") if each),
        )

    @property
    def again(self) -> str:
        """How a person makes it anew, should it be removed: by Compose where its labels say so."""
        service, project, files = (
            self.labels.get(_COMPOSE + each, "") for each in ("service", "project", "project.config_files")
        )
        if not service:
            return (
                f"Recreate it from image {self.image or '(unknown)'}: its settings are in"
                " outside/container.json of the last snapshot."
            )
        words = [word for each in files.split(",") if each for word in ("-f", each)]
        words = ["docker", "compose", *(("-p", project) if project else ()), *words, "up", "-d", service]
        return f"Recreate it: {shlex.join(words)}"

    def compose_label(self, name: str) -> str:
        """A label of Compose, by either of its implementations."""
        return self.labels.get(_COMPOSE + name) or self.labels.get(_PODMAN_COMPOSE + name, "")


def as_record(mount: Mount) -> DataMount:
    """A mount as reports show it."""
    return DataMount(
        kind=mount.kind,
        source=mount.source,
        destination=str(mount.destination),
        volume=mount.volume,
        driver=mount.driver,
        anonymous=bool(_ANONYMOUS.fullmatch(mount.volume)),
    )


def parse(told: Mapping[str, object]) -> ContainerInspect:
    """Read an `inspect` of Docker or Podman."""
    state, configuration, host = _part(told, "State"), _part(told, "Config"), _part(told, "HostConfig")
    environment = _environment(configuration.get("Env"))
    health = str(_part(state, "Health").get("Status", ""))
    return ContainerInspect(
        id=str(told.get("Id", "")),
        name=str(told.get("Name", "")).lstrip("/"),
        status=_status(state),
        health="" if health == "none" else health,
        patience_seconds=_patience(_part(configuration, "Healthcheck")),
        started=str(state.get("StartedAt", "")),
        exit_code=_number(state.get("ExitCode")),
        restarts=_number(told.get("RestartCount")),
        pid=_number(state.get("Pid")),
        image=str(configuration.get("Image", "")),
        image_id=str(told.get("Image", "")),
        labels={name: str(value) for name, value in _part(configuration, "Labels").items()},
        environment=environment,
        working_dir=str(configuration.get("WorkingDir") or _WORKING_DIR),
        mounts=(*_mounts(told.get("Mounts")), *_in_memory(host.get("Tmpfs"))),
        restart_policy=str(_part(host, "RestartPolicy").get("Name") or "no"),
        auto_remove=host.get("AutoRemove") is True,
        addresses=tuple(_addresses(told, environment)),
    )


def _status(state: Mapping[str, object]) -> str:
    """Podman's older versions have other words than Docker's for the same states, but the same flags."""
    if state.get("Paused") is True:
        return "paused"
    if state.get("Running") is True and state.get("Restarting") is not True:
        return "running"
    return str(state.get("Status", ""))


def _patience(check: Mapping[str, object]) -> float:
    """The start period, and then as many probes as may fail."""
    interval = _seconds(check.get("Interval")) or _DEFAULT_INTERVAL_SECONDS
    timeout = _seconds(check.get("Timeout")) or _DEFAULT_INTERVAL_SECONDS
    retries = _number(check.get("Retries")) or _DEFAULT_RETRIES
    return _seconds(check.get("StartPeriod")) + retries * (interval + timeout) + 5.0


def _environment(listed: object) -> dict[str, str]:
    pairs = (str(each).partition("=") for each in _list(listed))
    return {name: value for name, separator, value in pairs if separator}


def _mounts(listed: object) -> Iterator[Mount]:
    for each in _list(listed):
        if isinstance(each, dict):
            yield Mount(
                kind=str(each.get("Type", "")),
                volume=str(each.get("Name", "")),
                driver=str(each.get("Driver", "")),
                source=Path(str(each.get("Source", ""))),
                destination=PurePosixPath(str(each.get("Destination", ""))),
                writable=each.get("RW") is not False,
            )


def _in_memory(told: object) -> Iterator[Mount]:
    """What `--tmpfs` mounts is not listed with the rest."""
    for destination in told if isinstance(told, dict) else ():
        path = PurePosixPath(str(destination))
        yield Mount(kind="tmpfs", volume="", driver="", source=Path(), destination=path, writable=True)


def _addresses(told: Mapping[str, object], environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Published ports first: they are meant to be reached. The container's own address works from the engine's host."""
    network = _part(told, "NetworkSettings")
    text = environment.get("PORT", "")
    port = int(text) if text.isdecimal() else _DEFAULT_PORT
    for published in _list(_part(network, "Ports").get(f"{port}/tcp")):
        if isinstance(published, dict) and str(published.get("HostPort", "")).isdecimal():
            host = str(published.get("HostIp", ""))
            yield ("127.0.0.1" if host in ("", "0.0.0.0", "::") else host), int(published["HostPort"])  # noqa: S104  told, not bound
    for each in _part(network, "Networks").values():
        address = each.get("IPAddress") if isinstance(each, dict) else None
        if address:
            yield str(address), port
    if _part(told, "HostConfig").get("NetworkMode") == "host":
        yield "127.0.0.1", port


def _part(told: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = told.get(key)
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _seconds(nanoseconds: object) -> float:
    return _number(nanoseconds) / _NANOSECONDS
