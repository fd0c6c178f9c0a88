"""Everything this package raises on purpose.

VaultError
├── ConfigError                     the configuration or a command line is wrong; nothing was changed
│   ├── SameRepositoryError         two repositories are one, or one is a copy of the other
│   ├── SecretError                 a passphrase or key could not be obtained
│   └── ProgramMissingError         restic, borg or another program is absent or too old
├── LockHeldError                   another run is using this instance              retryable
├── DeadlineExceededError           a bounded step took too long                    retryable
├── CancelledError                  the caller asked to stop; everything was rolled back
├── StalePlanError                  the repository changed since the plan was made
├── LaterFormatError                a later version of this package wrote it
├── UnforeseenError                 one repository failed in an unforeseen way
├── InstanceError
│   ├── InstanceNotFoundError       no Open WebUI data where one was expected
│   ├── WrongInstanceError          the series belongs to another instance
│   ├── UnsupportedInstanceError    its state is where this package cannot read it
│   ├── QuiesceError                could not be made quiet; still running
│   └── ResumeError                 could not be resumed: the instance is DOWN
├── CaptureError
│   ├── NotProvenError              no instant could be proven, and the configuration requires one
│   └── NoSpaceError                a file system is, or would become, full
├── EngineError                     carries engine, argv, status and the last lines of stderr
│   ├── EngineOutputError           unexpected output from the program
│   ├── RepositoryMissingError
│   ├── RepositoryExistsError
│   ├── RepositoryLockedError                                                       retryable
│   ├── RepositoryDamagedError
│   │   └── RepositoryRolledBackError   older than when this machine last used it
│   ├── RepositoryFullError
│   ├── RepositoryAppendOnlyError   nothing can be freed there
│   ├── RepositoryUnreachableError                                                  retryable
│   ├── WrongPassphraseError
│   ├── SnapshotMissingError
│   └── SnapshotAmbiguousError
├── NotifyError                     a notification or sign of life did not arrive
└── RestoreError
    ├── TargetError                 the target cannot take a restore
    ├── ContentMismatchError        the restored files differ from the manifest
    └── RollbackError               an in-place restore failed and could not be rolled back
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from owui_vault.model import InitializeReport, PruneReport, ReplicationReport, SnapshotReport


Error = TypeVar("Error", bound="VaultError")


class VaultError(Exception):
    """Base of all errors of this package.

    `hint` is one sentence that says what to do next. `retryable` is true when the same call may succeed
    later without any change. `exit_code` is what the command line ends with. `lacks_rights`: this user may not do it,
    and root may. `report` is set by `Vault.snapshot`, `Vault.prune`, `Vault.initialize` and `Vault.replicate` when all
    repositories failed.
    """

    exit_code: int = 1
    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.lacks_rights = False
        self.report: SnapshotReport | PruneReport | InitializeReport | ReplicationReport | None = None


def for_root(error: Error) -> Error:
    """The same error, of which is known that only rights are missing."""
    error.lacks_rights = True
    return error


class ConfigError(VaultError):
    """The configuration or the command line is wrong; nothing was changed."""

    exit_code = 2


class SameRepositoryError(ConfigError):
    """Two configured repositories are one store under two names, or one of them is a copy of the other."""


class SecretError(ConfigError):
    """A passphrase or key could not be obtained."""


class ProgramMissingError(ConfigError):
    """A program this run needs is absent or too old."""


class LockHeldError(VaultError):
    """Another run works on this instance or on this data directory."""

    exit_code = 11
    retryable = True


class DeadlineExceededError(VaultError):
    """A bounded step took too long; the program it ran was ended."""

    retryable = True


class CancelledError(VaultError):
    """The caller's `cancel` event was set; everything begun was rolled back."""


class StalePlanError(VaultError):
    """The repository changed since the plan was made; make a new plan."""


class LaterFormatError(VaultError):
    """A later version of this package wrote it, in a format that this one does not know. Nothing is wrong with it."""

    exit_code = 2

    def __init__(self, what: str, version: str) -> None:
        wanted = f"owui_vault {version}" if version else "the owui_vault that stored it"
        super().__init__(
            what,
            hint=f"Install {wanted} or later, or restore with restic or borg alone: RESTORE.txt says how.",
        )


