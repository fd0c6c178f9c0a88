"""restic's own encryption, for tests that forge what is in a repository, and a key that costs nothing to derive.

restic chooses the parameters of scrypt so that every call takes half a second. Which ones they are is written in the
key's file, so a repository whose key was written anew with small ones is as good as any, and ten times as fast.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from hashlib import scrypt, sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

_CHEAP = {"N": 2, "r": 1, "p": 1}


class Sealed:
    """restic's encryption: AES-256 in counter mode, Poly1305-AES over it."""

    def __init__(self, encrypt: bytes, mac_k: bytes, mac_r: bytes) -> None:
        self._encrypt, self._mac_k, self._mac_r = encrypt, mac_k, mac_r

    def seal(self, data: bytes) -> bytes:
        nonce = os.urandom(16)
        text = Cipher(AES(self._encrypt), CTR(nonce)).encryptor().update(data)
        pad = Cipher(AES(self._mac_k), ECB()).encryptor().update(nonce)  # so Poly1305-AES is made
        return nonce + text + Poly1305.generate_tag(self._mac_r + pad, text)

    def open(self, sealed: bytes) -> bytes:
        return Cipher(AES(self._encrypt), CTR(sealed[:16])).decryptor().update(sealed[16:-16])


def _derived(key: dict[str, Any], passphrase: str) -> Sealed:
    salt, memory = b64decode(key["salt"]), 1 << 30
    user = scrypt(passphrase.encode(), salt=salt, n=key["N"], r=key["r"], p=key["p"], maxmem=memory, dklen=64)
    return Sealed(user[:32], user[32:48], user[48:])


def master_key(repository: Path, passphrase: str) -> Sealed:
    """What everything in a local repository but its keys is sealed with."""
    key = json.loads(next((repository / "keys").iterdir()).read_text())
    master = json.loads(_derived(key, passphrase).open(b64decode(key["data"])))
    mac = master["mac"]
    return Sealed(b64decode(master["encrypt"]), b64decode(mac["k"]), b64decode(mac["r"]))


def cheapen(repository: Path, passphrase: str) -> None:
    """Write the only key of a new local repository anew, with the same passphrase."""
    (path,) = (repository / "keys").iterdir()
    key = json.loads(path.read_text())
    master = _derived(key, passphrase).open(b64decode(key["data"]))
    key |= _CHEAP
    key["data"] = b64encode(_derived(key, passphrase).seal(master)).decode()
    text = json.dumps(key).encode()
    place = path.with_name(sha256(text).hexdigest())
    place.write_bytes(text)
    place.chmod(0o400)
    path.unlink()
