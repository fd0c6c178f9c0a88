"""What borg's exit statuses, message ids and texts mean: the one table for it.

Borg 1.4 with `BORG_EXIT_CODES=modern` has a status per error, borg 1.2 only 2 with a message id, and both tell some
things by text alone: a full disk, a host that does not answer. Hence the order: status, message id, text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from owui_vault.engines.common.disk_full import tells_full_disk
from owui_vault.engines.common.unreachable import cause_of
from owui_vault.errors import (
    EngineError,
    RepositoryDamagedError,
    RepositoryExistsError,
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryRolledBackError,
    RepositoryUnreachableError,
    SnapshotMissingError,
    WrongPassphraseError,
)

ENGINE = "borg"
CANNOT_BE_LOCKED = "cannot be locked"
_IGNORED = "Exception ignored in"
_TRACEBACK = re.compile(rf"(?:Remote: )?Traceback \(most recent call last\)|{_IGNORED}")
_RAISED = re.compile(r"(?:Remote: )?(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?::|$)")  # how a traceback ends
_REPORT = re.compile(
    r"(?:Remote: |Borg server: )?(?:Platform: |Linux: |Borg: \d|PID: \d|sys\.argv: |SSH_ORIGINAL_COMMAND: "
    r"|During handling of the above|The above exception was the direct|(?:Local|Remote) Exception$)"
)
_OF_SSH = re.compile(r"(Remote: )?(ssh: |kex_exchange|Host key |Connection (reset|closed|timed out))")
_BROKEN = re.compile(r"Errno 32\]|Errno 104\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Where an error happened, for its message."""

    location: str
    folder: str  # our caches and security state for this repository
    argv: tuple[str, ...]
    stderr_tail: str
    clean: Callable[[str], str] = str  # what borg said itself is shown through this only


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error is to a caller. `{location}` and `{folder}` are filled in."""

    kind: type[EngineError]
    message: str
    hint: str


_SOURCE = "Check where the configuration takes the passphrase from."
_MOUNTED = "Is its disk or share mounted? `init` creates a new repository."
_ROOM = "Free or add space there; pruning needs some as well."
_REACH = "Does `ssh` as this user connect without a prompt, and is borg installed there?"
_RIGHTS = "Run as the user who owns the repository, or give this one read and write access."

_DAMAGED = Meaning(
    RepositoryDamagedError,
    "the repository at {location} is damaged",
    "Run `borg check` on it; `borg check --repair` saves what can be saved. Do not remove snapshots before that.",
)
_IS_FULL = Meaning(RepositoryFullError, "no space left at {location}", _ROOM)
_FORBIDDEN = Meaning(RepositoryUnreachableError, "this user has no access to {location}", _RIGHTS)
_SILENT = Meaning(RepositoryUnreachableError, "the host of {location} does not answer", _REACH)

#: By message id, which both versions have on every error of their own.
BY_MSGID = {
    "Repository.DoesNotExist": Meaning(RepositoryMissingError, "there is no repository at {location}", _MOUNTED),
    "Repository.InvalidRepository": Meaning(
        RepositoryMissingError, "{location} exists, but is not a borg repository", _MOUNTED
    ),
    "Repository.ParentPathDoesNotExist": Meaning(
        RepositoryMissingError,
        "the parent folder of {location} does not exist",
        "Is the disk or share mounted? If so, create the folder first.",
    ),
    "Repository.AlreadyExists": Meaning(
        RepositoryExistsError,
        "a repository already exists at {location}",
        "Use it as it is, or choose another location.",
    ),
    "Repository.PathAlreadyExists": Meaning(
        RepositoryExistsError,
        "something else already exists at {location}",
        "Choose a location that does not exist, or an empty directory.",
    ),
    "PassphraseWrong": Meaning(WrongPassphraseError, "the passphrase does not open {location}", _SOURCE),
    "NoPassphraseFailure": Meaning(WrongPassphraseError, "{location} needs a passphrase, and there was none", _SOURCE),
    "KeyfileNotFoundError": Meaning(
        WrongPassphraseError,
        "the key file of {location} is not on this machine",
        "Put the exported key back with `borg key import`, or set BORG_KEYS_DIR to the folder that holds it.",
    ),
    "RepoKeyNotFoundError": Meaning(
        RepositoryDamagedError,
        "the key is missing from the repository at {location}",
        "Put an exported key back with `borg key import`.",
    ),
    "LockTimeout": Meaning(
        RepositoryLockedError,
        "{location} is locked by another run of borg",
        "Wait for it. If borg is not running on any machine that uses this repository, run `borg break-lock`.",
    ),
    "LockFailed": Meaning(
        EngineError, "{location} " + CANNOT_BE_LOCKED, "Is it writable for this user, and not mounted read-only?"
    ),
    "Archive.DoesNotExist": Meaning(
        SnapshotMissingError, "the snapshot is no longer in {location}", "List the snapshots again."
    ),
    "Archive.AlreadyExists": Meaning(
        EngineError,
        "{location} already holds a snapshot of that name",
        "Each snapshot is stored once; take a new one.",
    ),
    "Cache.RepositoryReplay": Meaning(
        RepositoryRolledBackError,
        "{location} is older than when it was last used from this machine",
        "Its disk lost the last writes (a power cut), an older copy was put back, or it was tampered with. "
        "Once you know which, `init --again` accepts it as it is.",
    ),
    "Cache.CacheInitAbortedError": Meaning(
        EngineError,
        "{location} is not encrypted",
        "Only encrypted repositories are used: make a new one with `init` at another place.",
    ),
    "Cache.EncryptionMethodMismatch": Meaning(
        RepositoryDamagedError,
        "{location} is encrypted differently than when it was last used from this machine",
        "The repository was replaced or tampered with. If you replaced it, remove the folder {folder} and try again.",
    ),
    "PathNotAllowed": Meaning(
        RepositoryUnreachableError,
        "the host does not allow access to {location}",
        "Compare the location with `--restrict-to-path` in the authorized_keys of the host.",
    ),
    "Repository.PathPermissionDenied": _FORBIDDEN,
    "Repository.InsufficientFreeSpaceError": _IS_FULL,
    "Repository.StorageQuotaExceeded": Meaning(
        RepositoryFullError,
        "the storage quota of {location} is used up",
        "Prune snapshots, or raise the quota on the host.",
    ),
    "ConnectionClosed": _SILENT,
    "ConnectionClosedWithHint": _SILENT,
    "ConnectionBrokenWithHint": _SILENT,
    "Repository.CheckNeeded": _DAMAGED,
    "Repository.InvalidRepositoryConfig": _DAMAGED,
    "Repository.ObjectNotFound": _DAMAGED,
    "NoManifestError": _DAMAGED,
    "KeyfileInvalidError": _DAMAGED,
    "IntegrityError": _DAMAGED,
    "FileIntegrityError": _DAMAGED,
    "DecompressionError": _DAMAGED,
    "TAMInvalid": _DAMAGED,
    "TAMRequiredError": _DAMAGED,
}

#: The statuses of borg 1.4 for the same errors. 1.2 ends with 2 for all.
MSGIDS_BY_STATUS = {
    10: "Repository.AlreadyExists",
    12: "Repository.CheckNeeded",
    13: "Repository.DoesNotExist",
    14: "Repository.InsufficientFreeSpaceError",
    15: "Repository.InvalidRepository",
    16: "Repository.InvalidRepositoryConfig",
    17: "Repository.ObjectNotFound",
    18: "Repository.ParentPathDoesNotExist",
    19: "Repository.PathAlreadyExists",
    20: "Repository.StorageQuotaExceeded",
    21: "Repository.PathPermissionDenied",
    25: "NoManifestError",
    30: "Archive.AlreadyExists",
    31: "Archive.DoesNotExist",
    40: "KeyfileInvalidError",
    42: "KeyfileNotFoundError",
    44: "RepoKeyNotFoundError",
    50: "NoPassphraseFailure",
    52: "PassphraseWrong",
    60: "Cache.CacheInitAbortedError",
    63: "Cache.EncryptionMethodMismatch",
    64: "Cache.RepositoryReplay",
    72: "LockFailed",
    73: "LockTimeout",
    80: "ConnectionClosed",
    81: "ConnectionClosedWithHint",
    83: "PathNotAllowed",
    87: "ConnectionBrokenWithHint",
    90: "IntegrityError",
    91: "FileIntegrityError",
    92: "DecompressionError",
}

#: What ssh said before borg found the connection closed, if borg waited long enough to hear it.
BY_TEXT_OF_SSH = {
    r"Permission denied \(": Meaning(
        RepositoryUnreachableError,
        "the host of {location} refuses this user's ssh key",
        "Try `ssh` as this user; name the key in ~/.ssh/config or in BORG_RSH.",
    ),
    r"Remote: .*borg.*(?:not found|No such file)": Meaning(
        RepositoryUnreachableError,
        "there is no borg on the host of {location}",
        "Install borg there, or set the remote path to its location.",
    ),
}

#: What has no message id of its own: text of warnings and of Python's tracebacks.
BY_TEXT = {
    # Borg 1.2 tells a remote error by its text alone.
    r"There is already something at": BY_MSGID["Repository.PathAlreadyExists"],
    r"The parent path of the repo directory": BY_MSGID["Repository.ParentPathDoesNotExist"],
    r"is not a valid repository": BY_MSGID["Repository.InvalidRepository"],
    r"acquire the lock .*\(timeout\)": BY_MSGID["LockTimeout"],
    r"Insufficient free space": _IS_FULL,
    # The connection broke while borg was writing.
    r"BrokenPipeError|ConnectionResetError|Errno 32\]|Errno 104\]": _SILENT,
    r"storage quota .* has been exceeded": BY_MSGID["Repository.StorageQuotaExceeded"],
    r"Errno 28|No space left on device|Errno 122|Disk quota exceeded": _IS_FULL,
    r"(?s)borg/(?:repository|locking)\.py.*PermissionError": _FORBIDDEN,
    r"Errno 30\]": Meaning(EngineError, "{location} is on a read-only file system", "Mount it writable."),
    # borg up to 1.2.4 keeps the old seal of an archive whose comment it changes (borg issue 7791): later ones say this
    # of each archive that was pinned, unpinned or marked with it, and of one that was forged (CVE-2023-36811).
    r"Archive authentication did not verify": Meaning(
        RepositoryDamagedError,
        "a snapshot in {location} was relabelled by borg 1.2.4 or older, or forged: its seal is not right",
        "If nobody else can write there, nothing is damaged: renew the seals once, as docs/install.md says.",
    ),
    r"(?s)ObjectNotFound|Data integrity error|configparser|Errno 5\]"
    r"|borg/(?:repository|remote)\.py.*"
    r"(?:FileNotFoundError|KeyError|EOFError|struct\.error|UnicodeDecodeError|UnpackException)"
    r"|borg/crypto/.*(?:binascii\.Error|UnpackException|ExtraData|struct\.error)": _DAMAGED,
}


def classify(status: int, msgids: Sequence[str], texts: Sequence[str], where: Circumstances) -> EngineError:
    """The error that a failed run of borg stands for."""
    text = "\n".join(texts)
    known = (MSGIDS_BY_STATUS[status], *msgids) if status in MSGIDS_BY_STATUS else tuple(msgids)
    meaning = _by_msgid(known, text) or _first(BY_TEXT, text) or _unknown(status, where.clean(_said_last(texts)))
    error = meaning.kind(
        meaning.message.format(location=where.location, folder=where.folder),
        engine=ENGINE,
        argv=where.argv,
        status=status,
        stderr_tail=where.stderr_tail,
        hint=meaning.hint.format(location=where.location, folder=where.folder),
    )
    error.lacks_rights = meaning is _FORBIDDEN
    return error


def blames_the_repository(text: str) -> bool:
    """Whether a complaint about a file is really about where it was going.

    Borg 1.2 blames the file it was reading for a full disk or a broken connection; no file is read with such an error.
    """
    return tells_full_disk(text) or bool(_BROKEN.search(text))


def _by_msgid(msgids: Sequence[str], text: str) -> Meaning | None:
    meaning = next((BY_MSGID[msgid] for msgid in msgids if msgid in BY_MSGID), None)
    return _first(BY_TEXT_OF_SSH, text) or _caused(text) or meaning if meaning is _SILENT else meaning


def _caused(text: str) -> Meaning | None:
    """What ssh said of the connection; of its "Connection closed by remote host" borg says more by itself."""
    said = "\n".join(line for line in text.splitlines() if _OF_SSH.match(line))  # its banner says anything
    cause = cause_of(said)
    return Meaning(RepositoryUnreachableError, cause.message, cause.hint) if cause else None


def _first(table: Mapping[str, Meaning], text: str) -> Meaning | None:
    return next((meaning for pattern, meaning in table.items() if re.search(pattern, text)), None)


def telling_lines(texts: Sequence[str]) -> list[str]:
    """What borg said, without the way that an exception of Python's took, and the report on the machine below it."""
    return [line for line, _raised in _told(texts)]


