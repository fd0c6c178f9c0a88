"""What restic's failures mean: exit status first, then text. One table for all versions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from owui_vault.engines.common.environment import redact
from owui_vault.engines.common.unreachable import UNREACHABLE, cause_of
from owui_vault.errors import (
    EngineError,
    NoSpaceError,
    RepositoryDamagedError,
    RepositoryExistsError,
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryUnreachableError,
    SecretError,
    SnapshotMissingError,
    VaultError,
    WrongPassphraseError,
)

ENGINE = "restic"
_TAIL = 2000
_LONGEST_WORDS = 300
_OF_BEING_ENDED = re.compile(r"signal \w+ received, cleaning up$")  # what we did to it is no reason

#: What says why nothing gets on; whatever else a program says that waits, and is ended, does not.
WHY_NOTHING_MOVES = (RepositoryUnreachableError, RepositoryFullError, NoSpaceError)

# restic < 0.17 knows 0, 1, 3 and 130 only.
_BY_STATUS: Mapping[int, type[EngineError]] = {
    10: RepositoryMissingError,
    11: RepositoryLockedError,
    12: WrongPassphraseError,
}

# In this order: a dead host also asks "Is there a repository at the following location?", and a full disk is no damage.
_BY_TEXT: tuple[tuple[type[EngineError], re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for kind, pattern in (
        (WrongPassphraseError, r"wrong password or no key found"),
        (RepositoryLockedError, r"repository is already locked"),
        (SnapshotMissingError, r"failed to load snapshot [^\n]*(no such file|does not exist|not found)"),
        (RepositoryExistsError, r"config file already exists|repository master key and config already initialized"),
        (
            RepositoryFullError,
            r"no space left on device|disk quota exceeded|\b507\b.*insufficient storage|quota ?exceeded"
            r"|minimum free (drive|disk) threshold",  # MinIO's; its code, XMinioStorageFull, is shown nowhere
        ),
        (
            RepositoryUnreachableError,
            rf"{UNREACHABLE}|\((403|407|429|5\d\d)\)|\b(429 too many|5\d\d [a-z])|access denied|slow ?down\b"
            r"|tls handshake|x509:|certificate has expired|unsupported algorithm|http2: |connection (closed|lost)"
            r"|unable to start the sftp session|fork/exec|subprocess \S+ exited",
        ),
        (
            RepositoryMissingError,
            r"is there a repository at the following location|repository does not exist|<config/> does not exist",
        ),
        (SnapshotMissingError, r"no matching id found|no snapshot found|is no snapshot|no snapshot matched"),
        (
            RepositoryDamagedError,
            r"is damaged|ciphertext verification failed|invalid data returned|unmarshal:|unexpected eof"
            r"|file is too short|not found in (the )?(repository|index)|pack id does not match|hash mismatch"
            r"|contains errors|data/[0-9a-f]{2}/[0-9a-f]{64}: no such file|could be damaged|loadindex returned errors"
            r"|slice bounds out of range"  # restic 0.14 dies of a key file whose names are damaged
            r"|wrong data returned|blob .* not found|unexpected file size|^ReadFull\(",
        ),
        (RepositoryUnreachableError, r"permission denied|read-only file system|operation not permitted"),
    )
)

_WORDS: Mapping[type[EngineError], tuple[str, str]] = {
    WrongPassphraseError: (
        "the passphrase does not open the repository {location}",
        "Give the passphrase it was created with; a changed file or variable is the usual reason.",
    ),
    RepositoryLockedError: (
        "the repository {location} is locked by another run",
        "Wait for the other run. If it is certainly dead, remove its lock with `restic unlock`.",
    ),
    RepositoryExistsError: (
        "a repository already exists at {location}",
        "Use it as it is, or choose another location.",
    ),
    RepositoryFullError: (
        "no space left for the repository {location}",
        "Free some space there, or prune; what was stored before is intact.",
    ),
    RepositoryUnreachableError: (
        "the repository {location} cannot be reached",
        "Check whether its host answers and whether the credentials are right.",
    ),
    RepositoryMissingError: (
        "there is no repository at {location}",
        "If its disk is not mounted, mount it; if it is new, create it with `init`.",
    ),
    SnapshotMissingError: ("the repository {location} holds no such snapshot", "List what it holds with `snapshots`."),
    RepositoryDamagedError: (
        "the repository {location} is damaged",
        "Check its disk and keep your other repositories; restic's own `repair` commands save what can be saved, on a"
        " copy.",
    ),
    EngineError: ("restic failed on {location}", "Its own error is the last line of this message."),
}

#: Our words say it all; restic's would say it again.
_SAY_ALL = frozenset({WrongPassphraseError, RepositoryMissingError, RepositoryExistsError})

_NO_RIGHT = (
    "this user may not read or write the repository {location}",
    "Run as its owner, or give this user access; a read-only mount is the other possible cause.",
)


_LOCKED_BY = re.compile(r"already locked (?:exclusively )?by (PID \d+ on \S+ by \S+)")
_LOCKED_SINCE = re.compile(r"lock was created at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
_NO_COMPLAINT = re.compile(
    r"^(?:\{|Fatal|goroutine |lock was created|storage ID|the `unlock`|open repository|repository \w+ opened)"
    r"|already locked"
)


def is_complaint(line: str) -> bool:
    """Whether a line is worth a look while restic works.

    What it ends with is told by the error, and who holds the lock by whoever waits for it.
    """
    return bool(line.strip()) and not line.startswith("\t") and not _NO_COMPLAINT.search(line.strip())


def message_of(line: str) -> str:
    """The text of one line of stderr, which is JSON or text, whatever was asked for."""
    if not line.startswith("{"):
        return line
    try:
        document = json.loads(line)
    except ValueError:
        return line
    found = document.get("message") or document.get("error")
    if isinstance(found, Mapping):
        found = found.get("message")
    return found.strip() if isinstance(found, str) else line


def _understood(stderr: str) -> str:
    return "\n".join(message_of(line) for line in stderr.splitlines())


def kind_of(status: int | None, stderr: str) -> type[EngineError]:
    """Which error this status and this text mean."""
    if status is not None and status in _BY_STATUS:
        return _BY_STATUS[status]
    text = _understood(stderr)
    return next((kind for kind, pattern in _BY_TEXT if pattern.search(text)), EngineError)


def error_for(
    status: int | None, stderr: str, *, location: str, argv: Iterable[str] = (), secrets: Iterable[str] = ()
) -> VaultError:
    """The error to raise: understood as restic said it, told with all secrets removed."""
    secrets = tuple(secrets)
    kind = kind_of(status, stderr)
    text, hint = _WORDS[kind]
    if kind is RepositoryUnreachableError and location.startswith("/"):
        text, hint = _NO_RIGHT  # what is here does not have to be reached
    elif kind is RepositoryUnreachableError and (cause := cause_of(_understood(stderr))):
        text, hint = cause.message, cause.hint
    said = _last_words(stderr, next((pattern for each, pattern in _BY_TEXT if each is kind), None))
    if "empty password" in said:
        return SecretError(f"the passphrase of {location} is empty", hint="Give the one it was created with.")
    said = "" if kind in _SAY_ALL else redact(said, secrets)[:_LONGEST_WORDS].rstrip(". ")  # hidden whole, then cut
    message = text.format(location=location)
    error = kind(
        f"{message}: {said}" if said else message,
        engine=ENGINE,
        argv=tuple(redact(argument, secrets) for argument in argv),
        status=status,
        stderr_tail=redact(stderr, secrets)[-_TAIL:],
        hint=hint,
    )
    error.lacks_rights = (text, hint) == _NO_RIGHT
    if isinstance(error, RepositoryLockedError):
        error.holder = _holder(stderr)
    return error


def _holder(stderr: str) -> str:
    """`PID 123 on nas by root, since 2026-11-30 03:15:00`, of restic's words."""
    text = _understood(stderr)
    who = _LOCKED_BY.search(text)
    since = _LOCKED_SINCE.search(text)
    return f"{who[1]}{f', since {since[1]}' if since else ''}" if who else ""


def _is_trace(line: str, after: str) -> bool:
    """A stack trace says a function, and on the next line, behind a tab, where it is."""
    return line.startswith(("\t", "goroutine ")) or after.startswith("\t")


def _last_words(stderr: str, cause: re.Pattern[str] | None) -> str:
    """The line that says most: restic's own `Fatal:`, else the last that names the cause, else the last one."""
    said = [message_of(line) for line in stderr.splitlines() if line.strip()]
    lines = [line.strip() for line, after in zip(said, [*said[1:], ""], strict=False) if not _is_trace(line, after)]
    lines = [line for line in lines if not _OF_BEING_ENDED.search(line)] or lines
    fatal = [line for line in lines if line.startswith("Fatal:")]
    because = [line for line in lines if cause and cause.search(line)]
    chosen = (fatal or because or lines or [""])[-1]
    return chosen.replace("Fatal:", "").strip().splitlines()[0] if chosen.strip() else ""
