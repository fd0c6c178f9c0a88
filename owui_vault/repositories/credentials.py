"""What a stranger's machine needs besides location and passphrase, in words for the sheet that `init` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from owui_vault.context.context import Repository
from owui_vault.model import RepositoryInfo

_SSH = re.compile(r"(?:sftp:(?://)?|ssh://)(?P<host>[^/:]+)|(?P<short>[^/:@\s]+@[^/:\s]+):")
_HOME_KEYS = ".config/borg/keys"


def credentials_of(repository: Repository, info: RepositoryInfo, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Each in words: variables with where their values are, ssh's key, rclone's file, borg's key file."""
    return (*repository.credentials, *_by_location(repository.engine.location, environ), *_key_files(info, environ))


def _by_location(location: str, environ: Mapping[str, str]) -> Iterator[str]:
    if found := _SSH.match(location):
        host = found["host"] or found["short"]
        yield f"the ssh key that {host} lets in, with what ~/.ssh/config says of that host and its line in known_hosts"
    if location.startswith("rclone:"):
        file = environ.get("RCLONE_CONFIG") or f"{environ.get('HOME', '~')}/.config/rclone/rclone.conf"
        remote = location.removeprefix("rclone:").partition(":")[0]
        yield f"rclone's configuration of {remote}: {file}"


def _key_files(info: RepositoryInfo, environ: Mapping[str, str]) -> Iterator[str]:
    """borg's, where the key is not in the repository: without this file the passphrase opens nothing."""
    if info.engine != "borg":
        return
    if named := environ.get("BORG_KEY_FILE"):
        yield f"borg's key file {named}"
        return
    folder = Path(environ.get("BORG_KEYS_DIR") or f"{environ.get('HOME', '')}/{_HOME_KEYS}")
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return
    for path in files:
        try:
            with path.open("rb") as file:
                words = file.readline(200).split()
        except OSError:
            continue
        if words == [b"BORG_KEY", info.id.encode()]:
            yield f"borg's key file {path}: without it the passphrase opens nothing"
