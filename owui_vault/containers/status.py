"""What an engine tells about one container, parsed completely at this one place."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from owui_vault.errors import QuiesceError
from owui_vault.model import InstanceState

_UP = frozenset({"running", "restarting"})
_KILLED = 137  # 128 + SIGKILL: it did not end within its time
_NANOSECONDS = 1e9
_DEFAULT_INTERVAL_SECONDS = 30.0  # Docker's, for what a health check leaves out
_DEFAULT_RETRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """One container at one moment. `started` is the engine's own text: only its equality means something."""

    id: str
    name: str
    status: str
    started: str
    exit_code: int
    pid: int
    health: str  # empty without a health check
    patience_seconds: float  # how long a healthy container may take to be called healthy after a start
    auto_remove: bool
    again: str = ""  # how a person recreates it, should it be removed

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


def parse(told: Mapping[str, object]) -> ContainerState:
    """Read an `inspect` of Docker or Podman. Raises QuiesceError when it is none."""
    state, configuration, host = _part(told, "State"), _part(told, "Config"), _part(told, "HostConfig")
    if not state or not told.get("Id"):
        raise QuiesceError("unexpected answer from the engine about a container")
    return ContainerState(
        id=str(told["Id"]),
        name=str(told.get("Name", "")).lstrip("/"),
        status=_status(state),
        started=str(state.get("StartedAt", "")),
        exit_code=_number(state.get("ExitCode")),
        pid=_number(state.get("Pid")),
        health=_health(state),
        patience_seconds=_patience(_part(configuration, "Healthcheck")),
        auto_remove=host.get("AutoRemove") is True,
        again=_again(configuration),
    )


def _again(configuration: Mapping[str, object]) -> str:
    """By Compose where its labels say so; else by what is known of it."""
    labels = _part(configuration, "Labels")
    service, project = (labels.get(f"com.docker.compose.{each}") for each in ("service", "project"))
    if not service:
        return (
            f"Recreate it from image {configuration.get('Image', '(unknown)')}: its settings are in"
            " outside/container.json of the last snapshot."
        )
    files = str(labels.get("com.docker.compose.project.config_files") or "")
    words = [word for each in files.split(",") if each for word in ("-f", each)]
    words = ["docker", "compose", *(("-p", str(project)) if project else ()), *words, "up", "-d", str(service)]
    return f"Recreate it: {shlex.join(words)}"


def _status(state: Mapping[str, object]) -> str:
    """Podman's older versions have other words than Docker's for the same states, but the same flags."""
    if state.get("Paused") is True:
        return "paused"
    if state.get("Running") is True and state.get("Restarting") is not True:
        return "running"
    return str(state.get("Status", ""))


def _health(state: Mapping[str, object]) -> str:
    status = str(_part(state, "Health").get("Status", ""))
    return "" if status == "none" else status


def _patience(check: Mapping[str, object]) -> float:
    """The start period, and then as many probes as may fail."""
    interval = _seconds(check.get("Interval")) or _DEFAULT_INTERVAL_SECONDS
    timeout = _seconds(check.get("Timeout")) or _DEFAULT_INTERVAL_SECONDS
    retries = _number(check.get("Retries")) or _DEFAULT_RETRIES
    return _seconds(check.get("StartPeriod")) + retries * (interval + timeout) + 5.0


def _part(told: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = told.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _seconds(nanoseconds: object) -> float:
    return _number(nanoseconds) / _NANOSECONDS
