"""The location of a restic repository: on this machine or elsewhere, with credentials or without."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from owui_vault.engines.common.environment import without_credentials
from owui_vault.engines.common.unreachable import cause_of
from owui_vault.errors import ConfigError, RepositoryUnreachableError

_SCHEMES = ("sftp", "rest", "s3", "b2", "azure", "gs", "swift", "rclone")
_ELSEWHERE = re.compile(rf"({'|'.join(_SCHEMES)}):")
_ANY_SCHEME = re.compile(r"([^/]*):")
_AUTHORITY = re.compile(r"://(?P<authority>[^/]*)(?P<rest>.*)", re.DOTALL)
_HTTP = re.compile(r"(?:rest|s3):(?P<url>https?://.+)")
_SFTP_URL = re.compile(r"sftp://(?:(?P<user>[^@/:]*)(?::[^@/]*)?@)?(?P<host>\[[^\]/]+\]|[^:/]+)(?::(?P<port>\d+))?/.*")
_SFTP = re.compile(r"sftp:(?!//)(?:(?P<user>[^:/]+)@)?(?P<host>[^:@/]+)(?P<port>):.*")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_USER, _PASSWORD = "RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"


@dataclass(frozen=True, slots=True)
class Location:
    """What restic is told (`text`, may hold a password), what may be shown, and the folder of a local repository."""

    text: str
    shown: str
    folder: Path | None


def parse_location(location: str) -> Location:
    """Take what the user wrote. A local path becomes absolute, since restic is run in the stage.

    Raises ConfigError for what restic would take for something else than was meant.
    """
    if location != location.strip():
        raise ConfigError(  # restic cuts them off, and a backup would lie where nobody looks for it
            f"the location {without_credentials(location)!r} begins or ends with a blank",
            hint="restic does not accept such a path: rename the folder.",
        )
    if _ELSEWHERE.match(location):
        _require_quoted(location)
        return Location(text=location, shown=without_credentials(location), folder=None)
    path = location.removeprefix("local:")
    if path == location and (scheme := _ANY_SCHEME.match(location)):
        # restic would make a folder of this name, and a backup would lie where nobody looks for it.
        raise ConfigError(
            f"restic has no backend called {scheme[1]!r}",
            hint=f"It knows local, {', '.join(_SCHEMES)}. Write a folder on this machine as ./NAME or local:NAME.",
        )
    try:
        folder = Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"{path!r} cannot be expanded: {error}", hint="Write the whole path.") from error
    return Location(text=f"local:{folder}", shown=str(folder), folder=folder)


def _require_quoted(location: str) -> None:
    """Raise ConfigError for a user or password in which a character stands that ends it: part of it would be shown."""
    found = _AUTHORITY.search(location)
    if not found:
        return
    user, at, _host = found["authority"].rpartition("@")
    _, colon, port = found["authority"].rpartition(":")
    cut_by_slash = not at and "@" in found["rest"] and colon and not re.fullmatch(r"\d*|.*\]", port)
    if "@" in user or re.search(r"\s", found["authority"]) or cut_by_slash:
        raise ConfigError(
            "the address of a repository has a user or password with an unescaped '/', '@' or blank",
            hint=f"Set {_USER} and {_PASSWORD} in its `environment`, or write these characters as %2F, %40 and %20.",
        )


#: What restic itself asks for, and takes from the environment only: shape of the location, an example, variables.
_CLOUDS = {
    "b2": (re.compile(r"b2:[^:/]+(:.*)?"), "b2:BUCKET:PATH", ("B2_ACCOUNT_ID", "B2_ACCOUNT_KEY")),
    "azure": (re.compile(r"azure:[^:/]+:/.*"), "azure:CONTAINER:/PATH", ("AZURE_ACCOUNT_NAME",)),
    "gs": (re.compile(r"gs:[^:/]+:/.*"), "gs:BUCKET:/PATH", ()),
    "s3": (re.compile(r"s3:(https?://)?[^/]+/[^/]+.*"), "s3:https://HOST/BUCKET/PATH", ()),
    "rclone": (re.compile(r"rclone:.*:.*"), "rclone:REMOTE:PATH", ()),
}


def require_destination(location: str, environment: Mapping[str, object]) -> None:
    """Raise ConfigError for a cloud's location that cannot be one, or that lacks a variable without which it is none.

    Keys that may also come from a profile or the machine's own role (AWS, Google) are not asked for.
    """
    scheme = location.partition(":")[0]
    shape, example, needed = _CLOUDS.get(scheme, (None, "", ()))
    if shape and not shape.fullmatch(location):
        raise ConfigError(f"{without_credentials(location)!r} names no place in {scheme}", hint=f"Write {example}.")
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"the repository {location} cannot be opened without {' and '.join(missing)}",
            hint="Name them in its `environment`, each as text or from where it is kept.",
        )


def with_credentials(location: str, environment: dict[str, str]) -> str:
    """The location with user and password of a REST server in it, which are then no longer in the environment.

    restic < 0.17 does not know the two variables; and what is handed over by descriptor is not in /proc.
    """
    user, password = environment.get(_USER), environment.get(_PASSWORD)
    if not location.startswith("rest:") or not user or not password or "@" in urlsplit(location[5:]).netloc:
        return location
    del environment[_USER], environment[_PASSWORD]
    return location.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def ssh_words(location: str) -> list[str]:
    """What restic hands to ssh for an SFTP repository; nothing for any other."""
    found = _SFTP_URL.fullmatch(location) or _SFTP.fullmatch(location)
    if not found:
        return []
    port = ["-p", found["port"]] if found["port"] else []
    user = ["-l", unquote(found["user"])] if found["user"] else []
    return [found["host"].strip("[]"), *port, *user, "-s", "sftp"]


def password_in(location: str) -> str:
    """The password in an address, empty when there is none."""
    match = re.search(r"://[^/\s:]*:([^/\s]*)@", location)
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
        cause = cause_of(str(error))
        what = cause.message.format(location=location.shown) if cause else f"{location.shown} cannot be reached"
        raise RepositoryUnreachableError(
            f"{what}: {error}", engine="restic", hint=cause.hint if cause else "Check whether its host responds."
        ) from error
