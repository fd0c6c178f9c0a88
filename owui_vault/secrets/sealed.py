"""Sealed files: many secrets in one file, each encrypted under one key. The format is in docs/sealed-file.md."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets as randomness
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from owui_vault.errors import SecretError
from owui_vault.model import Secret
from owui_vault.system.durable_files import write_durably
from owui_vault.system.lock import file_lock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = "owui-vault-sealed"
VERSION = 1
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_CHECK = ""  # no secret has this name
_MAX_BYTES = 1 << 20
_MAX_SECRET_BYTES = 64 << 10
_NONCE_BYTES = 12
_SALT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scrypt:
    """The price of a guess. The default is the one of OWASP's equals that takes little memory: 32 MiB."""

    n: int = 1 << 15
    r: int = 8
    p: int = 3
    salt: bytes

    def within_bounds(self) -> bool:
        """Not so cheap that it protects nothing, not so dear that a forged file eats the machine (256 MiB)."""
        power_of_two = self.n > 1 and self.n & (self.n - 1) == 0
        return power_of_two and 1 << 14 <= self.n <= 1 << 18 and self.r == 8 and 1 <= self.p <= 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _SealedFile:
    scrypt: _Scrypt
    check: _Box
    boxes: Mapping[str, _Box]


def seal(path: Path, entries: Mapping[str, Secret], unlock: Secret) -> tuple[str, ...]:
    """Put secrets into a sealed file, new or existing, and return all names that are in it now.

    An entry of the same name is replaced. The file is replaced in one step and is readable by its owner only.
    Raises SecretError, and then the file is as it was.
    """
    for name, secret in entries.items():
        _check_entry(name, secret)
    if not unlock.reveal():
        raise SecretError("the key of a sealed file cannot be empty", hint="Choose a long one and keep it elsewhere.")
    with _alone_with(path):
        return _seal(path, entries, unlock)


@contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    """No other run may write to the file meanwhile: its secrets, or ours, would be lost."""
    try:
        with file_lock(path.resolve()):
            yield
    except OSError as error:
        raise SecretError(
            f"cannot write the sealed file {path}: {error.strerror}",
            hint="Does its folder exist, and may this user write there?",
        ) from error


def _seal(path: Path, entries: Mapping[str, Secret], unlock: Secret) -> tuple[str, ...]:
    existing = _read(path) if path.exists() else None
    scrypt = existing.scrypt if existing else _Scrypt(salt=randomness.token_bytes(_SALT_BYTES))
    cipher = _cipher(scrypt, unlock)
    if existing:
        _prove_key(cipher, existing, path)
    boxes = dict(existing.boxes) if existing else {}
    boxes |= {name: _close(cipher, name, secret) for name, secret in entries.items()}
    check = existing.check if existing else _close(cipher, _CHECK, Secret(""))
    write_durably(path.resolve(), _to_bytes(_SealedFile(scrypt=scrypt, check=check, boxes=boxes)))
    return tuple(sorted(boxes))


def unseal(path: Path, name: str, unlock: Secret) -> str:
    """One secret of a sealed file. Raises SecretError, each cause with its own message."""
    file = _read(path)
    if name not in file.boxes:
        raise SecretError(
            f"the sealed file {path} holds no secret {name!r}",
            hint=f"It holds: {', '.join(sorted(file.boxes)) or 'nothing'}. Add one with `seal {name}`.",
        )
    cipher = _cipher(file.scrypt, unlock)
    _prove_key(cipher, file, path)
    return _open(cipher, name, file.boxes[name], f"entry {name!r} of the sealed file {path} was changed after sealing")


def names(path: Path) -> tuple[str, ...]:
    """The names in a sealed file; no key is needed. Raises SecretError."""
    return tuple(sorted(_read(path).boxes))


