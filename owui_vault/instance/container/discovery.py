"""Finds the container that Open WebUI runs in: by its data, then by labels and names. Nothing is guessed.

Forks keep the data directory and change the name, so a name alone never decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.names import DATABASE
from owui_vault.containers.container_inspect import ContainerInspect, parse
from owui_vault.containers.reader import Engine, open_engine
from owui_vault.errors import InstanceError, InstanceNotFoundError
from owui_vault.instance.data_dir import probe_instance
from owui_vault.system import procfs

OUR_LABEL = "owui-vault.role"  # on our own sidecar and helpers
_NAME = re.compile(r"open[-_]?webui", re.IGNORECASE)
_IMAGE_LABELS = ("org.opencontainers.image.source", "org.opencontainers.image.title")
_SETTINGS = ("WEBUI_SECRET_KEY", "WEBUI_NAME", "OPENWEBUI_PORT", "WEBUI_BUILD_VERSION", "DATA_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A container that may be an Open WebUI. The more `points`, the surer."""

    engine: str
    told: ContainerInspect
    points: int

    def __str__(self) -> str:
        place = self.told.data_mount
        where = (place.volume or str(place.source)) if place else "its own layer"
        return f"{self.told.name} ({self.told.image}, {self.told.status}, data in {where})"


def candidates(addresses: Sequence[str]) -> tuple[Candidate, ...]:
    """All Open WebUI containers of these engines, surest first; of several on the same data only one.

    Raises InstanceError when no engine answers.
    """
    found: list[Candidate] = []
    failures: list[InstanceError] = []
    for address in addresses:
        try:
            found += _candidates_of(open_engine(address))
        except InstanceError as error:
            failures.append(error)
    if failures and not found:
        raise failures[0]
    if not addresses:
        raise InstanceNotFoundError(
            "no container engine was found here",
            hint="Pass --data-dir DIR, or set DOCKER_HOST to the engine's socket. If the engine is on another"
            " machine or in a virtual machine (Docker Desktop), run owui_vault as a container beside Open WebUI:"
            " docs/docker.md.",
        )
    return tuple(_one_of_each(sorted(found, key=_rank)))


def the_candidate(name: str, addresses: Sequence[str]) -> Candidate:
    """The container of this name or id; without a name the only candidate. Raises InstanceNotFoundError."""
    if name:
        return _named(name, addresses)
    found = candidates(addresses)
    if not found:
        raise InstanceNotFoundError(
            f"no Open WebUI container was found (asked {', '.join(addresses)})",
            hint="Pass --container NAME or --data-dir DIR.",
        )
    if len(found) > 1:
        raise InstanceNotFoundError(
            f"there are {len(found)} Open WebUI containers: {'; '.join(map(str, found))}",
            hint=f"Choose one: --container {found[0].told.name}, or instance.container in a configuration.",
        )
    return found[0]


def _named(name: str, addresses: Sequence[str]) -> Candidate:
    missing: InstanceError | None = None
    silent: InstanceError | None = None
    for address in addresses:
        try:
            engine = open_engine(address)
            try:
                told = parse(engine.inspect(name))
                return Candidate(engine=address, told=told, points=points_of(told))
            except InstanceNotFoundError as error:
                missing = error
        except InstanceError as error:
            silent = error
    # Where one engine cannot be asked, another's "not there" is not the whole truth.
    raise (
        silent
        or missing
        or InstanceNotFoundError(
            f"no container engine was found here, so container {name} was not either",
            hint="Set DOCKER_HOST to the engine's socket, or pass --data-dir DIR.",
        )
    )


def _candidates_of(engine: Engine) -> Iterator[Candidate]:
    own = procfs.own_container()
    for each in engine.containers():
        told = parse(each)
        if told.id == own or OUR_LABEL in told.labels or told.compose_label("oneoff").lower() == "true":
            continue
        points = points_of(told)
        if points and _has_content(engine, told, sure=points >= _SURE):
            yield Candidate(engine=engine.address, told=told, points=points)


_SURE = 6


def points_of(inspect: ContainerInspect) -> int:
    """How much speaks for an Open WebUI before its data are looked at."""
    mounted = inspect.data_mount is not None
    labelled = any(_NAME.search(inspect.labels.get(label, "")) for label in _IMAGE_LABELS)
    named = _NAME.search(inspect.image) is not None
    configured = any(name in inspect.environment for name in _SETTINGS) or inspect.working_dir == "/app/backend"
    return 8 * mounted + 6 * labelled + 4 * named + 2 * configured


def _has_content(engine: Engine, inspect: ContainerInspect, *, sure: bool) -> bool:
    """Whether its data are Open WebUI's; before its first start there are none, then only the name can tell."""
    if engine.size_of(inspect.id, f"{inspect.data_dir}/{DATABASE}") is None:
        return sure and _NAME.search(" ".join([inspect.image, inspect.name, *inspect.labels.values()])) is not None
    here = inspect.source_of(inspect.data_dir)
    if here is None or not _is_readable(here / DATABASE):
        return True
    try:
        probe_instance(here)
    except InstanceNotFoundError:
        return False
    return True


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _rank(candidate: Candidate) -> tuple[bool, int, str]:
    return (not candidate.told.running, -candidate.points, candidate.told.name)


def _one_of_each(found: Iterable[Candidate]) -> Iterator[Candidate]:
    seen = set()
    for each in found:
        place = (each.engine, each.told.source_of(each.told.data_dir) or each.told.id)
        if place not in seen:
            seen.add(place)
            yield each
