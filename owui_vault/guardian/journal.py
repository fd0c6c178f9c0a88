"""Records what is about to be done, so that `recover` can finish it or roll it back.

One small file per action, on disk (file and directory synced) before the action begins and removed when it is over. A
record that is still there belongs to a run that died or could not finish; the holder of the instance's lock may assume
so.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from owui_vault.errors import VaultError
from owui_vault.model.json_codec import iso
from owui_vault.ports import Clock
from owui_vault.system import procfs
from owui_vault.system.durable_files import private_directory, sync_directory, write_durably

_SUFFIX = ".json"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One act. `steps` grow as it goes on; `details` are the act's own, all text.

    `owner` is the process that wrote it (`PID:START`), of the boot `boot`: for people who look.
    """

    id: str
    action: str  # "pause", "stop", "replace", …
    subject: str  # for messages: the quiescer's name, a data directory
    rescue: tuple[str, ...] = ()  # a program that undoes it; empty when `recover` knows how
    boot: str
    owner: str
    began: datetime
    steps: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


class Journal:
    """The records in one private directory. Its files are the truth: nothing is kept in memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(
        self,
        action: str,
        subject: str,
        clock: Clock,
        *,
        rescue: tuple[str, ...] = (),
        details: Mapping[str, str] | None = None,
    ) -> Record:
        """Write a new record down. When this returns it survives a power cut; when it raises, nothing may be done."""
        record = Record(
            id=uuid.uuid4().hex[:12],
            action=action,
            subject=subject,
            rescue=rescue,
            boot=procfs.boot_id(),
            owner=str(procfs.identify(os.getpid())),
            began=clock.now(),
            details=dict(details or {}),
        )
        private_directory(self._directory)
        sync_directory(self._directory.parent)
        self._write(record)
        return record

    def step(self, record: Record, step: str) -> Record:
        """Note that the act is about to take one more step; durable when this returns."""
        record = replace(record, steps=(*record.steps, step))
        self._write(record)
        return record

    def renew(self, record: Record, rescue: tuple[str, ...]) -> Record:
        """Note another way to undo the act; durable when this returns."""
        record = replace(record, rescue=rescue)
        self._write(record)
        return record

    def done(self, record: Record) -> None:
        """The act is over, or undone. Removing a record twice is no mistake: the guardian may have been first."""
        self.path(record).unlink(missing_ok=True)
        sync_directory(self._directory)

    def path(self, record: Record) -> Path:
        """Where the record is."""
        return self._directory / f"{record.id}{_SUFFIX}"

    def records(self) -> tuple[Record, ...]:
        """All records, oldest first. Raises VaultError for one that cannot be read: it may be all a run left."""
        try:
            names = sorted(self._directory.iterdir())
        except FileNotFoundError:
            return ()
        found = [record for path in names if path.suffix == _SUFFIX and (record := _read(path))]
        return tuple(sorted(found, key=lambda record: (record.began, record.id)))

    def _write(self, record: Record) -> None:
        values = {each.name: getattr(record, each.name) for each in fields(record)}
        values |= {"format": _FORMAT, "began": iso(record.began)}
        write_durably(self.path(record), json.dumps(values, indent=2).encode())


def _read(path: Path) -> Record | None:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None  # done in the meantime
    except ValueError as error:
        raise _unreadable(path) from error
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        if values["format"] == _FORMAT:
            return _record(values)
    raise _unreadable(path)


def _record(values: Mapping[str, object]) -> Record:
    rescue, steps, details = values["rescue"], values["steps"], values["details"]
    if not isinstance(rescue, list) or not isinstance(steps, list) or not isinstance(details, dict):
        raise TypeError
    return Record(
        id=str(values["id"]),
        action=str(values["action"]),
        subject=str(values["subject"]),
        rescue=tuple(str(part) for part in rescue),
        boot=str(values["boot"]),
        owner=str(procfs.ProcessIdentity.parse(str(values["owner"]))),
        began=datetime.fromisoformat(str(values["began"])).astimezone(UTC),
        steps=tuple(str(step) for step in steps),
        details={str(key): str(value) for key, value in details.items()},
    )


def _unreadable(path: Path) -> VaultError:
    return VaultError(
        f"the journal record {path} cannot be read",
        hint="The instance may be paused or stopped: check, resume or start it by hand, then remove this file.",
    )