def _check_entry(name: str, secret: Secret) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise SecretError(
            f"{name!r} cannot be the name of a sealed secret",
            hint="Use at most 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit.",
        )
    try:
        size = len(secret.reveal().encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _MAX_SECRET_BYTES or "\0" in secret.reveal():
        raise SecretError(
            f"the secret {name!r} is empty, longer than 64 KiB, not UTF-8 or contains a NUL", hint="Give another one."
        )


def _cipher(scrypt: _Scrypt, unlock: Secret) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  slow, and rarely needed
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415  same

    derivation = Scrypt(salt=scrypt.salt, length=32, n=scrypt.n, r=scrypt.r, p=scrypt.p)
    return AESGCM(derivation.derive(unlock.reveal().encode(errors="surrogateescape")))


def _prove_key(cipher: AESGCM, file: _SealedFile, path: Path) -> None:
    _open(
        cipher,
        _CHECK,
        file.check,
        f"the key does not open the sealed file {path}",
        hint="Check whether `unlock` names the right source; if it does, the header of the file was changed.",
    )


def _close(cipher: AESGCM, name: str, secret: Secret) -> _Box:
    nonce = randomness.token_bytes(_NONCE_BYTES)
    return _Box(nonce=nonce, ciphertext=cipher.encrypt(nonce, secret.reveal().encode(), _bound_to(name)))


def _open(cipher: AESGCM, name: str, box: _Box, refusal: str, hint: str = "Seal it again, or restore the file.") -> str:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  slow, and rarely needed

    try:
        return cipher.decrypt(box.nonce, box.ciphertext, _bound_to(name)).decode()
    except InvalidTag:
        raise SecretError(refusal, hint=hint) from None


def _bound_to(name: str) -> bytes:
    """What is authenticated with each entry, so that none can be renamed or read by other rules."""
    return f"{FORMAT}\n{VERSION}\n{name}".encode()


def _read(path: Path) -> _SealedFile:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise SecretError(
            f"there is no sealed file {path}", hint="Create it with `seal NAME`, or fix the path."
        ) from None
    except OSError as error:
        raise SecretError(
            f"cannot read the sealed file {path}: {error.strerror}", hint="Give this user read access."
        ) from error
    try:
        header = json.loads(content) if len(content) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SecretError(f"{path} is not a sealed file", hint="Create one with `seal NAME`, or fix the path.")
    if header.get("version") != VERSION:
        raise SecretError(
            f"the sealed file {path} has version {header.get('version')!r:.20}, but only {VERSION} is supported",
            hint="Use a newer owui_vault.",
        )
    try:
        return _from_header(header)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        raise SecretError(f"the sealed file {path} is damaged", hint="Restore the file, or seal again.") from None


def _from_header(header: Mapping[str, object]) -> _SealedFile:
    derivation = _mapping(header["kdf"])
    if derivation["name"] != "scrypt":
        raise ValueError("unknown key derivation")
    scrypt = _Scrypt(
        n=_number(derivation["n"]),
        r=_number(derivation["r"]),
        p=_number(derivation["p"]),
        salt=_bytes(derivation["salt"], _SALT_BYTES),
    )
    if not scrypt.within_bounds():
        raise ValueError("scrypt parameters out of bounds")
    boxes = {str(name): _box(box) for name, box in _mapping(header["secrets"]).items()}
    return _SealedFile(scrypt=scrypt, check=_box(header["check"]), boxes=boxes)


def _box(value: object) -> _Box:
    fields = _mapping(value)
    return _Box(nonce=_bytes(fields["nonce"], _NONCE_BYTES), ciphertext=_bytes(fields["ciphertext"]))


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("not a number")
    return value


def _bytes(value: object, length: int | None = None) -> bytes:
    if not isinstance(value, str):
        raise TypeError("not text")
    found = base64.b64decode(value, validate=True)
    if length is not None and len(found) != length:
        raise ValueError("wrong length")
    return found


def _to_bytes(file: _SealedFile) -> bytes:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    def box(each: _Box) -> dict[str, str]:
        return {"nonce": text(each.nonce), "ciphertext": text(each.ciphertext)}

    scrypt = file.scrypt
    document = {
        "format": FORMAT,
        "version": VERSION,
        "kdf": {"name": "scrypt", "n": scrypt.n, "r": scrypt.r, "p": scrypt.p, "salt": text(scrypt.salt)},
        "check": box(file.check),
        "secrets": {name: box(file.boxes[name]) for name in sorted(file.boxes)},
    }
    return (json.dumps(document, indent=2) + os.linesep).encode()
