"""What is remembered between runs, besides the repositories: ids, sequence numbers, the ledger.

All of it can be lost. Then the next run learns it again from the repositories, and the warning that another repository
is where the known one was is lost. With restic one thing more: a run that is killed after storing, before it could
check whether an upload had been rewritten meanwhile, leaves a snapshot that only this memory doubts (docs/design.md).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from owui_vault.errors import ConfigError, NoSpaceError, for_root
from owui_vault.model import FullCheck, LedgerEntry
from owui_vault.model.json_codec import dumps, from_json
from owui_vault.model.manifest import ACCEPTED_COLLAPSE, CHECK
from owui_vault.system.durable_files import private_directory, read_json, try_to_write, write_durably
from owui_vault.system.filesystem import is_full
from owui_vault.system.lock import USUAL_PATIENCE, Patience, file_lock

LEDGER_LENGTH = 100
CHECKS_LENGTH = 100
REWRITTEN_LENGTH = 1000  # a tool that touches all uploads once must not have all of them copied for ever
_MEMORY = "memory.json"
_LEDGER = "ledger.json"
_CHECKS = "checks.json"

Value = TypeVar("Value")


def short_name(data_dir: Path) -> str:
    """A name for a data directory that no other one has: eight hex digits."""
    return hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:8]


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Raise ConfigError, or NoSpaceError, where the state cannot be kept in `folder` as it should be."""
    try:
        yield
    except OSError as error:
        what = f"the state directory {folder} cannot be used: {error.strerror}"
        if is_full(error):
            raise NoSpaceError(what, hint="Free some space there, or set state_dir to another place.") from error
        refused = ConfigError(
            f"{what}: {error.filename}" if error.filename else what,
            hint="Run as its owner, or set state_dir (or $XDG_STATE_HOME) to a directory of this user.",
        )
        raise (for_root(refused) if isinstance(error, PermissionError) else refused) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LastStored:
    """The newest snapshot that this machine stored for a series. Where `instant` is None only its id was noted."""

    id: str
    engine_id: str = ""
    sequence: int = 0
    instant: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryMemory:
    """What is known of one repository.

    `last` is the newest snapshot stored by the named series. `unverified` are our ids of snapshots, each with
    its series, that a run began to store and did not look after to the end: not to be believed when COMPLETE.
    """

    id: str = ""
    last: tuple[tuple[str, LastStored], ...] = ()
    unverified: tuple[tuple[str, str], ...] = ()

    def unverified_of(self, instance: str) -> frozenset[str]:
        """Our ids of the series' snapshots that nobody has looked after."""
        return frozenset(one for one, series in self.unverified if series == instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMemory:
    """What is known of one series.

    `adopted` is a fingerprint that `init --adopt` allowed to go on with it, `rewritten` are uploads that somebody
    changed in place, though nobody should.
    """

    sequence: int = 0
    adopted: str = ""
    rewritten: tuple[str, ...] = ()


class StateDirectory:
    """`state_dir` of the configuration. Nothing is created before something has to be remembered."""

    def __init__(self, root: Path, patience: Patience = USUAL_PATIENCE) -> None:
        self.root = root
        self.patience = patience

    def waiting(self, patience: Patience) -> StateDirectory:
        """The same for an operation that waits differently for whoever works on one of its files."""
        return StateDirectory(self.root, patience)

    def repository_folder(self, name: str, location: str) -> Path:
        """The engine's private folder. A repository that moved is another one here: its caches would not fit.

        It is tried out: an engine that cannot write to it says that of the repository, or nothing that can be read.
        """
        with self._usable():
            folder = private_directory(self.known_folder(name, location))
            try_to_write(folder)
        return folder

    def known_folder(self, name: str, location: str) -> Path:
        """The same for whoever only reads; perhaps there is none."""
        place = hashlib.sha256(location.encode(errors="surrogateescape")).hexdigest()[:8]
        return self.root / "repositories" / f"{name}-{place}"

    def shared_folder(self) -> Path:
        """What engines must know of a repository wherever it is reached: by its own id, and no name or location."""
        with self._usable():
            return private_directory(self.root / "engines")

    def instance_folder(self, instance: str) -> Path:
        """Where the journal and, if it is on the same file system as the data, the stage of a series are."""
        with self._usable():
            return private_directory(self.root / "instances" / instance)

    def journal_folder(self, instance: str, data_dir: Path) -> Path:
        """Where the journal of one data directory is: two of one name must not wake each other's pause."""
        with self._usable():
            return private_directory(self.instance_folder(instance) / "journal" / short_name(data_dir))

    def held_file(self, instance: str, snapshot_id: str) -> Path:
        """Where a restore in place keeps what `--quiet-start` switched off; ours alone, for it may name webhooks."""
        with self._usable():
            return private_directory(self.instance_folder(instance) / "held") / f"{snapshot_id}.json"

    def _usable(self) -> AbstractContextManager[None]:
        return usable(self.root)

    def repository_memory(self, folder: Path) -> RepositoryMemory:
        """What was noted in a repository's folder."""
        with self._usable():
            known = read_json(folder / _MEMORY)
        return RepositoryMemory(
            id=str(known.get("id", "")), last=_stored(known.get("last")), unverified=_pairs(known.get("unverified"))
        )

    def remember_repository(self, folder: Path, repository_id: str) -> None:
        """Note which repository is there; what was known of another one is forgotten."""

        def change(known: RepositoryMemory) -> RepositoryMemory:
            fits = known.id in ("", repository_id)
            return replace(known, id=repository_id) if fits else RepositoryMemory(id=repository_id)

        self._change_repository(folder, change)

    def remember_storing(self, folder: Path, instance: str, snapshot_id: str) -> None:
        """Note, before it is stored, that a snapshot will have to be looked after."""
        self._change_repository(
            folder, lambda known: replace(known, unverified=(*known.unverified, (snapshot_id, instance)))
        )

    def remember_stored(self, folder: Path, instance: str, stored: LastStored) -> None:
        """Note the newest snapshot of a series, which has been looked after."""

        def change(known: RepositoryMemory) -> RepositoryMemory:
            return replace(known, last=tuple({**dict(known.last), instance: stored}.items()))

        self._change_repository(folder, change)
        self.forget_storing(folder, (stored.id,))

    def forget_stored(self, folder: Path) -> None:
        """Whatever was stored there, the repository is accepted as it is."""
        self._change_repository(folder, lambda known: replace(known, last=()))

    def forget_storing(self, folder: Path, snapshot_ids: Collection[str]) -> None:
        """These are as good as they say, or are gone."""

        def change(known: RepositoryMemory) -> RepositoryMemory:
            return replace(known, unverified=tuple(each for each in known.unverified if each[0] not in snapshot_ids))

        self._change_repository(folder, change)

    def _change_repository(self, folder: Path, change: Callable[[RepositoryMemory], RepositoryMemory]) -> None:
        with self._usable(), file_lock(folder / _MEMORY, self.patience):
            memory = change(self.repository_memory(folder))
            known = {"id": memory.id, "last": dict(memory.last), "unverified": dict(memory.unverified)}
            write_durably(folder / _MEMORY, dumps(known).encode())

    def instance_memory(self, instance: str) -> InstanceMemory:
        """What was noted about a series."""
        with self._usable():
            known = read_json(self.root / "instances" / instance / _MEMORY)
        sequence, rewritten = known.get("sequence"), known.get("rewritten")
        return InstanceMemory(
            sequence=sequence if isinstance(sequence, int) else 0,
            adopted=str(known.get("adopted", "")),
            rewritten=tuple(str(each) for each in rewritten) if isinstance(rewritten, list) else (),
        )

    def next_sequence(self, instance: str, known: int) -> int:
        """A number higher than `known` and every one given out before; it is used up."""
        with self._usable(), file_lock(self.instance_folder(instance) / _MEMORY, self.patience):
            memory = self.instance_memory(instance)
            sequence = max(memory.sequence, known) + 1
            self._remember_instance(instance, replace(memory, sequence=sequence))
        return sequence

    def adopt(self, instance: str, fingerprint: str) -> None:
        """Note that the instance with this fingerprint goes on with the series."""
        with self._usable(), file_lock(self.instance_folder(instance) / _MEMORY, self.patience):
            self._remember_instance(instance, replace(self.instance_memory(instance), adopted=fingerprint))

    def remember_rewritten(self, instance: str, names: Sequence[str]) -> None:
        """Note uploads that were changed in place; of very many the last ones."""
        with self._usable(), file_lock(self.instance_folder(instance) / _MEMORY, self.patience):
            memory = self.instance_memory(instance)
            known = tuple(dict.fromkeys((*memory.rewritten, *names)))[-REWRITTEN_LENGTH:]
            self._remember_instance(instance, replace(memory, rewritten=known))

    def _remember_instance(self, instance: str, memory: InstanceMemory) -> None:
        write_durably(self.instance_folder(instance) / _MEMORY, dumps(memory).encode())

    def ledger(self, instance: str) -> tuple[LedgerEntry, ...]:
        """Earlier verifications, oldest first."""
        with self._usable():
            return _known(LedgerEntry, read_json(self.root / "instances" / instance / _LEDGER).get("entries"))

    def has_learned_ledger(self, instance: str) -> bool:
        """Whether it was ever learned from the repositories, be it that there was nothing to learn.

        What was only noted here is no sign of that: a verification may be the first thing after the state was lost.
        """
        with self._usable():
            return read_json(self.root / "instances" / instance / _LEDGER).get("learned") is True

    def add_to_ledger(self, instance: str, entry: LedgerEntry) -> None:
        """Note a verification; the oldest entries are forgotten, but for what still protects a snapshot."""
        self._change_ledger(instance, lambda known: (*known, entry))

    def learn_ledger(self, instance: str, found: Sequence[LedgerEntry]) -> bool:
        """Note verifications of other machines, or of before the state was lost, in their place; whether any is new."""
        new: list[LedgerEntry] = []

        def change(known: tuple[LedgerEntry, ...]) -> Sequence[LedgerEntry]:
            new.extend(entry for entry in found if entry not in known)
            return sorted([*new, *known], key=lambda entry: entry.at) if new else known

        self._change_ledger(instance, change, learned=True)
        return bool(new)

    def _change_ledger(
        self,
        instance: str,
        change: Callable[[tuple[LedgerEntry, ...]], Sequence[LedgerEntry]],
        *,
        learned: bool = False,
    ) -> None:
        path = self.instance_folder(instance) / _LEDGER
        with self._usable(), file_lock(path, self.patience):
            entries = _shortened(change(self.ledger(instance)))
            known = {"entries": entries, "learned": learned or self.has_learned_ledger(instance)}
            write_durably(path, dumps(known).encode())

    def full_checks(self, instance: str) -> tuple[FullCheck, ...]:
        """What SQLite's full check said of databases of a series, oldest first; the last of a path is its newest."""
        with self._usable():
            return _known(FullCheck, read_json(self.root / "instances" / instance / _CHECKS).get("checks"))

    def remember_full_checks(self, instance: str, checks: Sequence[FullCheck]) -> None:
        """Note verdicts; one that was not reached is none. The oldest are forgotten, and found out again."""
        path = self.instance_folder(instance) / _CHECKS
        with self._usable(), file_lock(path, self.patience):
            known = self.full_checks(instance)
            last = {each.path: each for each in known}
            new = [each for each in checks if not each.not_done and _says_more(each, last.get(each.path))]
            if not new:
                return
            replaced = {(each.path, each.sha256) for each in new}
            kept = (*(each for each in known if (each.path, each.sha256) not in replaced), *new)[-CHECKS_LENGTH:]
            write_durably(path, dumps({"checks": kept}).encode())


def _says_more(check: FullCheck, last: FullCheck | None) -> bool:
    return last is None or (last.sha256, last.complaints, last.reindex) != (
        check.sha256,
        check.complaints,
        check.reindex,
    )


def _shortened(entries: Sequence[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """The newest entries, and of each repository and depth the last that was right and was not found wrong since.

    And what the collapse guard goes by: the last check of each database, and what was accepted.
    """
    last = {(each.repository, each.snapshot): each for each in entries}
    right = [each for each in entries if each.ok and last[each.repository, each.snapshot].ok]
    kept = set({(each.repository, each.depth): each for each in right}.values())
    kept |= set({each.detail.partition(" ")[0]: each for each in entries if each.kind == CHECK}.values())
    accepted = [each for each in entries if each.kind == ACCEPTED_COLLAPSE]
    kept |= set(sorted(accepted, key=lambda each: each.sequence or 0)[-1:])
    return (*(each for each in entries[:-LEDGER_LENGTH] if each in kept), *entries[-LEDGER_LENGTH:])


def _stored(known: object) -> tuple[tuple[str, LastStored], ...]:
    found = known.items() if isinstance(known, dict) else ()
    # A version that noted no more than the id noted it as text.
    noted = ((str(series), {"id": value} if isinstance(value, str) else value) for series, value in found)
    return tuple((series, last) for series, value in noted for last in _one(LastStored, value))


def _pairs(known: object) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in known.items()) if isinstance(known, dict) else ()


def _known(kind: type[Value], listed: object) -> tuple[Value, ...]:
    """Those of a list that can be understood."""
    return tuple(found for each in (listed if isinstance(listed, list) else ()) for found in _one(kind, each))


def _one(kind: type[Value], value: object) -> tuple[Value, ...]:
    try:
        return (from_json(kind, value),)
    except ValueError:
        return ()
