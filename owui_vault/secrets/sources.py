"""Where secrets come from: each source reveals one, says where it is kept, and warns if the place is unsafe."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from owui_vault.errors import SecretError
from owui_vault.model import Secret
from owui_vault.secrets import sealed
from owui_vault.secrets.decode import not_empty, read_file, without_line_break

_CREDENTIAL_FOLDER = Path("/run/secrets")


class Source(Protocol):
    """A `ports.SecretSource` that can speak about itself."""

    def reveal(self) -> str:
        """The secret itself. Raises SecretError."""

    def describe(self) -> str:
        """Where the secret is, never the secret."""

    def warnings(self) -> tuple[str, ...]:
        """What is unsafe about the place. Never raises."""


class GivenSource:
    """A secret that is here already."""

    def __init__(self, secret: Secret, origin: str) -> None:
        self._secret = secret
        self._origin = origin

    def reveal(self) -> str:
        """The secret. Raises SecretError when it is empty."""
        return not_empty(self._secret.reveal(), f"the secret {self._origin}")

    def describe(self) -> str:
        """How it came here."""
        return self._origin

    def warnings(self) -> tuple[str, ...]:
        """None."""
        return ()


class FileSource:
    """The content of a regular file; one line break at its end does not count."""

    def __init__(self, path: Path, *, private: bool = True) -> None:
        self._path = path
        self._private = private

    def reveal(self) -> str:
        """Read the file. Raises SecretError."""
        return without_line_break(read_file(self._path), f"the secret file {self._path}")

    def describe(self) -> str:
        """The file's name."""
        return f"file {self._path}"

    def warnings(self) -> tuple[str, ...]:
        """One, if other users can read it."""
        try:
            mode = self._path.stat().st_mode
        except OSError:
            return ()
        if not self._private or not mode & 0o077:
            return ()
        who = "everybody" if mode & 0o007 else "its group"
        return (f"the secret file {self._path} is open to {who}; chmod 600 {self._path}",)


class EnvironmentSource:
    """A variable of the environment."""

    def __init__(self, variable: str, environ: Mapping[str, str]) -> None:
        self._variable = variable
        self._environ = environ

    def reveal(self) -> str:
        """The variable's value. Raises SecretError when it is not set or empty."""
        value = self._environ.get(self._variable)
        if value is None:
            raise SecretError(
                f"the environment variable {self._variable} is not set",
                hint=f"Set {self._variable}, or set in the configuration where the secret is.",
            )
        return not_empty(value, f"the environment variable {self._variable}")

    def describe(self) -> str:
        """The variable's name."""
        return f"environment variable {self._variable}"

    def warnings(self) -> tuple[str, ...]:
        """None."""
        return ()


class CredentialSource:
    """A file in systemd's `$CREDENTIALS_DIRECTORY`, or in `/run/secrets` of a container."""

    def __init__(self, name: str, environ: Mapping[str, str], container_folder: Path = _CREDENTIAL_FOLDER) -> None:
        self._name = name
        named = environ.get("CREDENTIALS_DIRECTORY", "")
        self._folders = (*((Path(named),) if named else ()), container_folder)

    def reveal(self) -> str:
        """Read the first that exists. Raises SecretError."""
        for folder in self._folders:
            if (folder / self._name).exists():
                return FileSource(folder / self._name, private=False).reveal()
        looked = " or ".join(str(folder) for folder in self._folders)
        raise SecretError(
            f"there is no credential {self._name} in {looked}",
            hint=f"Give the service LoadCredential={self._name}:/path, or the container a secret of that name.",
        )

    def describe(self) -> str:
        """The credential's name."""
        return f"credential {self._name}"

    def warnings(self) -> tuple[str, ...]:
        """None: who may read that folder is not decided by its modes."""
        return ()


class KeyringSource:
    """An entry of the desktop's keyring; needs the extra `keyring`."""

    def __init__(self, service: str, username: str) -> None:
        self._service = service
        self._username = username

    def reveal(self) -> str:
        """Ask the keyring. Raises SecretError."""
        try:
            import keyring  # noqa: PLC0415  an extra, and slow
            import keyring.errors  # noqa: PLC0415  same
        except ImportError:
            raise SecretError(
                f"{self.describe()} needs the keyring package", hint="Install it: pip install 'owui_vault[keyring]'."
            ) from None
        try:
            found = keyring.get_password(self._service, self._username)
        except keyring.errors.KeyringError as error:
            raise SecretError(
                f"{self.describe()} could not be queried: {type(error).__name__}",
                hint="Is the keyring unlocked, and is this the session it belongs to?",
            ) from error
        if found is None:
            raise SecretError(
                f"there is no {self.describe()}", hint=f"Store it: keyring set {self._service} {self._username}"
            )
        return not_empty(str(found), self.describe())

    def describe(self) -> str:
        """Service and user name."""
        return f"keyring entry {self._service}/{self._username}"

    def warnings(self) -> tuple[str, ...]:
        """None."""
        return ()


class SealedSource:
    """One entry of a sealed file; its key comes from another source."""

    def __init__(self, path: Path, name: str, unlock: Source) -> None:
        self._path = path
        self._name = name
        self._unlock = unlock

    def reveal(self) -> str:
        """Open the file. Raises SecretError."""
        return sealed.unseal(self._path, self._name, Secret(self._unlock.reveal()))

    def describe(self) -> str:
        """File, entry, and where its key is: both must be kept."""
        return f"entry {self._name} of the sealed file {self._path}, opened by {self._unlock.describe()}"

    def warnings(self) -> tuple[str, ...]:
        """Those of the key's source; the file itself may be seen by anybody."""
        return self._unlock.warnings()


class Remembered:
    """Asks a slow source once and keeps the answer, so that a prompt or a key derivation does not come twice."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._found: Secret | None = None

    def reveal(self) -> str:
        """The answer. A failure is not kept."""
        with self._lock:
            if self._found is None:
                self._found = Secret(self._source.reveal())
            return self._found.reveal()

    def describe(self) -> str:
        """What the source says."""
        return self._source.describe()

    def warnings(self) -> tuple[str, ...]:
        """What the source says."""
        return self._source.warnings()
