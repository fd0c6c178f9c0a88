"""Finds the data directory of a live instance, and reads its identity."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.components.database.facts import DatabaseFacts
from owui_vault.components.names import DATABASE, UPLOADS, VECTOR_DATABASE, VECTORS, not_the_data
from owui_vault.components.sqlite_files import Header
from owui_vault.components.uploads import printable
from owui_vault.components.vectors.chroma import VectorStore
from owui_vault.errors import InstanceError, InstanceNotFoundError, for_root
from owui_vault.model.json_codec import from_json
from owui_vault.system import process
from owui_vault.system.python import interpreter, module_environment

IDENTITY, FACTS = "identity", "facts"
_OF_AN_INSTANCE = frozenset({DATABASE, UPLOADS, VECTORS, "cache"})
_BELOW = ("data", "_data", "backend/data", "open_webui/data")
_TIMEOUT_SECONDS = {IDENTITY: 60.0, FACTS: 600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """A data directory that was found, and what a short look at it told."""

    data_dir: Path  # resolved
    journal_modes: tuple[tuple[str, str], ...]  # (database, "wal" or "delete")
    facts: DatabaseFacts | None  # None: could not be read, `warnings` say why
    store: VectorStore | None = None  # only when all facts were asked for
    no_store: str = ""  # that there is no vector store: no loss where the vectors are elsewhere
    damage: str = ""  # what SQLite says about a database it can open but not read
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Which instance this is; empty when unknown."""
        return self.facts.fingerprint if self.facts else ""

    @property
    def may_be_encrypted(self) -> bool:
        """Whether the database has no header of SQLite's, as one of SQLCipher's has none."""
        return DATABASE not in dict(self.journal_modes)

    @property
    def has_local_uploads(self) -> bool:
        """Whether bytes of uploads may be on this disk alone; where nothing tells they may."""
        return self.facts is None or self.facts.has_local_uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    state: str  # "file", or why there is none
    header: Header = field(default_factory=lambda: Header(is_sqlite=False))
    wal_bytes: int = 0
    journal_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the probe answers; see `instance.probe_main`."""

    databases: Mapping[str, _Look]
    facts: DatabaseFacts | None
    ours: bool | None
    unread: str
    damage: str
    vectors: VectorStore | None
    vectors_unread: str


def probe_instance(
    path: Path,
    *,
    depth: str = IDENTITY,
    ruins: bool = False,
    vectors: Path | None = None,
) -> ProbeResult:
    """Find an Open WebUI data directory and look at it without disturbing a running application.

    `depth` IDENTITY reads fingerprint and schema, FACTS everything (slower on large databases). With `ruins`, a
    database that cannot be SQLite's any more is `damage` even if nothing else is there. `vectors` is where the vector
    store lies when the application has it mounted from elsewhere. Raises InstanceNotFoundError with a hint.
    """
    root = directory_at(path)
    seen = _probe(root, depth, vectors or root / VECTORS)
    ruin = _ruin(root, seen.databases[DATABASE], may_be_all=ruins)
    if seen.ours is False:
        raise InstanceNotFoundError(
            f"{root / DATABASE} is a SQLite database, but not Open WebUI's",
            hint="Its tables user, auth and chat are missing. Has Open WebUI ever been started on this directory?",
        )
    return ProbeResult(
        data_dir=root,
        journal_modes=tuple(_journal_modes(seen.databases)),
        facts=seen.facts,
        store=seen.vectors,
        no_store=_no_store(seen.databases[VECTOR_DATABASE]),
        damage=ruin or (f"{DATABASE} is damaged: {seen.damage}" if seen.damage else ""),
        warnings=tuple(_warnings(root, seen)),
    )


def directory_at(path: Path) -> Path:
    """The resolved data directory, by its names alone: no database is looked at. Raises InstanceNotFoundError."""
    root = folder_at(path)
    _require_content(path, root)
    return root


def require_not_around(path: Path) -> None:
    """Raise InstanceNotFoundError where the database lies one level below."""
    below = [path / name for name in _BELOW if (path / name / DATABASE).exists()]
    if below and not os.path.lexists(path / DATABASE):
        raise InstanceNotFoundError(f"{path} holds no {DATABASE}", hint=f"Did you mean {below[0]}?")


def restorable_at(path: Path) -> Path:
    """The resolved directory, if data may be restored in place of what it holds.

    That is an instance, what is left of one, or nothing. Raises InstanceNotFoundError for a directory of other things.
    """
    root = folder_at(path)
    names = set(os.listdir(root)) - not_the_data(root)
    if names and not names & _OF_AN_INSTANCE:
        _require_content(path, root)
    return root


def folder_at(path: Path) -> Path:
    """The resolved directory, whatever it holds. Raises InstanceNotFoundError when it cannot be read."""
    try:
        root = path.resolve(strict=True)
        if root.is_dir():
            os.listdir(root)
            return root
    except FileNotFoundError:
        raise InstanceNotFoundError(
            f"the data directory {path} does not exist",
            hint="Check instance.data_dir (or --data-dir), and whether the disk or volume is mounted.",
        ) from None
    except PermissionError:
        refused = f"the data directory {path} cannot be read by user {os.geteuid()}"
        raise for_root(InstanceNotFoundError(refused, hint="Run as root, or as the user Open WebUI runs as.")) from None
    hint = f"Give its directory instead: {path.parent}." if path.name == DATABASE else "Give a directory."
    raise InstanceNotFoundError(f"{path} is not a directory", hint=hint)


def _require_content(path: Path, root: Path) -> None:
    """Raise unless something is there that could be the database."""
    if os.path.lexists(root / DATABASE):
        return
    below = [root / name for name in _BELOW if (root / name / DATABASE).exists()]
    names = set(os.listdir(root)) - not_the_data(root)
    if below:
        raise InstanceNotFoundError(f"{path} holds no {DATABASE}", hint=f"Did you mean {below[0]}?")
    if not names:
        raise InstanceNotFoundError(
            f"the data directory {path} is empty", hint="Is the disk or volume mounted, and is this the right path?"
        )
    if names & _OF_AN_INSTANCE:
        raise InstanceNotFoundError(
            f"{DATABASE} is missing in {path}, which otherwise looks like Open WebUI's",
            hint="Was it moved or deleted? `restore --in-place` puts a snapshot's here, `restore --target` elsewhere. A"
            " database elsewhere (DATABASE_URL) must be backed up with its own tools.",
        )
    raise InstanceNotFoundError(
        f"{path} is not a data directory of Open WebUI",
        hint=f"There is no {DATABASE} in it. `docker inspect` shows what is mounted at /app/backend/data.",
    )


def _probe(root: Path, depth: str, vectors: Path) -> _Seen:
    done = process.run(
        process.Command(
            argv=(
                interpreter(),
                *("-P", "-m", "owui_vault.instance.probe_main"),
                *(os.fspath(root), depth, os.fspath(vectors)),
            ),
            environment=module_environment(),
            cwd=Path("/"),
            timeout_seconds=_TIMEOUT_SECONDS[depth],
        )
    )
    if done.status:
        raise InstanceError(
            f"inspecting {root} failed with status {done.status}: {done.stderr_tail.strip().rpartition(os.linesep)[2]}",
            hint="This is a bug in owui_vault; please report it with the message above.",
        )
    return from_json(_Seen, json.loads(done.stdout))


def _ruin(root: Path, look: _Look, *, may_be_all: bool) -> str:
    """Why the file cannot be SQLite's any more; empty for one that SQLite can judge itself.

    Among uploads and vectors it is what is left of an instance, and stored as such; alone it is nothing.
    """
    path = root / DATABASE
    if look.state == "dangling link":
        raise InstanceNotFoundError(
            f"{path} is a symlink to {path.readlink()}, which does not exist",
            hint="Is the disk it points to mounted?",
        )
    if look.state != "file":
        raise InstanceNotFoundError(
            f"{path} cannot be read: {look.state}", hint="Run as root, or as the user Open WebUI runs as."
        )
    header = look.header
    ruin, hint = "", "Restore the last snapshot into a new directory."
    if not header.size_bytes:
        ruin, hint = f"{path} is empty", "Has this instance never been started?"
    elif not header.is_sqlite:
        ruin = f"{path} is not a SQLite database, unless it is encrypted (SQLCipher, DATABASE_TYPE=sqlite+sqlcipher)"
    elif header.missing_bytes and not look.wal_bytes and not look.journal_bytes:
        ruin = f"{path} is cut short: {header.size_bytes:,} of {header.pages * header.page_size:,} bytes"
    if ruin and not may_be_all and not _has_content(root):
        raise InstanceNotFoundError(ruin, hint=hint)
    return ruin


def _has_content(root: Path) -> bool:
    """Whether there are uploads or vectors that would be lost with a database that is ruined."""
    folders = (root / UPLOADS, root / VECTORS)
    return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)


def _journal_modes(databases: Mapping[str, _Look]) -> Iterator[tuple[str, str]]:
    for name, look in databases.items():
        if look.state == "file" and look.header.is_sqlite:
            yield name, look.header.journal_mode


def _no_store(look: _Look) -> str:
    if look.state != "missing":
        return ""
    return f"there is no vector store ({VECTOR_DATABASE}): documents of knowledge bases will not be searchable"


def _warnings(root: Path, seen: _Seen) -> Iterator[str]:
    if seen.unread:
        yield f"{DATABASE} was not read: {seen.unread}"
    look = seen.databases[VECTOR_DATABASE]
    if look.state not in ("file", "missing"):
        yield f"{VECTOR_DATABASE} cannot be read: {look.state}"
    elif look.state == "file" and not look.header.is_sqlite:
        yield f"{VECTOR_DATABASE} is not a SQLite database"
    if seen.vectors_unread:
        yield f"{VECTOR_DATABASE} was not read: {printable(seen.vectors_unread)}"
    if not (root / UPLOADS).is_dir():
        yield f"there is no directory {UPLOADS}: files of chats and knowledge bases will be missing"
