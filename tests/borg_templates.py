"""Empty local borg repositories, made once and copied, with a key that costs nothing to derive.

Each call of borg derives its key in 100,000 rounds, a tenth of what a short call costs. How many rounds is written
beside the key, so a repository whose key was sealed anew after one round is as good as any. A copy gets an id of its
own, since repositories are told apart by it.

Whoever wants one asks the fixture `place_borg` for it before it makes its engine.
"""

from __future__ import annotations

import os
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import pbkdf2_hmac, sha256
from hmac import compare_digest, digest
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.model import Secret
from owui_vault.ports import Call

#: For engines of tests: borg has tried its ciphers when the first template was made, and would do so before each call
#: that writes, for a quarter of a short call's time.
WITHOUT_SELFTEST = {"BORG_SELFTEST": "disabled"}
PlaceBorg = Callable[[Path, Path | str, str], None]
_ROUNDS, _CHEAP = 100_000, 1
_KEY, _ID = "\nkey = ", "\nid = "


class Templates:
    """Empty repositories, by the program that makes them and their passphrase."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, repository: Path, program: Path | str, passphrase: str) -> None:
        """Make an empty repository, where there is nothing yet."""
        shutil.copytree(self._template(Path(program), passphrase), repository)
        seal_anew(repository / "config", passphrase, _CHEAP)

    def _template(self, program: Path, passphrase: str) -> Path:
        folder = self._folder / sha256(f"{program}\0{passphrase}".encode()).hexdigest()
        if not folder.exists():
            folder.mkdir()
            engine = BorgEngine(str(folder / "repository"), Secret(passphrase), program=str(program))
            engine.initialize(Call(folder=folder))
            seal_anew(folder / "repository" / "config", passphrase, _ROUNDS)
        return folder / "repository"


def seal_anew(config: Path, passphrase: str, rounds: int) -> None:
    """Give a repository another id, and its key, sealed after so many rounds, the cheap one."""
    text = config.read_text()
    head, _, encoded = text.partition(_KEY)
    blob = b64decode(encoded)
    salt, sealed, told = (_bytes_of(blob, name) for name in (b"salt", b"data", b"hash"))
    secret = pbkdf2_hmac("sha256", passphrase.encode(), salt, rounds, 32)
    key = _cipher(secret, sealed)
    assert compare_digest(digest(secret, key, "sha256"), told)
    before = bytes.fromhex(head.partition(_ID)[2].partition("\n")[0])
    after = os.urandom(32)
    assert key.count(before) == 1
    key = key.replace(before, after)
    secret = pbkdf2_hmac("sha256", passphrase.encode(), salt, _CHEAP, 32)
    blob = blob.replace(sealed, _cipher(secret, key)).replace(told, digest(secret, key, "sha256"))
    blob = blob.replace(b"iterations\xce" + rounds.to_bytes(4, "big"), b"iterations\xce" + _CHEAP.to_bytes(4, "big"))
    config.write_text(head.replace(before.hex(), after.hex()) + _KEY + b64encode(blob).decode() + "\n")


def _bytes_of(blob: bytes, name: bytes) -> bytes:
    """A value of msgpack's old kind of bytes with a length of two bytes, as borg writes them."""
    _, found, rest = blob.partition(name + b"\xda")
    assert found, name
    length = int.from_bytes(rest[:2], "big")
    return rest[2 : 2 + length]


def _cipher(secret: bytes, data: bytes) -> bytes:
    return Cipher(AES(secret), CTR(bytes(16))).encryptor().update(data)
