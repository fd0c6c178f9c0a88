"""What we remember between runs, beside the repositories: ids, sequence numbers, the ledger.

All of it can be lost. Then the next run learns it again from the repositories, and only loses the warning that
another repository lies where the known one was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from owui_vault.model import LedgerEntry
from owui_vault.model.codec import dumps
from owui_vault.system.files import private_directory, read_json, write_durably

LEDGER_LENGTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryMemory:
    """What is known of one repository. `last` is our id of the newest snapshot stored by the named series."""

    id: str = ""
    last: tuple[tuple[str, str], ...] = ()

    def last_of(self, instance: str) -> str:
        """Our id of the newest snapshot this machine stored for the series; empty when it stored none."""
        return dict(self.last).get(instance, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMemory:
    """What is known of one series. `adopted` is a fingerprint that `init --adopt` allowed to go on with it."""

    sequence: int = 0
    adopted: str = ""


class StateDirectory:
    """`state_dir` of the configuration. Nothing is created before something has to be remembered."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def repository_folder(self, name: str, location: str) -> Path:
        """The engine's private folder. A repository that moved is another one here: its caches would not fit."""
        place = hashlib.sha256(location.encode(errors="surrogateescape")).hexdigest()[:8]
        return private_directory(self.root / "repositories" / f"{name}-{place}")

    def instance_folder(self, instance: str) -> Path:
        """Where the journal and, if it lies on the same file system as the data, the stage of a series are."""
        return private_directory(self.root / "instances" / instance)

    def journal_folder(self, instance: str) -> Path:
        """Where the journal of a series' instance lies."""
        return private_directory(self.instance_folder(instance) / "journal")

    def repository_memory(self, folder: Path) -> RepositoryMemory:
        """What was noted in a repository's folder."""
        known = read_json(folder / "memory.json")
        last = known.get("last")
        pairs = tuple((str(key), str(value)) for key, value in last.items()) if isinstance(last, dict) else ()
        return RepositoryMemory(id=str(known.get("id", "")), last=pairs)

    def remember_repository(self, folder: Path, memory: RepositoryMemory) -> None:
        """Note a repository's id and the newest snapshot of each series."""
        text = dumps({"id": memory.id, "last": dict(memory.last)})
        write_durably(folder / "memory.json", text.encode())

    def remember_stored(self, folder: Path, instance: str, snapshot_id: str) -> None:
        """Note the newest snapshot of a series."""
        memory = self.repository_memory(folder)
        last = {**dict(memory.last), instance: snapshot_id}
        self.remember_repository(folder, replace(memory, last=tuple(last.items())))

    def instance_memory(self, instance: str) -> InstanceMemory:
        """What was noted about a series."""
        known = read_json(self.root / "instances" / instance / "memory.json")
        sequence = known.get("sequence")
        return InstanceMemory(
            sequence=sequence if isinstance(sequence, int) else 0, adopted=str(known.get("adopted", ""))
        )

    def remember_instance(self, instance: str, memory: InstanceMemory) -> None:
        """Note the highest sequence number and an adopted fingerprint."""
        write_durably(self.instance_folder(instance) / "memory.json", dumps(memory).encode())

    def ledger(self, instance: str) -> tuple[LedgerEntry, ...]:
        """Earlier verifications, oldest first."""
        known = read_json(self.root / "instances" / instance / "ledger.json").get("entries")
        entries = known if isinstance(known, list) else []
        return tuple(entry for each in entries if (entry := _ledger_entry(each)) is not None)

    def add_to_ledger(self, instance: str, entry: LedgerEntry) -> None:
        """Note a verification; the oldest entries are forgotten."""
        entries = (*self.ledger(instance), entry)[-LEDGER_LENGTH:]
        write_durably(self.instance_folder(instance) / "ledger.json", dumps({"entries": entries}).encode())


def _ledger_entry(known: object) -> LedgerEntry | None:
    if not isinstance(known, dict):
        return None
    try:
        return LedgerEntry(
            snapshot=str(known["snapshot"]),
            repository=str(known["repository"]),
            kind=str(known["kind"]),
            at=datetime.fromisoformat(str(known["at"])),
            ok=bool(known["ok"]),
            detail=str(known.get("detail", "")),
        )
    except (KeyError, ValueError):
        return None
