"""The options of every command, and what a command needs of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """The options of every command. `verbosity` is -1 for `-q`, 0, or the number of `-v`."""

    config: Path | None = None
    json: bool = False
    verbosity: int = 0
    data_dir: Path | None = None
    container: str | None = None
    repository: str | None = None
    engine: str | None = None
    passphrase_file: Path | None = None
    version: bool = False

    @property
    def without_file(self) -> bool:
        """Whether the options describe instance and repository themselves."""
        described = (self.data_dir, self.container, self.repository, self.engine, self.passphrase_file)
        return any(each is not None for each in described)


class Passphrase(Enum):
    """Whether a person is asked for a passphrase that no option and no variable gives."""

    ASKED = "asked"
    ASKED_TWICE = "asked twice"  # a new one: a slip of the finger would lock the repository for ever
    NOT_NEEDED = "not needed"


class Needs:
    """What a command needs of a configuration, unless it says otherwise."""

    __slots__ = ()

    #: Without any configuration, look for a container of Open WebUI.
    looks_for_container: ClassVar[bool] = False
    passphrase: ClassVar[Passphrase] = Passphrase.ASKED
    #: Runs while nobody looks: mistakes in the file are told to whoever it names.
    tells_of_mistakes: ClassVar[bool] = False
