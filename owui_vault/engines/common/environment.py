"""The environment that engine programs get, and which parts of it must never be shown."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from owui_vault.engines.common import launcher
from owui_vault.errors import ConfigError
from owui_vault.ports import Revealed, SecretSource
from owui_vault.system.python import interpreter

_log = logging.getLogger(__name__)

HIDDEN = "***"
_SHORTEST_SECRET = 4  # shorter ones would blot out half of every message

# What the user's own ssh, rclone and cloud profiles are found by, and how the network is reached.
_KEPT = (
    *("HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"),
    "LD_LIBRARY_PATH",  # without it some Pythons do not start: that of the launcher, and borg's
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)
#: The same for all programs, unless a repository's own `environment` names one.
INHERITED = frozenset(_KEPT)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SSH = "ssh -o BatchMode=yes -o ConnectTimeout={seconds} -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
_LONGEST_CONNECT_SECONDS = 20
_SHARE_FOR_CONNECTING = 0.75  # of the time of a call, so that the answer is `unreachable` and not `too slow`

# What this package tells the programs itself. A passphrase in the environment would be readable in /proc.
_OURS = re.compile(
    r"RESTIC_(PASSWORD|PASSWORD_FILE|PASSWORD_COMMAND|REPOSITORY|REPOSITORY_FILE|CACHE_DIR|PROGRESS_FPS)"
    r"|BORG_(PASSPHRASE|PASSPHRASE_FD|PASSCOMMAND|NEW_PASSPHRASE|REPO|BASE_DIR|EXIT_CODES)"
    r"|TZ|LC_ALL|LANG"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES = {"\ufeff": "a byte order mark", "\n": "a line break", "\r": "a line break", "\t": "a tab"}
_IN_URL = re.compile(r"(?<=://)([^/\s:]*):([^/\s]*)@")  # to the last @ before the path: a password may hold some


def check_access(location: object, passphrase: object) -> str:
    """The location as text. Raises ConfigError for a location or a passphrase of another kind."""
    if not isinstance(location, str | os.PathLike) or isinstance(os.fspath(location), bytes):
        raise ConfigError(f"{location!r} is no location of a repository", hint="Give text, or a pathlib.Path.")
    if isinstance(passphrase, str | bytes):  # not shown, whatever it is
        raise ConfigError(
            "a passphrase is given as Secret, not as text", hint='Write Secret("…"), or name where it is.'
        )
    return str(os.fspath(location))


def check_extra(extra: Iterable[str]) -> None:
    """Raise ConfigError for names in a repository's `environment` that mean nothing, or that we set ourselves."""
    for name in extra:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is not the name of an environment variable")
        if _OURS.fullmatch(name):
            raise ConfigError(
                f"{name} cannot be set in the environment of a repository",
                hint="It is derived from the location and the passphrase.",
            )


def reveal_all(extra: Mapping[str, SecretSource | str], secrets: Revealed) -> dict[str, str]:
    """The values themselves. Raises SecretError."""
    return {name: secrets.of(value) for name, value in extra.items()}


def engine_environment(
    ours: Mapping[str, str], extra: Mapping[str, str], inherited: Mapping[str, str]
) -> dict[str, str]:
    """Everything an engine program finds in its environment.

    `ours` is what this package decides (folders, descriptors); it wins over `extra`, the user's for this repository,
    and that over the few variables of the environment we were given (`inherited`) that are kept. Nothing named
    RESTIC_*, BORG_* or AWS_* comes from there: which repository is meant must not depend on who runs us.
    """
    kept = {name: inherited[name] for name in _KEPT if inherited.get(name)}
    environment = {"PATH": _PATH, **kept, **extra, **ours, "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    if (place := environment.get("TMPDIR")) and not Path(place).is_dir():
        # restic 0.14 to 0.19 fail there in words of their own, borg passes over it
        _log.warning("TMPDIR is %s, which is not a directory: engines use /tmp", place)
        del environment["TMPDIR"]
    return environment


def ssh_command(timeout_seconds: float) -> str:
    """An ssh that asks nobody, and gives up on a host that is silent or falls silent: by itself it waits for ever."""
    seconds = min(_LONGEST_CONNECT_SECONDS, int(timeout_seconds * _SHARE_FOR_CONNECTING))
    return _SSH.format(seconds=max(1, seconds))


def private_folder(parent: Path, name: str) -> Path:
    """A folder of ours, made when it is not there."""
    for folder in (parent, parent / name):  # `parents=True` alone would leave the upper one to the umask
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return parent / name


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets and without passwords in addresses."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return _IN_URL.sub(rf"\1:{HIDDEN}@", text)


def invisible_ends(passphrase: str) -> tuple[str, ...]:
    """What stands at the ends of a passphrase and cannot be seen on paper."""
    ends = {"begins": passphrase[:1], "ends": passphrase[-1:]}
    return tuple(
        f"{where} with {_NAMES.get(sign) or ('a blank' if sign.isspace() else 'a character that cannot be seen')}"
        for where, sign in ends.items()
        if sign.isspace() or not sign.isprintable()
    )


def without_credentials(location: str) -> str:
    """The location as it may be shown: user and password of an address are left out."""
    return _IN_URL.sub(r"\1@", location)


def launcher_argv() -> tuple[str, ...]:
    """An interpreter that we may run, isolated from everybody's settings, and the launcher."""
    return (interpreter(any_version=True), "-I", "-S", launcher.__file__)
