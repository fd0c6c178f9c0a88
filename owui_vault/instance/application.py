"""The application as processes of this machine: which schemas it knows, and whether it answers.

Examined while it runs: once it is stopped, nothing shows where its code is and which port it listened on.
"""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from owui_vault.errors import ResumeError
from owui_vault.instance.processes import Holders, as_seen_by, package_folders, read_small
from owui_vault.model import Deadline
from owui_vault.ports import Clock

_PROC = Path("/proc")
_LISTEN = "0A"
_REVISION = re.compile(r"^revision\s*(?::\s*\w+\s*)?=\s*['\"](?P<id>[^'\"]+)['\"]", re.MULTILINE)
_VERSION = re.compile(r"[\w.+-]{1,40}")
_PACKAGE = "open_webui"
_MIGRATIONS = "migrations/versions"
_HERE = "127.0.0.1"
_POLL_SECONDS = 0.25
_ANSWER_SECONDS = 5.0


class ProcessApplication:
    """`ports.Application` for what was seen running."""

    def __init__(self, holders: Holders, clock: Clock, *, places: Iterable[Path] = ()) -> None:
        """`places`: programs or directories by which the package is found while nothing of it runs."""
        self._clock = clock
        self._revisions = revisions_of(holders.pids) or revisions_near(places)
        self._ports = tuple(sorted(set(_listening(holders.pids))))

    def revisions(self) -> frozenset[str] | None:
        """What its `migrations/versions/` hold."""
        return self._revisions

    def wait_until_healthy(self, deadline: Deadline) -> str:
        """Ask where it listened before, until it says that it is well, and which version it is.

        Returns nothing when it was not seen to listen anywhere.
        """
        while self._ports:
            for port in self._ports:
                if answer_of(_HERE, port, "/health") is not None and (version := version_at(_HERE, port)):
                    return f"answers on port {port}, version {version}"
            if deadline.passed():
                raise ResumeError(
                    f"Open WebUI does not answer /health and /api/version on port {', '.join(map(str, self._ports))}",
                    hint="Check its log.",
                )
            self._clock.sleep(_POLL_SECONDS)
        return ""


def revisions_near(places: Iterable[Path]) -> frozenset[str] | None:
    """What the migrations know of the package that belongs to a place; None where none does.

    A place is a data directory (in or beside the package, by default), a program of its environment (`bin/open-webui`),
    or the directory a program is started in.
    """
    for place in places:
        for folder in _packages_near(place):
            found = revisions_in(folder / _MIGRATIONS)
            if found:
                return found
    return None


def _packages_near(place: Path) -> Iterator[Path]:
    yield from (place.parent, place.parent / _PACKAGE, place / _PACKAGE)
    for program in dict.fromkeys((place, Path(os.path.realpath(place)))):  # a link into an environment of its own
        yield from sorted(program.parent.parent.glob(f"lib/python3*/site-packages/{_PACKAGE}"))


def revisions_in(folder: Path) -> frozenset[str] | None:
    """The revisions in a folder of Alembic migrations; None where there is no such folder."""
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    return revisions_of_texts(read_small(folder / name) for name in names if name.endswith(".py"))


def revisions_of_texts(texts: Iterable[str]) -> frozenset[str]:
    """The revisions that migrations declare."""
    return frozenset(match["id"] for text in texts if (match := _REVISION.search(text)))


def revisions_of(pids: Iterable[int]) -> frozenset[str] | None:
    """What the migrations know that these processes were started with; None where there are none to be seen."""
    for pid in pids:
        for folder in package_folders(pid):
            found = revisions_in(as_seen_by(pid, folder) / _PACKAGE / _MIGRATIONS)
            if found:
                return found
        found = revisions_in(as_seen_by(pid, f"{_PACKAGE}/{_MIGRATIONS}"))
        if found:
            return found
    return None


def _listening(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        sockets = _sockets(pid)
        for name in ("tcp", "tcp6"):
            for line in read_small(_PROC / str(pid) / "net" / name).splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and fields[9] in sockets:
                    yield int(fields[1].rpartition(":")[2], 16)


def _sockets(pid: int) -> frozenset[str]:
    folder = _PROC / str(pid) / "fd"
    found = []
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    for name in names:
        try:
            target = os.fspath((folder / name).readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append(target[len("socket:[") : -1])
    return frozenset(found)


def answer_of(host: str, port: int, path: str) -> bytes | None:
    """The body of a 200, or None."""
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == http.client.OK else None


def version_at(host: str, port: int) -> str:
    """What `/api/version` tells; empty where it tells nothing."""
    try:
        told = json.loads(answer_of(host, port, "/api/version") or b"{}")
    except ValueError:
        return ""
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""
