"""One container, and what a vault needs to know about it: its data, its key, its version, its risks."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from owui_vault.containers.container_inspect import ContainerInspect, Mount, as_record, parse
from owui_vault.containers.reader import Engine, open_engine
from owui_vault.errors import InstanceNotFoundError
from owui_vault.instance.application_settings import settings_in
from owui_vault.instance.container.discovery import the_candidate
from owui_vault.instance.container.host_path import data_dir_here, place_here, root_of
from owui_vault.instance.container.nested_mounts import Nested, nested_mounts, refuse_mounted_databases
from owui_vault.instance.container.risks import container_warnings, writes_to_data_of
from owui_vault.instance.processes import version_of_package_json
from owui_vault.instance.secret_key import FILE_VARIABLE, KEY_FILE, KEY_VARIABLES, FoundKey
from owui_vault.model import ContainerRecord, Secret
from owui_vault.system import procfs

_VERSION_LABEL = "org.opencontainers.image.version"
_TAG_VERSION = re.compile(r":v?(\d+\.\d+\.\d+[^:@/]*)(?:@.*)?$")
_OLLAMA = "/root/.ollama"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundContainer:
    """A container as it was found when an operation began.

    `held` are the ids of all that write to its data, its own first, each with the engine's text for its start.
    `nested` are parts of the data that are mounts of their own. `processes` are the first ones of those containers, as
    far as they are this machine's.
    """

    record: ContainerRecord
    data_dir: Path
    nested: tuple[Nested, ...]
    processes: tuple[int, ...]
    ollama: tuple[Path, ...]  # where Ollama's models lie, as this machine calls it
    environment: Mapping[str, str] = field(repr=False)  # holds secrets
    working_dir: str
    keys: tuple[FoundKey, ...]  # the first one counts
    version: str
    inspected: str = field(repr=False)  # the engine's own words, secrets included
    held: Mapping[str, str]
    running: bool
    warnings: tuple[str, ...]

    @property
    def mounted(self) -> tuple[tuple[str, Path], ...]:
        """Parts of the data, and where each really is here."""
        return tuple((each.name, each.here) for each in self.nested if each.here)


def find_container(name: str, addresses: Sequence[str]) -> FoundContainer:
    """The container of this name, or the only one of Open WebUI when `name` is empty.

    Raises InstanceError or one of its kinds, each with what to do: no engine, no right, no such container, several,
    data in the container's own layer, data out of reach from here.
    """
    candidate = the_candidate(name, addresses)
    engine = open_engine(candidate.engine)
    inspected = engine.inspect(candidate.told.id)
    told, from_file = _with_settings_file(engine, parse(inspected))
    refuse_mounted_databases(told)
    place = data_dir_here(engine, told)
    others = tuple(parse(each) for each in engine.containers())
    ourselves = procfs.own_container()
    together = [each for each in others if each.id not in (told.id, ourselves) and writes_to_data_of(each, told)]
    keys = tuple(container_keys(engine, told, from_file))
    mount = told.data_mount
    volume = engine.volume(mount.volume) if mount and mount.volume else {}
    return FoundContainer(
        record=_record(engine, told, together, others),
        data_dir=place,
        nested=nested_mounts(engine, told, place),
        ollama=tuple(_ollama_here(engine, others)),
        processes=tuple(each.pid for each in (told, *together) if root_of(each)),
        environment=told.environment,
        working_dir=told.working_dir,
        keys=keys,
        version=_version(engine, told),
        inspected=json.dumps(inspected, indent=1, sort_keys=True),
        held={each.id: each.started for each in (told, *together)},
        running=told.running,
        warnings=(*container_warnings(told, others, volume), *_key_warnings(told, keys)),
    )


def started_anew(found: FoundContainer) -> str:
    """The name of the container, of this one and those held along, that was started since; empty when none was.

    One held along may be gone: a helper that came to its end. This one may not.
    """
    engine = open_engine(found.record.engine)
    for id_, started in found.held.items():
        try:
            now = parse(engine.inspect(id_))
        except InstanceNotFoundError:
            if id_ == found.record.id:
                return found.record.name
            continue
        if now.started != started:
            return now.name
    return ""


def _record(
    engine: Engine, inspect: ContainerInspect, together: Sequence[ContainerInspect], others: Sequence[ContainerInspect]
) -> ContainerRecord:
    mount = inspect.data_mount
    if mount is None:
        raise TypeError("data in the container's layer are refused before")
    digests = engine.image(inspect.image_id).get("RepoDigests")
    return ContainerRecord(
        engine=engine.address,
        id=inspect.id,
        name=inspect.name,
        status=inspect.status,
        health=inspect.health,
        started=inspect.started,
        image=inspect.image,
        image_id=inspect.image_id,
        digest=str(digests[0]).rpartition("@")[2] if isinstance(digests, list) and digests else "",
        data_dir=inspect.data_dir,
        mount=mount,
        nested=tuple(as_record(each) for each in inspect.nested),
        restart_policy=inspect.restart_policy,
        auto_remove=inspect.auto_remove,
        compose=inspect.compose,
        together=tuple(each.name for each in together),
        ollama=tuple(dict.fromkeys(mount.volume or str(mount.source) for _, mount in _ollama(others))),
    )


def _ollama(others: Sequence[ContainerInspect]) -> Iterator[tuple[ContainerInspect, Mount]]:
    for each in others:
        mount = each.mount_of(_ollama_home(each))
        if mount and mount.kind != "tmpfs" and ("ollama" in each.image.lower() or "OLLAMA_MODELS" in each.environment):
            yield each, mount


def _ollama_home(inspect: ContainerInspect) -> str:
    return inspect.environment.get("OLLAMA_MODELS") or _OLLAMA


def _ollama_here(engine: Engine, others: Sequence[ContainerInspect]) -> Iterator[Path]:
    """Each place once; what cannot be reached from here is left out."""
    found: dict[Path, None] = {}
    for told, mount in _ollama(others):
        below = PurePosixPath(_ollama_home(told)).relative_to(mount.destination)
        place = place_here(engine, told, mount.destination, (mount.source,))
        if place:
            found[place / below] = None
    yield from found


def _with_settings_file(engine: Engine, inspect: ContainerInspect) -> tuple[ContainerInspect, Mapping[str, str]]:
    """With what the application reads from the `.env` above its backend, and that alone. The environment wins."""
    path = posixpath.normpath(posixpath.join(inspect.working_dir, "..", ".env"))
    known = settings_in(engine.read_text(inspect.id, path))
    from_file = {name: value for name, value in known.items() if name not in inspect.environment}
    return replace(inspect, environment={**inspect.environment, **from_file}), from_file


def container_keys(engine: Engine, inspect: ContainerInspect, from_file: Mapping[str, str]) -> Iterator[FoundKey]:
    """Secret keys as the application itself looks for one: environment, the file named there, working directory.

    A settings file comes last: the image's start script has made a key by the time that is read.
    """
    for name in KEY_VARIABLES:
        if inspect.environment.get(name) and name not in from_file:
            yield FoundKey(
                key=Secret(inspect.environment[name]), source=f"{name} in the environment of container {inspect.name}"
            )
    path = _key_file(inspect)
    text = engine.read_text(inspect.id, path)
    if text.strip():
        where = "" if inspect.mount_of(path) else ", in its own layer"
        key = Secret(text.rstrip("\n"))  # the image's start script takes `$(cat FILE)`, which drops them
        yield FoundKey(key=key, source=f"{path} of container {inspect.name}{where}")
    for name in KEY_VARIABLES:
        if from_file.get(name):
            yield FoundKey(key=Secret(from_file[name]), source=f"{name} in the .env file of container {inspect.name}")


def _key_file(inspect: ContainerInspect) -> str:
    named = inspect.environment.get(FILE_VARIABLE) or KEY_FILE
    return posixpath.normpath(posixpath.join(inspect.working_dir, named))


def _key_warnings(inspect: ContainerInspect, keys: tuple[FoundKey, ...]) -> Iterator[str]:
    if keys and keys[0].source.endswith("layer"):
        yield (
            f"the secret key is only in the container's own layer ({_key_file(inspect)}): a recreated container, as"
            " after an update, has another key, and everybody must sign in again. Set it as WEBUI_SECRET_KEY"
        )


def _version(engine: Engine, inspect: ContainerInspect) -> str:
    """Of Open WebUI; empty where nothing tells."""
    package = posixpath.normpath(posixpath.join(inspect.working_dir, "..", "package.json"))
    match = _TAG_VERSION.search(inspect.image)
    known = (
        version_of_package_json(engine.read_text(inspect.id, package)),
        inspect.labels.get(_VERSION_LABEL, "").removeprefix("v") if "open-webui" in inspect.image else "",
        match[1] if match and "open-webui" in inspect.image else "",
    )
    return next((each for each in known if each), "")
