"""The engine of Docker or Podman: where its sockets are, and what it says about containers. Nothing is changed.

Making a container quiet and bringing it back is `quiesce`'s.
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
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from owui_vault.containers.client import FORBIDDEN_HINT, Answer, call, path_of
from owui_vault.errors import InstanceError, InstanceNotFoundError, for_root

_SECONDS = 60
_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
_OWN_SOCKETS = ("docker.sock", "podman/podman.sock")  # of an engine without root, in the user's runtime folder
_HOME_SOCKETS = (".docker/desktop/docker.sock", ".docker/run/docker.sock")  # of Docker Desktop
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


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that answered. All methods raise InstanceError, none changes anything."""

    address: str

    def containers(self) -> tuple[Mapping[str, object], ...]:
        """What `inspect` tells of all containers, stopped ones included."""
        listed = _parsed(self._get("/containers/json?all=1", "no containers"))
        found = []
        for each in listed if isinstance(listed, list) else ():
            with suppress(InstanceNotFoundError):  # removed since the listing
                found.append(self.inspect(str(each["Id"])))
        return tuple(found)

    def inspect(self, container: str) -> Mapping[str, object]:
        """What `inspect` tells. Raises InstanceNotFoundError."""
        return self._inspect("containers", container, f"there is no container {container}")

    def image(self, image_id: str) -> Mapping[str, object]:
        """What the engine knows about an image; empty when it is gone."""
        with suppress(InstanceNotFoundError):
            return self._inspect("images", image_id, "no image")
        return {}

    def volume(self, name: str) -> Mapping[str, object]:
        """What the engine knows about a volume; empty when it is gone."""
        with suppress(InstanceNotFoundError):
            return self._inspect("volumes", name, "no volume")
        return {}

    def size_of(self, container: str, path: str) -> int | None:
        """The size of a regular file in a container, running or not; None when there is none."""
        known = self._stat(container, path)
        mode, size = known.get("mode"), known.get("size")
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
        with suppress(InstanceNotFoundError):
            archive = self._get(_archive(container, path), "no such path", most=_LARGEST_ARCHIVE).body
            if len(archive) <= _LARGEST_ARCHIVE:
                return dict(_files_in(archive, suffix))
        return {}

    def _stat(self, container: str, path: str) -> Mapping[str, object]:
        answer = _ask(self.address, "HEAD", _archive(container, path))
        known = json.loads(base64.b64decode(answer.headers.get("x-docker-container-path-stat", "e30=")))
        return known if isinstance(known, dict) else {}

    def _inspect(self, kind: str, name: str, missing: str) -> Mapping[str, object]:
        known = _parsed(self._get(path_of(kind, name, "" if kind == "volumes" else "/json"), missing))
        return known if isinstance(known, dict) else {}

    def _get(self, path: str, missing: str, *, most: int | None = None) -> Answer:
        answer = _ask(self.address, "GET", path, most=most)
        if answer.status == 404:
            raise InstanceNotFoundError(missing, hint="`inspect` without a configuration lists what there is.")
        if answer.status >= 400:
            raise _failure(answer.complaint)
        return answer


def _ask(address: str, method: str, path: str, *, most: int | None = None) -> Answer:
    """One call, answered by the engine itself. Raises InstanceError."""
    try:
        answer = call(address, method, path, seconds=_SECONDS, most=most)
    except (OSError, HTTPException) as error:
        raise _failure(str(error)) from error
    _require_allowed(answer)
    if answer.status >= 500:
        raise _failure(answer.complaint)
    return answer


def _require_allowed(answer: Answer) -> None:
    if answer.status == 403:
        raise InstanceError(f"the container engine's socket forbids {answer.call}", hint=FORBIDDEN_HINT)


def _parsed(answer: Answer) -> object:
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise _failure(f"its answer to {answer.call} is no JSON") from error


def _archive(container: str, path: str) -> str:
    return f"{path_of('containers', container, '/archive')}?path={quote(path, safe='')}"


def _files_in(archive: bytes, suffix: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            body = tar.extractfile(member) if member.isreg() and member.name.endswith(suffix) else None
            if body is not None:
                yield member.name, body.read()


def open_engine(address: str) -> Engine:
    """An engine that answers. Raises InstanceNotFoundError: none there, or the right to use it is missing."""
    _require_local_address(address)
    _require_access(address)
    try:
        version = call(address, "GET", "/version", seconds=_SECONDS)
    except (OSError, HTTPException, ValueError) as error:
        raise _no_answer(address, str(error)) from error
    _require_allowed(version)
    if version.status != 200 or b"ApiVersion" not in version.body:
        raise _no_answer(address, "what listens there is no container engine")
    return Engine(address)


def _no_answer(address: str, why: str) -> InstanceNotFoundError:
    return InstanceNotFoundError(
        f"no container engine answers at {address}: {why}",
        hint="Start the engine, set DOCKER_HOST to its socket, or pass --data-dir DIR. If the engine is on another"
        " machine or in a virtual machine, run owui_vault as a container beside Open WebUI (docs/docker.md).",
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
        raise for_root(
            InstanceNotFoundError(
                f"user {os.geteuid()} has no right to read and write the container engine's socket {path}",
                hint=f"Run as root, or add the user to the group {group_name} (which is as good as root).",
            )
        )
    raise for_root(
        InstanceNotFoundError(
            f"user {os.geteuid()} may not use the container engine's socket {path}", hint="Run as root."
        )
    )


def _failure(why: str) -> InstanceError:
    return InstanceError(f"the container engine failed: {why}", hint="Check the engine's log.")
