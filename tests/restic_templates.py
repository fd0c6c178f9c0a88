"""Empty local restic repositories, made once and copied: restic takes a second of processor time to make one.

Most of it is spent on finding out how dear a key may be, which is then thrown away (see restic_keys). A copy gets an id
of its own, since repositories are told apart by it.
"""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

from tests.restic_keys import master_key

_ELF = b"\x7fELF"


class Templates:
    """Empty repositories, by the program that made them and their passphrase."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, program: str, passphrase: str, repository: Path) -> None:
        """From now on, copies of this one will do. Only of what restic itself made, not of a test's script."""
        template = self._template(program, passphrase)
        if template is not None and not template.exists():
            shutil.copytree(repository, template)

    def copy(self, program: str, passphrase: str, repository: Path) -> bool:
        """Make a repository; False where there is nothing to copy, or something in the way."""
        template = self._template(program, passphrase)
        if template is None or not template.exists() or repository.exists() or not repository.parent.is_dir():
            return False
        try:
            shutil.copytree(template, repository)
        except OSError:  # let restic say what is wrong with the place
            shutil.rmtree(repository, ignore_errors=True)
            return False
        _give_new_id(repository, passphrase)
        return True

    def _template(self, program: str, passphrase: str) -> Path | None:
        found = shutil.which(program)
        if found is None or not os.access(self._folder, os.W_OK) or os.geteuid() != self._folder.stat().st_uid:
            return None
        real = Path(found).resolve()
        with real.open("rb") as file:
            if file.read(len(_ELF)) != _ELF:
                return None
        return self._folder / sha256(f"{real}\0{passphrase}".encode()).hexdigest()


def _give_new_id(repository: Path, passphrase: str) -> None:
    path, master = repository / "config", master_key(repository, passphrase)
    config = json.loads(master.open(path.read_bytes())) | {"id": os.urandom(32).hex()}
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(master.seal(json.dumps(config).encode()))
    path.chmod(mode)
