"""What is reported about a container that an instance runs in. Nothing here is secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DataMount:
    """Where a container's data directory is on its engine's host."""

    kind: str  # "volume", "bind", …
    source: Path  # on the engine's host
    destination: str  # in the container; the data directory itself or a folder above it
    volume: str = ""  # its name; empty for a bind mount
    driver: str = ""
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeService:
    """The Compose service a container belongs to. `files` are on the engine's host."""

    project: str
    service: str
    working_dir: Path
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """One container as its engine describes it. `together` are others that write to the same data."""

    engine: str  # its address
    id: str
    name: str
    status: str  # "running", "paused", "exited", …
    health: str  # empty without a health check
    started: str  # the engine's own text; another one after each start
    image: str  # as it was asked for, with its tag
    image_id: str
    digest: str  # the registry's; empty for an image that was built here
    data_dir: str  # as the application sees it
    mount: DataMount
    restart_policy: str
    auto_remove: bool
    nested: tuple[DataMount, ...] = ()  # parts of the data that are mounts of their own
    compose: ComposeService | None = None
    together: tuple[str, ...] = ()
    ollama: tuple[str, ...] = ()  # volumes or host paths that hold Ollama's models