def _told(texts: Sequence[str]) -> list[tuple[str, bool]]:
    """Each line that tells something, and whether it is the end of a traceback."""
    told: list[tuple[str, bool]] = []
    way = ""  # the beginning of the traceback that we are in
    for line in (line.rstrip() for text in texts for line in text.splitlines()):
        if _TRACEBACK.match(line):
            way = way or line
        elif way and _RAISED.match(line):
            # borg says most errors in a line of their own before; what Python ignored, it ignored
            if not way.startswith(_IGNORED) and not any(said and said in line for said, _ in told):
                told.append((line, True))
            way = ""
        elif line and not way and not _REPORT.match(line):
            told.append((line, False))
    return told


def _said_last(texts: Sequence[str]) -> str:
    """The line that says most: the end of a traceback, else the last one."""
    told = _told(texts)
    return next((line for line, raised in reversed(told) if raised), told[-1][0] if told else "")


def _unknown(status: int, said: str) -> Meaning:
    said = said.rstrip(".").replace("{", "{{").replace("}", "}}")
    how = f"ended by signal {-status}" if status < 0 else f"failed with status {status}"
    what = f"borg {how} on {{location}}" + (f": {said}" if said else "")
    return Meaning(EngineError, what, "Run the same borg command by hand to see its full output.")
