"""The engine of Docker or Podman: where its sockets are, and what it says about containers. Nothing is changed.

Only here (and in `quiesce`) is the SDK imported, and only when a container is concerned.
"""

from __future__ import annotations

import base64
import grp
import io
import json
import os
import pwd
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from owui_vault.errors import InstanceError, InstanceNotFoundError

if TYPE_CHECKING:
    from docker import APIClient

_SECONDS = 60
_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
_OWN_SOCKETS = ("docker.sock", "podman/podman.sock")  # of an engine without root, in the user's runtime folder
_HOME_SOCKETS = (".docker/desktop/docker.sock", ".docker/run/docker.sock")  # of Docker Desktop
_HELP = "docs/docker.md lists the calls that are needed."
_LARGEST_ARCHIVE = 32 << 20
_MODE_TYPE = 0x8F280000  # the bits of Go's file mode that mean anything but a regular file


def engine_addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where engines may answer: `$DOCKER_HOST` alone when it is set, else every socket there is.

    Under sudo those of the user who called it count too.
    """
    named = environ.get("DOCKER_HOST", "")
    if named:
        return (named,)
    found: dict[Path, str] = {}
    for place in _places(environ):
        with suppress(OSError):  # a folder we may not look into
            if place.is_socket():
                found.setdefault(place.resolve(), f"unix://{place}")
    return tuple(found.values())


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(each) for each in _SOCKETS)
    runtimes = [environ.get("XDG_RUNTIME_DIR", "")]
    homes = [environ.get("HOME", "")]
    if environ.get("SUDO_UID", "").isdecimal():
        runtimes.append(f"/run/user/{environ['SUDO_UID']}")
        with suppress(KeyError):
            homes.append(pwd.getpwuid(int(environ["SUDO_UID"])).pw_dir)
    yield from (Path(folder) / each for folder in runtimes if folder for each in _OWN_SOCKETS)
    yield from (Path(folder) / each for folder in homes if folder for each in _HOME_SOCKETS)


class Engine:
    """One engine, open. All methods raise InstanceError, none changes anything."""

    def __init__(self, address: str, client: APIClient) -> None:
        self.address = address
        self._client = client

    def containers(self) -> tuple[Mapping[str, object], ...]:
        """What `inspect` tells of all containers, stopped ones included."""
        found = []
        with _translated("no containers"):
            listed = self._client.containers(all=True)
        for each in listed:
            with suppress(InstanceNotFoundError):  # removed since the listing
                found.append(self.inspect(str(each["Id"])))
        return tuple(found)

    def inspect(self, container: str) -> Mapping[str, object]:
        """What `inspect` tells. Raises InstanceNotFoundError."""
        with _translated(f"there is no container {container}"):
            told: Mapping[str, object] = self._client.inspect_container(container)
            return told

    def image(self, image_id: str) -> Mapping[str, object]:
        """What the engine knows about an image; empty when it is gone."""
        with suppress(InstanceNotFoundError), _translated("no image"):
            told: Mapping[str, object] = self._client.inspect_image(image_id)  # type: ignore[no-untyped-call]  # so in its stubs
            return told
        return {}

    def volume(self, name: str) -> Mapping[str, object]:
        """What the engine knows about a volume; empty when it is gone."""
        with suppress(InstanceNotFoundError), _translated("no volume"):
            told: Mapping[str, object] = self._client.inspect_volume(name)
            return told
        return {}

    def size_of(self, container: str, path: str) -> int | None:
        """The size of a regular file in a container, running or not; None when there is none."""
        told = self._stat(container, path)
        mode, size = told.get("mode"), told.get("size")
        if not isinstance(mode, int) or not isinstance(size, int) or mode & _MODE_TYPE:
            return None
        return size

    def changed(self, container: str, path: str) -> str:
        """The engine's text for a file's time of modification; empty when there is no file."""
        return str(self._stat(container, path).get("mtime", ""))

    def read_text(self, container: str, path: str) -> str:
        """The text of one small file in a container; empty when there is none."""
        files = self.read_files(container, path)
        return next(iter(files.values()), b"").decode(errors="surrogateescape")

    def read_files(self, container: str, path: str, *, suffix: str = "") -> dict[str, bytes]:
        """The regular files at or below a path of a container, by name; empty when it holds too much or nothing."""
        with suppress(InstanceNotFoundError), _translated("no such path"):
            stream, told = self._client.get_archive(container, path)
            if int(told.get("size", 0)) > _LARGEST_ARCHIVE:
                return {}
            archive = io.BytesIO()
            for chunk in stream:
                archive.write(chunk)
                if archive.tell() > _LARGEST_ARCHIVE:
                    return {}
            return dict(_files_in(archive, suffix))
        return {}

    def _stat(self, container: str, path: str) -> Mapping[str, object]:
        client = self._client  # its `get_archive` would begin to send the file itself
        address = f"{client.base_url}/v{client.api_version}/containers/{quote(container)}/archive"
        with _translated("no such path"):
            answer = client.head(address, params={"path": path}, timeout=_SECONDS)
            if answer.status_code == 403 or answer.status_code >= 500:
                answer.raise_for_status()
        known = json.loads(base64.b64decode(answer.headers.get("X-Docker-Container-Path-Stat", "e30=")))
        return known if isinstance(known, dict) else {}


def _files_in(archive: io.BytesIO, suffix: str) -> Iterator[tuple[str, bytes]]:
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        for member in tar:
            body = tar.extractfile(member) if member.isreg() and member.name.endswith(suffix) else None
            if body is not None:
                yield member.name, body.read()


@contextmanager
def open_engine(address: str) -> Iterator[Engine]:
    """An engine that answers. Raises InstanceNotFoundError: none there, or the right to use it is missing."""
    _require_local_address(address)
    _require_access(address)
    import docker  # noqa: PLC0415 - heavy, and most runs touch no container

    try:
        client = docker.APIClient(base_url=address, version="auto", timeout=_SECONDS)
    except (docker.errors.DockerException, OSError) as error:
        reason = error.__context__ if getattr(error.__context__, "response", None) is not None else None
        raise (_failure(reason) if isinstance(reason, Exception) else _no_answer(address, str(error))) from error
    try:
        yield Engine(address, client)
    finally:
        client.close()


def _no_answer(address: str, why: str) -> InstanceNotFoundError:
    return InstanceNotFoundError(
        f"no container engine answers at {address}: {why}",
        hint="Start the engine, set DOCKER_HOST to its socket, or pass --data-dir DIR. If the engine is on another"
        "machine or in a virtual machine, run owui_vault as a container beside Open WebUI (docs/docker.md).",
    )


def _require_local_address(address: str) -> None:
    if address.startswith("ssh:"):
        raise InstanceNotFoundError(
            f"the engine at {address} is on another machine, and so are the data",
            hint="Run owui_vault there: on that host, or as a container beside Open WebUI (docs/docker.md).",
        )


def _require_access(address: str) -> None:
    path = Path(address.removeprefix("unix://"))
    if not address.startswith("unix://"):
        return
    if not path.exists():
        raise _no_answer(address, "there is no such socket")
    if os.access(path, os.R_OK | os.W_OK):
        return
    group = path.stat().st_gid
    with suppress(KeyError):
        group_name = grp.getgrgid(group).gr_name
        raise InstanceNotFoundError(
            f"user {os.geteuid()} has no right to read and write the container engine's socket {path}",
            hint=f"Run as root, or add the user to the group {group_name} (which is as good as root).",
        )
    raise InstanceNotFoundError(
        f"user {os.geteuid()} may not use the container engine's socket {path}", hint="Run as root."
    )


@contextmanager
def _translated(missing: str) -> Iterator[None]:
    from docker.errors import DockerException, NotFound  # noqa: PLC0415 - heavy, like the whole of it
    from requests.exceptions import RequestException  # noqa: PLC0415 - comes with docker

    try:
        yield
    except NotFound as error:
        raise InstanceNotFoundError(missing, hint="`inspect` without a configuration lists what there is.") from error
    except (DockerException, RequestException) as error:
        raise _failure(error) from error


def _failure(error: Exception) -> InstanceError:
    answer = getattr(error, "response", None)
    if answer is None or answer.status_code != 403:
        return InstanceError(f"the container engine failed: {error}", hint="Check the engine's log.")
    call = f"{answer.request.method} {urlsplit(answer.url).path}"
    return InstanceError(
        f"the container engine's socket forbids {call}",
        hint=f"A socket proxy is in front of it and has to allow this call; {_HELP}",
    )
