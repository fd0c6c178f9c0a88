"""The default locations of configuration and state, and what a path in a configuration means."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path

from owui_vault.errors import ConfigError

CONFIG_VARIABLE = "OWUI_VAULT_CONFIG"
_OF_ROOT = Path("/etc/owui-vault/vault.yaml")
_REMOTE = re.compile(r"[^/]*:")  # scheme: or host: before the first slash, as both engines read it
_LOCAL = "local:"  # restic's word for a path of this machine


def find_config(environ: Mapping[str, str], folder: Path) -> Path | None:
    """The configuration file to use when none is named: the first that exists, None when there is none.

    A file named by `$OWUI_VAULT_CONFIG` is the answer even if it does not exist, so that a typing mistake is not
    answered by another file. Raises ConfigError for a file of somebody else's that is merely there.
    """
    if named := environ.get(CONFIG_VARIABLE):
        return expand(named, folder, environ)
    found = next((path for path in config_candidates(environ, folder) if _exists(path)), None)
    if found and _owner(found) not in {0, os.geteuid()}:
        # Whoever runs us in a shared folder would run the commands that somebody else wrote into it.
        raise ConfigError(
            f"{found} belongs to another user, and a configuration can run commands",
            hint=f"If you trust it, name it: --config {found}",
        )
    return found


def config_candidates(environ: Mapping[str, str], folder: Path) -> tuple[Path, ...]:
    """The places `find_config` looks at, in order."""
    return (
        folder / "vault.yaml",
        home(environ) / ".config/owui-vault/vault.yaml",
        _OF_ROOT,
    )


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where this package keeps what it must remember: caches, journals, which repository is which."""
    if os.geteuid() == 0:
        return Path("/var/lib/owui-vault")
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG specification says that a relative path here is invalid and to be ignored.
    return (Path(base) if base.startswith("/") else home(environ) / ".local/state") / "owui-vault"


def home(environ: Mapping[str, str]) -> Path:
    """The user's home directory: `$HOME`, else what the system knows."""
    if named := environ.get("HOME"):
        return Path(named)
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return Path("/")


def expand(text: str, folder: Path, environ: Mapping[str, str]) -> Path:
    """A path as written: `~` is a home directory, a relative one starts at `folder`. Raises ConfigError."""
    if text == "~" or text.startswith("~/"):
        return home(environ) / text[2:]
    if text.startswith("~"):
        user, _, rest = text[1:].partition("/")
        try:
            return Path(pwd.getpwnam(user).pw_dir) / rest
        except KeyError:
            raise ConfigError(f"there is no user {user!r} to expand {text!r} for") from None
    return Path(os.path.normpath(folder / text))


def expand_location(text: str, folder: Path, environ: Mapping[str, str]) -> str:
    """A repository's location: a path of this machine is expanded, everything else is the engine's business."""
    if text.startswith(_LOCAL):
        return f"{_LOCAL}{expand(text.removeprefix(_LOCAL), folder, environ)}"
    return text if _REMOTE.match(text) else str(expand(text, folder, environ))


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except PermissionError:
        return 0


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # somebody else's home says nothing; root's own folder has what this user may not look at
        return path == _OF_ROOT
