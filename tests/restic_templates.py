"""Empty local restic repositories, made once and copied: restic takes a second of processor time to make one.

Most of it is spent on finding out how dear a key may be, and each later call pays that price again (see restic_keys). A
copy has a key that is derived at once, and an id of its own, since repositories are told apart by it. It has none of
the 256 folders that restic makes for packs beforehand, which take a fifth of a second to copy and to remove: restic
makes those that it misses.

Whoever wants one asks the fixture `place_restic` for it before it makes its engine; nothing else changes, and what
calls `initialize` on a place that is empty gets a repository as restic makes it, as the conformance suite does.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.model import Secret
from owui_vault.ports import Call
from tests.restic_keys import cheapen, master_key

PlaceRestic = Callable[[Path, Path | str, str], None]


class Templates:
    """Empty repositories, by the program that makes them and their passphrase."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, repository: Path, program: Path | str, passphrase: str) -> None:
        """Make an empty repository, where there is nothing yet."""
        shutil.copytree(self._template(Path(program), passphrase), repository)
        path, master = repository / "config", master_key(repository, passphrase)
        config = json.loads(master.open(path.read_bytes())) | {"id": os.urandom(32).hex()}
        mode = path.stat().st_mode
        path.unlink()
        path.write_bytes(master.seal(json.dumps(config).encode()))
        path.chmod(mode)

    def _template(self, program: Path, passphrase: str) -> Path:
        folder = self._folder / sha256(f"{program}\0{passphrase}".encode()).hexdigest()
        if not folder.exists():
            folder.mkdir()
            engine = ResticEngine(str(folder / "repository"), Secret(passphrase), program=str(program))
            engine.initialize(Call(folder=folder))
            cheapen(folder / "repository", passphrase)
            for each in (folder / "repository/data").iterdir():
                each.rmdir()
        return folder / "repository"
