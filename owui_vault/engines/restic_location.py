"""Where a restic repository lies: on this machine or elsewhere, with credentials or without."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from owui_vault.engines.environment import without_credentials
from owui_vault.errors import RepositoryUnreachableError

_ELSEWHERE = re.compile(r"(sftp|rest|s3|b2|azure|gs|swift|rclone):")
_HTTP = re.compile(r"(?:rest|s3):(?P<url>https?://.+)")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_USER, _PASSWORD = "RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"


@dataclass(frozen=True, slots=True)
class Location:
    """What restic is told (`text`, may hold a password), what may be shown, and the folder of a local repository."""

    text: str
    shown: str
    folder: Path | None


def parse_location(location: str) -> Location:
    """Take what the user wrote. A local path becomes absolute, since restic is run in the stage."""
    if _ELSEWHERE.match(location):
        return Location(text=location, shown=without_credentials(location), folder=None)
    folder = Path(location.removeprefix("local:")).expanduser().absolute()
    return Location(text=f"local:{folder}", shown=str(folder), folder=folder)


def with_credentials(location: str, environment: dict[str, str]) -> str:
    """The location with user and password of a REST server in it, which are then no longer in the environment.

    restic < 0.17 does not know the two variables; and what is handed over by descriptor is not in /proc.
    """
    user, password = environment.get(_USER), environment.get(_PASSWORD)
    if not location.startswith("rest:") or not user or not password or "@" in urlsplit(location[5:]).netloc:
        return location
    del environment[_USER], environment[_PASSWORD]
    return location.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def password_in(location: str) -> str:
    """The password in an address, empty when there is none."""
    match = re.search(r"://[^/\s@:]*:([^/\s@]*)@", location)
    return match.group(1) if match else ""


def probe(location: Location, environment: Mapping[str, str], *, seconds: float) -> None:
    """Raise RepositoryUnreachableError when nobody listens at a plain HTTP address.

    restic >= 0.15 tries again for a quarter of an hour, without a word where packets are swallowed.
    """
    match = _HTTP.match(location.text)
    if not match or any(environment.get(name) for name in _PROXIES):
        return
    parts = urlsplit(match["url"])
    try:
        address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        socket.create_connection(address, timeout=seconds).close()
    except (OSError, ValueError) as error:
        raise RepositoryUnreachableError(
            f"the repository {location.shown} cannot be reached: {error}",
            engine="restic",
            hint="Look whether its host answers.",
        ) from error
