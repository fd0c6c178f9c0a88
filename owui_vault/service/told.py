"""The memory of what was told to whom: a file in the series' state, without any address.

Where the state cannot be written, it is kept in memory of the machine (`/dev/shm`) instead: whoever cannot remember
would tell the same at each tick. Where it cannot be read, everything that is so is told again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from owui_vault.context.state import StateDirectory
from owui_vault.errors import LockHeldError, VaultError
from owui_vault.model.json_codec import dumps, from_json, local_text
from owui_vault.system.clock import SystemClock
from owui_vault.system.durable_files import write_durably
from owui_vault.system.lock import Patience, file_lock

_NAME = "told.json"
_DAMAGED = "told-damaged.json"
_FORMAT = 1
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own in it, refused where it is another's
_WAIT_SECONDS = 2.0  # whoever tells longer than that tells the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Something that is wrong since then, and when it was told last."""

    since: datetime
    told: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Somebody could not be told: since when, and why the last time."""

    name: str
    since: datetime
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one of those who are told has heard. `successes`: of each plan the last run; `week`: the last summary's."""

    episodes: Mapping[str, Episode] = field(default_factory=dict)
    successes: Mapping[str, str] = field(default_factory=dict)
    week: str = ""
    failing: Failing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All of it. `key` is what makes the names of `heard` unreadable to whoever has the file alone."""

    key: str
    heard: Mapping[str, Heard] = field(default_factory=dict)

    def name_of(self, remembered_as: str) -> str:
        """Under which name somebody stands in `heard`."""
        return hmac.new(self.key.encode(), remembered_as.encode(), hashlib.sha256).hexdigest()[:24]

    def of(self, remembered_as: str) -> Heard:
        """What somebody has heard."""
        return self.heard.get(self.name_of(remembered_as), Heard())

    def with_heard(self, remembered_as: str, heard: Heard) -> Told:
        """The same with that."""
        return replace(self, heard={**self.heard, self.name_of(remembered_as): heard})


class ToldMemory:
    """The file, for one series."""

    def __init__(self, state: StateDirectory, series: str, spare: Path = _SHARED_MEMORY) -> None:
        self._state = state
        self._series = series
        self._folder = state.root / "instances" / series
        place = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:8]
        self._spare = spare / f"owui-vault-{os.geteuid()}" / f"told-{place}.json"

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Be the only one who tells; whether that is so. Where nothing can be written nobody can be kept out."""
        with ExitStack() as stack:
            yield self._locked(stack)

    def _locked(self, stack: ExitStack) -> bool:
        patience = Patience(wait_seconds=_WAIT_SECONDS, clock=SystemClock())
        for path, prepare in ((self._folder / _NAME, self._own_folder), (self._spare, self._own_spare)):
            try:
                prepare()
                stack.enter_context(file_lock(path, patience))
            except LockHeldError:
                return False
            except (OSError, VaultError):
                continue
            return True
        return True

    def read(self) -> tuple[Told, str]:
        """What is known, and what to say where some of it cannot be read."""
        warning = ""
        for path in self._places():
            try:
                return _parsed(_content(path)), warning
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError):
                warning = f"what was told cannot be read ({path}); what is wrong is told again"
                with suppress(OSError):
                    path.rename(path.with_name(_DAMAGED))
        return Told(key=os.urandom(16).hex()), warning

    def write(self, told: Told) -> str:
        """Remember; empty, or why that was only possible elsewhere or not at all."""
        data = dumps({"format": _FORMAT, "key": told.key, "heard": told.heard}).encode()
        try:
            write_durably(self._state.instance_folder(self._series) / _NAME, data)
        except (OSError, VaultError) as error:
            try:
                self._own_spare()
                write_durably(self._spare, data)
            except OSError:
                return f"what was told cannot be remembered, and is told again: {error}"
            return ""
        with suppress(OSError):
            self._spare.unlink()
            self._spare.parent.rmdir()  # unless another series' is in it
        return ""

    def complaints(self) -> tuple[str, ...]:
        """Who cannot be told at present, since when and why. Changes nothing."""
        for path in self._places():
            try:
                told = _parsed(_content(path))
            except (OSError, ValueError, RecursionError):
                continue
            failing = [each.failing for each in told.heard.values() if each.failing]
            return tuple(
                f"{each.name} cannot be told since {local_text(each.since)}: {each.detail}" for each in failing
            )
        return ()

    def _places(self) -> Iterator[Path]:
        """Where it may be: in the spare place only while the other is out of date."""
        if self._spare.parent.exists():
            with suppress(OSError):
                self._own_spare()
                yield self._spare
        yield self._folder / _NAME

    def _own_folder(self) -> None:
        self._state.instance_folder(self._series)

    def _own_spare(self) -> None:
        """A folder of ours alone: anybody may make one of that name there."""
        folder = self._spare.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise PermissionError(f"{folder} is not ours alone")


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        return file.read()


def _parsed(data: bytes) -> Told:
    value = json.loads(data)
    if not isinstance(value, dict) or not isinstance(value.get("key"), str):
        raise ValueError("no memory of what was told")
    heard = value.get("heard")
    return Told(
        key=value["key"],
        heard={str(name): from_json(Heard, each) for name, each in (heard.items() if isinstance(heard, dict) else ())},
    )