class UnforeseenError(VaultError):
    """An unforeseen failure: a bug in this package, or in a third-party engine; or a file that this user may not use.

    The exception itself is the `__cause__`. Its text may hold anything, even a secret: `message` gives only its kind,
    and for a file that could not be used the system's error.
    """

    def __init__(self, error: Exception) -> None:
        message, hint = f"unexpected {type(error).__name__}", "Pass -v to see where it happened, and report it."
        if isinstance(error, OSError) and error.strerror:
            message += f": {error.strerror}" + (f": {error.filename}" if error.filename else "")
        lacks_rights = isinstance(error, PermissionError) and bool(error.filename) and os.geteuid() != 0
        if isinstance(error, OSError) and lacks_rights:
            message = f"user {os.geteuid()} may not use {error.filename}: {error.strerror}"
            hint = "Run as its owner, or give this user access."
        super().__init__(message, hint=hint)
        self.lacks_rights = lacks_rights
        self.__cause__ = error

    @property
    def places(self) -> tuple[str, ...]:
        """Where it happened, the innermost place last; nothing of the data."""
        import traceback  # noqa: PLC0415  slow, and rarely needed

        frames = traceback.extract_tb(self.__cause__.__traceback__ if self.__cause__ else None)
        return tuple(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)


class InstanceError(VaultError):
    """Something about the Open WebUI instance itself."""


class InstanceNotFoundError(InstanceError):
    """There is no Open WebUI data where one was expected."""

    exit_code = 2


class WrongInstanceError(InstanceError):
    """The series in the repository belongs to another instance."""

    exit_code = 2


class UnsupportedInstanceError(InstanceError):
    """The instance keeps its state where this package cannot read it."""

    exit_code = 2


class QuiesceError(InstanceError):
    """The instance could not be made quiet; it runs as before."""


class ResumeError(InstanceError):
    """The instance could not be resumed. It is not as it was found."""

    exit_code = 4


class CaptureError(VaultError):
    """The state of the instance could not be brought to rest."""


class NotProvenError(CaptureError):
    """No single instant could be proven, and the configuration refuses anything less."""


class NoSpaceError(CaptureError):
    """A file system is full or would become so."""


class EngineError(VaultError):
    """restic or borg failed.

    `argv` never holds a secret; `stderr_tail` is the end of what the program said, redacted.
    """

    def __init__(  # noqa: PLR0913  each is a fact a caller may want
        self,
        message: str,
        *,
        engine: str = "",
        argv: tuple[str, ...] = (),
        status: int | None = None,
        stderr_tail: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.engine = engine
        self.argv = argv
        self.status = status
        self.stderr_tail = stderr_tail


class EngineOutputError(EngineError):
    """Unexpected output from the program."""


class RepositoryMissingError(EngineError):
    """There is no repository at the location, or it is not mounted."""

    exit_code = 10


class RepositoryExistsError(EngineError):
    """There is a repository at the location already."""


class RepositoryLockedError(EngineError):
    """Another program works on the repository. `holder` is who, as far as the engine says."""

    holder: str = ""
    exit_code = 11
    retryable = True


class RepositoryDamagedError(EngineError):
    """The repository is damaged. `paths` are files of a snapshot that could not be fetched, as far as that is known."""

    paths: tuple[str, ...] = ()


class RepositoryRolledBackError(RepositoryDamagedError):
    """The repository is older than when this machine last used it: something that was stored there is gone."""


class RepositoryFullError(EngineError):
    """No space left for the repository."""


class RepositoryAppendOnlyError(EngineError):
    """Removed snapshots still take up space: the repository, or the key for its host, is append-only."""


class RepositoryUnreachableError(EngineError):
    """The host of the repository does not answer, or refuses us."""

    retryable = True


class WrongPassphraseError(EngineError):
    """The passphrase does not open the repository."""

    exit_code = 12


class SnapshotMissingError(EngineError):
    """There is no such snapshot."""


class SnapshotAmbiguousError(EngineError):
    """More than one snapshot matches."""


class RestoreError(VaultError):
    """A restore failed. The previous data are untouched unless the message says otherwise."""


class TargetError(RestoreError):
    """The target directory cannot take a restore."""

    exit_code = 2


class ContentMismatchError(RestoreError):
    """What came out of the repository differs from the manifest."""

    exit_code = 5


class RollbackError(RestoreError):
    """An in-place restore failed and could not be undone."""

    exit_code = 4


class NotifyError(VaultError):
    """A notification or a sign of life did not arrive. What it was about is as good or bad as it was."""


def as_result(error: Exception) -> VaultError:
    """What `error` is as the result of one part of several, so that the others are not kept from theirs.

    Raises what is nobody's result: a wish to stop, and what concerns the instance.
    """
    if isinstance(error, CancelledError | ResumeError | RollbackError):
        raise error
    return error if isinstance(error, VaultError) else UnforeseenError(error)
