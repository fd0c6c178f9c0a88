"""Secrets that a program prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from owui_vault.errors import DeadlineExceededError, ProgramMissingError, SecretError
from owui_vault.secrets.decode import without_line_break
from owui_vault.system.process import Command, run

COMMAND_TIMEOUT_SECONDS = 60.0
# A password manager needs its own session; it does not need ours or the keys of a cloud.
_COMMAND_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "GNUPGHOME",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
_COMMAND_PREFIXES = ("XDG_", "PASSWORD_STORE_", "GPG_", "OP_", "BW_", "VAULT_", "SOPS_", "AGE_")


class CommandSource:
    """What a program prints on its standard output; one line break at its end does not count."""

    def __init__(
        self, argv: tuple[str, ...], environ: Mapping[str, str], timeout_seconds: float = COMMAND_TIMEOUT_SECONDS
    ) -> None:
        self._argv = argv
        self._environ = environ
        self._timeout_seconds = timeout_seconds

    def reveal(self) -> str:
        """Run the program. Raises SecretError, also when it is missing or takes too long."""
        command = Command(argv=self._argv, environment=self._environment(), timeout_seconds=self._timeout_seconds)
        hint = "Run the command by hand, as the same user and without a terminal."
        try:
            done = run(command)
        except (ProgramMissingError, DeadlineExceededError) as error:
            raise SecretError(f"{self.describe()} returned no secret: {error.message}", hint=error.hint) from error
        if done.status != 0:
            # What it printed, and where, may be the secret itself: only the status is told.
            raise SecretError(f"{self.describe()} ended with status {done.status}", hint=hint)
        return without_line_break(done.stdout.encode(errors="surrogateescape"), f"the output of {self.describe()}")

    def describe(self) -> str:
        """The program, without its arguments: one of them may be a token."""
        return f"command {Path(self._argv[0]).name}"

    def warnings(self) -> tuple[str, ...]:
        """None."""
        return ()

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self._environ.items()
            if name in _COMMAND_VARIABLES or name.startswith(_COMMAND_PREFIXES)
        }
        return {"PATH": os.defpath, **kept, "LC_ALL": "C.UTF-8"}
